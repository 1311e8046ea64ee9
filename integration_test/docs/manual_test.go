package docs

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// sections are those that a reader of manual pages looks for, in the order of man-pages(7).
var sections = []string{
	"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "SIGNALS", "EXIT STATUS", "ENVIRONMENT", "FILES",
	"EXAMPLES", "NOTES", "BUGS", "SEE ALSO",
}

func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		bed.Missing(t, "%v", err)
	}
}

func TestManualPage(t *testing.T) {
	t.Parallel()
	needProgram(t, "mandoc")
	page := bed.ModuleFile("man/pidleash.1")
	if out, err := exec.Command("mandoc", "-T", "lint", page).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc -T lint: %v\n%s", err, out)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\.SH (.*)$`).FindAllStringSubmatch(bed.ReadFile(t, page), -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, sections) {
		t.Errorf("the manual page has the sections\n%q, want\n%q", got, sections)
	}
	// As it is read: what a slip of the source has swallowed is missed here.
	text, err := exec.Command("sh", "-c", "mandoc -T ascii -O width=100 "+page+" | col -b").Output()
	bed.Must(t, err)
	shown := shownOptions(string(text), `(?m)^\s+-([a-z-]+)`)
	for _, name := range shownOptions(bed.Start(t, bed.How{}, "help", "all").Rest(t), `(?m)^  -([a-z-]+)`) {
		if !slices.Contains(shown, name) {
			t.Errorf("the manual page does not show -%s", name)
		}
		if name != "h" && name != "version" && !strings.Contains(string(text), "PIDLEASH_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))) {
			t.Errorf("the manual page does not show the variable of -%s", name)
		}
	}
}

// shownOptions are the names that a text has where the pattern is, in their order.
func shownOptions(text, pattern string) (names []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}
