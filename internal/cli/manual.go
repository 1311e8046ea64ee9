package cli

import (
	"cmp"
	_ "embed"
	"slices"
	"strconv"
	"strings"
)

// columns is how wide the texts of options are, and margin where they begin.
const columns, margin = 80, 20

// helpWord is the command that tells about pidleash itself, and everything the topic that has every option.
const helpWord, everything = "help", "all"

// help is the whole program, given the words behind "help". It returns the exit code.
func help(words []string) int {
	c := newCommand(options)
	_ = c.take(options[:reporting]) // a mistake in these would hide the one that is reported
	log := newLog(c.logLevel, c.logJSON)
	defer log.flush()
	topics := []string{everything, "-h", "--h", "-help", "--help"}
	if len(words) > 0 && !slices.Contains(topics, words[0]) && subcommandNamed(words[0]) == nil {
		return log.fail(mistake(helpWord+": "+strconv.Quote(words[0])+" is no command", "pidleash help all"))
	}
	return log.print(topic(words))
}

// topic is the text about a command, about everything, or else about what matters most.
func topic(words []string) string {
	if len(words) > 0 && words[0] == everything {
		return withOptions(manual, options)
	}
	if len(words) > 0 {
		if sub := subcommandNamed(words[0]); sub != nil {
			return withOptions(*sub.text, sub.all())
		}
	}
	return withOptions(summary, options)
}

// withOptions completes a text of -h where a line has something in braces: {section} by the options of that section,
// {-option} by that one in a line, and {commands}.
func withOptions(text string, options []option) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		section, isSection := strings.CutPrefix(strings.TrimSuffix(line, "}\n"), "{")
		switch {
		case !isSection:
			b.WriteString(line)
		case section == "commands":
			for _, s := range subcommands {
				entry(&b, "  "+s.name+" "+s.operands, s.brief)
			}
		default:
			for _, o := range options {
				if section == o.section {
					o.explain(&b)
				} else if section == "-"+o.name {
					entry(&b, o.heading(), o.brief)
				}
			}
		}
	}
	return b.String()
}

// explain writes the option's lines of -h.
func (o *option) explain(b *strings.Builder) {
	entry(b, o.heading(), o.meaning())
	for _, c := range o.choices {
		if c.text == "" {
			break
		}
		text := c.text
		if c.value == o.fallback() {
			text += " (default)"
		}
		entry(b, "      "+c.value, text)
	}
}

func (o *option) heading() string { return strings.TrimSuffix("  -"+o.name+" "+o.value, " ") }

// hint is how to mend a value that is wrong.
func (o *option) hint() string {
	if o.remedy != "" || len(o.choices) == 0 {
		return o.remedy
	}
	var values []string
	for _, c := range o.choices {
		values = append(values, c.value)
	}
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// meaning is the option's text without choices that have a text of their own.
func (o *option) meaning() string {
	text := o.text
	explained := len(o.choices) > 0 && o.choices[0].text != ""
	if len(o.choices) > 0 && !explained {
		text = strings.TrimSuffix(o.hint()+"; "+text, "; ")
	}
	if o.isList {
		text += "; can be given several times"
	}
	switch value := o.fallback(); {
	case explained:
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
	for word := range strings.FieldsSeq(text) {
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
	//go:embed manual/summary.txt
	summary string
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
