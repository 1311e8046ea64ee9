package cli

import (
	"fmt"
	"regexp"
	"strings"
)

// The tables of the documentation, in Markdown.

func code(text string) string { return "`" + strings.ReplaceAll(text, "|", `\|`) + "`" }

// pageText is what -h says, with options, variables and commands as code.
func pageText(o *option) string {
	return pageWords(quotedMeaning(o))
}

// quotedMeaning is what -h says but for the default, with values in quotes: a reader must see that they are to be typed
// as they stand.
func quotedMeaning(o *option) string {
	text := strings.TrimSuffix(o.meaning(), " (default "+o.fallback()+")")
	rest, isList := strings.CutPrefix(text, o.hint())
	if len(o.choices) == 0 || !isList {
		return text
	}
	list := o.hint()
	for _, c := range o.choices {
		list = regexp.MustCompile(`\b`+c.value+`\b`).ReplaceAllString(list, `"`+c.value+`"`)
	}
	return list + rest
}

func pageWords(text string) string {
	text = regexp.MustCompile(`"[^"]+"|\B(-[a-z][a-z-]+|\$[A-Z_]+)\b`).ReplaceAllStringFunc(text, func(word string) string {
		return "`" + strings.Trim(word, `"`) + "`"
	})
	return strings.ReplaceAll(text, "|", `\|`)
}

// optionPage is the whole: the variable of each option and the meaning of each choice, too.
func optionPage(list []option) string {
	var b strings.Builder
	b.WriteString("| option | variable | default | meaning |\n|---|---|---|---|\n")
	for _, o := range inOrder(list) {
		b.WriteString(optionRow(&o, pageText(&o)))
	}
	return b.String() + "| `-h`, `-h all` | | | the options that matter most; every option |\n" +
		"| `-version` | | | the version, the commit it was built from, and Go's version |\n"
}

func optionRow(o *option, text string) string {
	for _, c := range o.choices {
		if c.text != "" {
			text += "<br>" + code(c.value) + ": " + pageWords(c.text)
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", code(strings.TrimSpace(o.heading())), code(envName(o.name)), fallbackText(o, code), text)
}

func commandPage() string {
	var b strings.Builder
	b.WriteString("| option | variable | default | meaning |\n|---|---|---|---|\n")
	list, owners := ofCommands()
	for _, o := range list {
		text := pageText(&o)
		if names := owners[o.name]; len(names) < len(subcommands) {
			text += " (" + strings.Join(names, ", ") + ")"
		}
		b.WriteString(optionRow(&o, text))
	}
	return b.String()
}
