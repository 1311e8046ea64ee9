package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The parts of pidleash(1), in the macros of man(7).

// manTitles are the headings above the sections of options.
var manTitles = map[string]string{
	"file": "The PID file", "stopping": "Stopping", "signals": "Signals", "restarts": "Starting again",
	"conditions": "While other files exist", "background": "In the background", "readiness": "Readiness",
	"context": "PROGRAM's surroundings", "codes": "Exit status", "messages": "Messages",
}

func manOptions() string {
	var b strings.Builder
	section := ""
	for _, o := range inOrder(options) {
		if o.section != section {
			section = o.section
			fmt.Fprintf(&b, ".SS %s\n", manTitles[section])
		}
		manOption(&b, &o, "")
	}
	b.WriteString(manEntry("-h", "", "the options that matter most; \"-h all\" has them all"))
	b.WriteString(manEntry("-version", "", "the version, the commit it was built from, and Go's version"))
	return b.String()
}

func manOption(b *strings.Builder, o *option, note string) {
	b.WriteString(manEntry("-"+o.name, o.value, strings.TrimSuffix(quotedMeaning(o), ":")+note))
	if len(o.choices) > 0 && o.choices[0].text != "" {
		b.WriteString(".RS\n")
		for _, c := range o.choices {
			b.WriteString(manEntry(c.value, "", c.text))
		}
		b.WriteString(".RE\n.IP\n")
	} else {
		b.WriteString(".br\n")
	}
	b.WriteString("Default: " + fallbackText(o, manWords) + ".\n")
}

// manEntry is a word, what it takes, and a text beside them.
func manEntry(word, value, text string) string {
	head := `\fB` + manEscaped(word) + `\fR`
	if value != "" {
		head += ` \fI` + manEscaped(value) + `\fR`
	}
	return ".TP\n" + head + "\n" + manText(sentence(text))
}

// sentence has a text begin and end as one, but for a name at its beginning.
func sentence(text string) string {
	first, _, _ := strings.Cut(text, " ")
	if text == "" || strings.ContainsAny(text[len(text)-1:], ".?") {
		return text
	}
	if strings.Trim(first, "abcdefghijklmnopqrstuvwxyz,;:'") == "" && first != "pidleash" {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return text + "."
}

func manEscaped(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\e`), "-", `\-`)
}

// manText is a text in lines of a length that people can edit; none begins as a request of roff(7).
func manText(text string) string {
	var b strings.Builder
	line := ""
	flush := func() {
		if line != "" {
			if strings.ContainsRune(".'", rune(line[0])) {
				line = `\&` + line
			}
			b.WriteString(line + "\n")
			line = ""
		}
	}
	for word := range strings.FieldsSeq(manWords(text)) {
		if len(line)+1+len(word) > 78 {
			flush()
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	flush()
	return b.String()
}

// manWords has options and variables in bold, and what stands for something in italics.
func manWords(text string) string {
	text = strings.ReplaceAll(text, `\`, `\e`)
	marked := regexp.MustCompile(`"[^"]+"|\B-[a-z0-9][a-z-]*\b|\$[A-Z_]+|\b(?:PROGRAM|FILE|DIR)\b`)
	return marked.ReplaceAllStringFunc(text, func(word string) string {
		font := "B"
		if 'A' <= word[0] && word[0] <= 'Z' {
			font = "I"
		}
		return `\f` + font + strings.ReplaceAll(strings.Trim(word, `"`), "-", `\-`) + `\fR`
	})
}

func manVariables() string {
	var b strings.Builder
	list, _ := ofCommands()
	for _, o := range slices.Concat(inOrder(options), list) {
		entry := manEntry(envName(o.name), "", "sets -"+o.name+": "+o.brief)
		if !strings.Contains(b.String(), entry) {
			b.WriteString(entry)
		}
	}
	return b.String()
}

func manCommands() string {
	var b strings.Builder
	list, owners := ofCommands()
	for _, o := range list {
		note := ""
		if names := owners[o.name]; len(names) < len(subcommands) {
			note = " (" + strings.Join(names, ", ") + ")"
		}
		manOption(&b, &o, note)
	}
	for _, s := range subcommands {
		fmt.Fprintf(&b, ".SS \"pidleash %s [OPTION...] %s\"\n", s.name, s.operands)
		b.WriteString(manProse(*s.text))
	}
	return b.String()
}

// manProse is a text of -h without its title, usage and options: paragraphs, and sections of entries or of examples.
func manProse(text string) string {
	var b strings.Builder
	heading := ""
	for block := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n\n") {
		if line, rest, _ := strings.Cut(block, "\n"); line[0] != ' ' {
			heading, block = line, rest
			if heading != "USAGE" && heading != "OPTIONS" && rest != "" {
				b.WriteString(".PP\n" + manText(heading[:1]+strings.ToLower(heading[1:])+":"))
			}
		}
		switch {
		case strings.HasPrefix(block, "{"), strings.HasPrefix(block, "  pidleash ") && heading == "USAGE", strings.Contains(block, "Options may also"), block == "":
		case strings.HasPrefix(heading, "EXAMPLE"):
			b.WriteString(".RS\n.nf\n")
			for line := range strings.Lines(block) {
				b.WriteString(manEscaped(strings.TrimSuffix(strings.TrimPrefix(line, "  "), "\n")) + "\n")
			}
			b.WriteString(".fi\n.RE\n")
		case heading == "USAGE", heading == "OPTIONS":
			b.WriteString(".PP\n" + manText(block))
		default:
			b.WriteString(manEntries(block))
		}
	}
	return strings.TrimPrefix(b.String(), ".PP\n") // it comes behind a heading
}

// manEntries has a word and its text in each line; what is indented to the text goes on.
func manEntries(block string) string {
	var b strings.Builder
	word, text := "", ""
	flush := func() {
		if word != "" {
			b.WriteString(manEntry(word, "", text))
		}
	}
	for line := range strings.Lines(block) {
		if strings.TrimSpace(line[:min(margin, len(line))]) == "" {
			text += " " + strings.TrimSpace(line)
			continue
		}
		flush()
		word, text = strings.TrimSpace(line[:margin]), strings.TrimSpace(line[margin:])
	}
	flush()
	return b.String()
}
