package fault

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Visible puts question marks in place of characters that could forge a line, drive a terminal or change the direction
// of a text. Anybody can put them into the names of files and processes, and a program into its logs.
func Visible(line string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, line)
}

// Escaped is Visible for a line of JSON, where nothing is lost: such characters become \uXXXX.
func Escaped(line string) string {
	var b strings.Builder
	for _, r := range line {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
