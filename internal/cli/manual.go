package cli

import (
	"cmp"
	_ "embed"
	"strings"
)

// columns is how wide the texts of options are, and margin where they begin.
const columns, margin = 80, 20

// withOptions puts the options into a text of -h: those of a section where a line has its name in braces.
func withOptions(text string, options []option) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		section, isSection := strings.CutPrefix(line, "{")
		if !isSection {
			b.WriteString(line)
			continue
		}
		for _, o := range options {
			if section == o.section+"}\n" {
				o.explain(&b)
			}
		}
	}
	return b.String()
}

// explain writes the option's lines of -h.
func (o *option) explain(b *strings.Builder) {
	entry(b, strings.TrimSuffix("  -"+o.name+" "+o.value, " "), o.meaning())
	for _, c := range o.choices {
		text := c.text
		if c.value == o.fallback() {
			text += " (default)"
		}
		entry(b, "      "+c.value, text)
	}
}

// meaning is the option's text without its choices.
func (o *option) meaning() string {
	text := o.text
	if o.isList {
		text += "; can be given several times"
	}
	switch value := o.fallback(); {
	case len(o.choices) > 0:
		text += ":"
	case value != "":
		text += " (default " + value + ")"
	}
	return text
}

// fallback is the default as the texts have it, or empty.
func (o *option) fallback() string { return cmp.Or(o.initial, o.unset) }

// entry writes a text beside a name, or below a long one.
func entry(b *strings.Builder, name, text string) {
	if len(name) >= margin {
		b.WriteString(name + "\n")
		name = ""
	}
	line := name + strings.Repeat(" ", margin-1-len(name))
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > columns {
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", margin-1)
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// The texts of -h: what a manual page would say, ending in examples that a test runs. Where a line is a section in
// braces, its options come from the table. What all commands share stands in each text: nobody should have to look in
// two places.
var (
	//go:embed manual/pidleash.txt
	manual string
	//go:embed manual/status.txt
	statusManual string
	//go:embed manual/stop.txt
	stopManual string
	//go:embed manual/signal.txt
	signalManual string
	//go:embed manual/wait.txt
	waitManual string
	//go:embed manual/list.txt
	listManual string
)
