package faults

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

var updatePages = flag.Bool("update", false, "write docs/faults.md")

// expectSection compares a section of docs/faults.md with what a table says, or writes it. A section ends where the
// next one begins.
func expectSection(t *testing.T, title, text string) {
	t.Helper()
	const page = "../../docs/faults.md"
	sections := strings.Split("\n\n"+strings.TrimSuffix(bed.ReadFile(t, page), "\n"), "\n\n# ")[1:]
	want := title + "\n\n" + strings.TrimSuffix(text, "\n")
	at := slices.IndexFunc(sections, func(s string) bool { return strings.HasPrefix(s, title+"\n") })
	switch {
	case at < 0:
		sections = append(sections, want)
	case sections[at] == want:
		return
	default:
		sections[at] = want
	}
	if !*updatePages {
		t.Errorf("%q in %s is not what the table says: go test ./integration_test/faults -run Page -update", title, page)
		return
	}
	bed.WriteFile(t, page, "# "+strings.Join(sections, "\n\n# ")+"\n", 0o644)
}

// inLines breaks a paragraph into lines of the page.
func inLines(text string) string {
	var lines strings.Builder
	room := 120
	for word := range strings.FieldsSeq(text) {
		if len(word)+1 > room {
			lines.WriteString("\n")
			room = 120
		} else if room < 120 {
			lines.WriteString(" ")
			room--
		}
		lines.WriteString(word)
		room -= len(word)
	}
	return lines.String() + "\n"
}
