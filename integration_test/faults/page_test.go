package faults

import (
	"flag"
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
	sections := strings.Split("\n"+bed.ReadFile(t, page), "\n# ")
	want := title + "\n\n" + text
	for i, s := range sections {
		if s == strings.TrimSuffix(want, "\n") || s == want {
			return
		}
		if strings.HasPrefix(s, title+"\n") {
			sections = append(sections[:i], sections[i+1:]...)
			break
		}
	}
	if !*updatePages {
		t.Errorf("%q in %s is not what the table says: go test ./integration_test/faults -run Page -update", title, page)
		return
	}
	last := len(sections) - 1
	sections[last] = strings.TrimSuffix(sections[last], "\n") + "\n"
	bed.WriteFile(t, page, strings.Join(append(sections, want), "\n# ")[1:], 0o644)
}
