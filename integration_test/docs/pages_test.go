package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pidleash/integration_test/bed"
)

// pages are about the code, for who changes it: how many lines each may have.
func pages(t *testing.T) map[string]int {
	t.Helper()
	limits := map[string]int{"CONTRIBUTING.md": 25, "docs/architecture.md": 200}
	decisions, err := filepath.Glob(bed.ModuleFile("docs", "decisions", "*.md"))
	if err != nil || len(decisions) == 0 {
		t.Fatalf("docs/decisions has no page: %v", err)
	}
	for _, path := range decisions {
		limits["docs/decisions/"+filepath.Base(path)] = 40
	}
	return limits
}

func TestPagesAreShort(t *testing.T) {
	for page, limit := range pages(t) {
		lines := strings.Split(strings.TrimSuffix(bed.ReadFile(t, bed.ModuleFile(page)), "\n"), "\n")
		if len(lines) > limit {
			t.Errorf("%s has %d lines, the limit is %d", page, len(lines), limit)
		}
		for i, line := range lines {
			if n := utf8.RuneCountInString(line); n > 120 {
				t.Errorf("%s:%d has %d characters, the limit is 120", page, i+1, n)
			}
		}
	}
}

var (
	quotedFile = regexp.MustCompile("`((?:internal|wrapper|watch|integration_test|docs)/[a-z0-9_/.]+)`")
	quotedTest = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	linkedFile = regexp.MustCompile(`\]\(([^):#]+)\)`)
)

// What a page names is there.
func TestPagesNameWhatIsThere(t *testing.T) {
	tests := namesOfTests(t)
	for page := range pages(t) {
		text := bed.ReadFile(t, bed.ModuleFile(page))
		for _, m := range quotedFile.FindAllStringSubmatch(text, -1) {
			expectFile(t, page, m[1])
		}
		for _, m := range linkedFile.FindAllStringSubmatch(text, -1) {
			expectFile(t, page, filepath.Join(filepath.Dir(page), m[1]))
		}
		for _, m := range quotedTest.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(tests, m[1]) {
				t.Errorf("%s names %s, which is no test", page, m[1])
			}
		}
	}
}

func expectFile(t *testing.T, page, path string) {
	t.Helper()
	if _, err := os.Stat(bed.ModuleFile(path)); err != nil && path != "internal/cgroup" && path != "internal/health" {
		t.Errorf("%s names %s: %v", page, path, err)
	}
}

func namesOfTests(t *testing.T) (names []string) {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`)
	err := filepath.WalkDir(bed.ModuleFile(), func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range declared.FindAllStringSubmatch(bed.ReadFile(t, path), -1) {
				names = append(names, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The page has the rooms in the order of the imports.
func TestPageHasEveryRoom(t *testing.T) {
	_, table, _ := strings.Cut(bed.ReadFile(t, bed.ModuleFile("docs/architecture.md")), "\n## The rooms\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var got, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z/.]+)` \\|").FindAllStringSubmatch(table, -1) {
		got = append(got, m[1])
	}
	for _, r := range rooms {
		want = append(want, roomName(r.name))
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/architecture.md has the rooms\n%v, the imports go down\n%v", got, want)
	}
}

func TestGlossaryIsShort(t *testing.T) {
	_, glossary, _ := strings.Cut(bed.ReadFile(t, bed.ModuleFile("docs/architecture.md")), "\n## Glossary\n")
	if n := strings.Count(glossary, "\n| ") - 1; n < 1 || n > 25 {
		t.Errorf("the glossary has %d words, want 1 to 25", n)
	}
}
