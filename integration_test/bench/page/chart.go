package page

import (
	"fmt"
	"html"
	"strings"
	"time"
)

// The chart is four panels of bars, two beside two. It brings its own background, because nobody knows on which one it
// is shown: a README's theme need not be that of the browser, which the style asks for.
const (
	chartWidth  = 860
	panelWidth  = 400
	panelMargin = 20
	rowHeight   = 24
	labelWidth  = 158
	barWidth    = 166 // of the longest one; its label stands behind
	headHeight  = 34
	footHeight  = 40
)

const chartStyle = `
text{font:13px system-ui,-apple-system,"Segoe UI","Liberation Sans",sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:14px}
.note{font-size:12px}
.note,.value{fill:#59636e}
.ground{fill:#ffffff;stroke:#d1d9e0}
.bar{fill:#8c959f}.tail{fill:#d1d9e0}
.ours .bar{fill:#0969da}.ours .tail{fill:#b6d7ff}
.ours text{font-weight:600}
@media(prefers-color-scheme:dark){
text{fill:#f0f6fc}
.note,.value{fill:#9198a1}
.ground{fill:#0d1117;stroke:#3d444d}
.bar{fill:#7d8590}.tail{fill:#343b44}
.ours .bar{fill:#4493f8}.ours .tail{fill:#1c3a63}
}
`

// panelOf is one phase, and who is shown in it.
type panelOf struct {
	phase, title string
	who          []string
}

// panels are the phases that a user feels.
var panels = []panelOf{
	{Start, "Start: until the program's first instruction", peers},
	{Signal, "A signal, until the program has it", peers},
	{End, "End: from the program's to the wrapper's", peers},
	{Removal, "PID file removed, until the program has TERM", []string{Loop, File}},
}

var peers = []string{Tini, "dumb-init", "catatonit", Least, Library, File}

// Chart is docs/benchmarks.svg.
func Chart(d *Data) string {
	height := panelMargin
	var body strings.Builder
	for i := 0; i < len(panels); i += 2 {
		rows := 0
		for j, p := range panels[i : i+2] {
			bars := p.bars(d)
			rows = max(rows, len(bars))
			panel(&body, panelMargin+j*(panelWidth+panelMargin), height, p.title, bars)
		}
		height += headHeight + rows*rowHeight + panelMargin
	}
	fmt.Fprintf(&body, `<text class="note" x="%d" y="%d">%s</text>`+"\n", panelMargin, height+8, html.EscapeString(
		fmt.Sprintf("Bar: median, lighter: p90. %d rounds on %d cores, Linux %s, %s. The shorter, the better.",
			d.Machine.Rounds, d.Machine.Cores, d.Machine.Kernel, d.Machine.Go)))
	height += footHeight - panelMargin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		chartWidth, height, chartWidth, height)
	b.WriteString("<title>How long pidleash and its peers take</title>\n<style>" + chartStyle + "</style>\n")
	fmt.Fprintf(&b, `<rect class="ground" x=".5" y=".5" width="%d" height="%d" rx="8"/>`+"\n", chartWidth-1, height-1)
	return b.String() + body.String() + "</svg>\n"
}

// bar is one contender in one phase.
type bar struct {
	name string
	Times
}

func (p *panelOf) bars(d *Data) (list []bar) {
	for _, name := range p.who {
		if t := d.Contender(name).Times[p.phase]; t.N > 0 {
			list = append(list, bar{name, t})
		}
	}
	return list
}

func panel(b *strings.Builder, x, y int, title string, bars []bar) {
	fmt.Fprintf(b, `<text class="title" x="%d" y="%d">%s</text>`+"\n", x, y+14, html.EscapeString(title))
	longest := time.Duration(1)
	for _, r := range bars {
		longest = max(longest, r.P90)
	}
	width := func(t time.Duration) float64 { return float64(t) / float64(longest) * barWidth }
	for i, r := range bars {
		top := y + headHeight + i*rowHeight - 6
		class := "peer"
		if r.name == File {
			class = "ours"
		}
		fmt.Fprintf(b, `<g class="%s"><text x="%d" y="%d" text-anchor="end">%s</text>`,
			class, x+labelWidth, top+12, html.EscapeString(r.name))
		left := x + labelWidth + 8
		fmt.Fprintf(b, `<rect class="tail" x="%d" y="%d" width="%.1f" height="16" rx="2"/>`, left, top, width(r.P90))
		fmt.Fprintf(b, `<rect class="bar" x="%d" y="%d" width="%.1f" height="16" rx="2"/>`, left, top, width(r.P50))
		fmt.Fprintf(b, `<text class="value" x="%.1f" y="%d">%s</text></g>`+"\n",
			float64(left)+width(r.P90)+6, top+12, duration(r.P50))
	}
}
