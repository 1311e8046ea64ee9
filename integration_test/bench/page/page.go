package page

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"time"
)

//go:embed benchmarks.md.tmpl
var text string

// Markdown is docs/benchmarks.md. All its words are the template's.
func Markdown(d *Data) (string, error) {
	t, err := template.New("benchmarks.md").Funcs(template.FuncMap{
		"phase":   func(name string) string { return phaseTable(d, name) },
		"first":   func() string { return countTable(d, func(c *Contender) *Counts { return c.First }) },
		"whole":   func() string { return countTable(d, func(c *Contender) *Counts { return c.Whole }) },
		"idle":    func() string { return idleTable(d) },
		"targets": func() string { return targetTable(Targets(d)) },
		"join":    strings.Join,
		"time":    duration,
	}).Parse(text)
	if err != nil {
		return "", err
	}
	var page strings.Builder
	if err := t.Execute(&page, d); err != nil {
		return "", err
	}
	return page.String(), nil
}

// base is what the times of a phase are compared with.
type base struct {
	name string
	Times
}

// bases are those of a phase. A run that has not measured one has no ratio to it.
func bases(d *Data, phase string) []base {
	start := d.Contender(File).Times[Start]
	switch phase {
	case Removal:
		return []base{{"pidleash's signal", d.Contender(File).Times[Signal]}, {Loop, d.Contender(Loop).Times[Removal]}}
	case Returns:
		return []base{{"two starts", Times{P50: 2 * start.P50, P99: 2 * start.P99}}}
	case Status, Stop:
		return []base{{"a start", start}}
	case Orphans:
		return []base{{Tini, d.Contender(Tini).Times[phase]}}
	case List:
		return nil
	}
	return []base{{Tini, d.Contender(Tini).Times[phase]}, {"Go with libraries", d.Contender(Library).Times[phase]}}
}

// phaseTable has who can do that.
func phaseTable(d *Data, phase string) string {
	head := []string{"", "median", "p90", "p99"}
	for _, b := range bases(d, phase) {
		head = append(head, "median × "+b.name, "p99 × it")
	}
	rows := [][]string{head}
	for _, c := range d.Contenders {
		t := c.Times[phase]
		if t.N == 0 {
			continue
		}
		row := []string{c.Name, duration(t.P50), duration(t.P90), duration(t.P99)}
		for _, b := range bases(d, phase) {
			row = append(row, times(t.P50, b.P50), times(t.P99, b.P99))
		}
		rows = append(rows, row)
	}
	return table(rows)
}

func countTable(d *Data, which func(*Contender) *Counts) string {
	rows := [][]string{{"", "minor faults", "threads made", "voluntary switches", "system calls"}}
	for _, c := range d.Contenders {
		if n := which(&c); n != nil {
			row := []string{c.Name}
			for _, figure := range []int{n.Faults, n.Threads, n.Switches, n.Calls} {
				row = append(row, fmt.Sprint(figure))
			}
			rows = append(rows, row)
		}
	}
	return table(rows)
}

func idleTable(d *Data) string {
	rows := [][]string{{"", "threads", "private memory", "looks", "voluntary switches", "in a look"}}
	for _, i := range d.Idle {
		rows = append(rows, []string{
			i.Mode, fmt.Sprint(i.Threads), fmt.Sprintf("%d KiB", i.Private), fmt.Sprint(i.Looks), fmt.Sprint(i.Switches),
			fmt.Sprintf("%.1f", float64(i.Switches)/float64(i.Looks)),
		})
	}
	return table(rows)
}

func targetTable(list []Target) string {
	rows := [][]string{{"", "to reach: at most", "measured", ""}}
	for _, t := range list {
		rows = append(rows, []string{t.What, t.Limit, dash(t.Measured), t.Verdict()})
	}
	return table(rows)
}

// table aligns numbers to the right. What was not measured at all has one line that says so.
func table(rows [][]string) string {
	if len(rows) == 1 {
		return "Not measured in this run."
	}
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|---|%s\n", strings.Repeat("--:|", len(row)-1))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// duration has three digits, and a unit that suits them.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

func times(d, base time.Duration) string {
	if base == 0 {
		return dash("")
	}
	return fmt.Sprintf("%.2f", float64(d)/float64(base))
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
