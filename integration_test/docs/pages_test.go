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

// userPages are for who uses pidleash. Those that a test writes are left out: their tables have long rows.
func userPages(t *testing.T) []string {
	t.Helper()
	pages := []string{"README.md", "SECURITY.md"}
	all, err := filepath.Glob(bed.ModuleFile("docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		switch name := filepath.Base(path); name {
		case "architecture.md", "faults.md", "names.md", "states.md", "transparency.md":
		default:
			pages = append(pages, "docs/"+name)
		}
	}
	return pages
}

// The README fits into 200 lines, and no line of a page is longer than 120 characters, tables and what is printed
// left out.
func TestUserPagesAreReadable(t *testing.T) {
	if n := strings.Count(bed.ReadFile(t, bed.ModuleFile("README.md")), "\n"); n > 200 {
		t.Errorf("README.md has %d lines, the limit is 200", n)
	}
	for _, page := range userPages(t) {
		fenced := false
		for i, line := range strings.Split(bed.ReadFile(t, bed.ModuleFile(page)), "\n") {
			fenced = fenced != strings.HasPrefix(line, "```")
			exempt := page != "README.md" && (fenced || strings.HasPrefix(line, "|"))
			if n := utf8.RuneCountInString(line); n > 120 && !exempt {
				t.Errorf("%s:%d has %d characters, the limit is 120", page, i+1, n)
			}
		}
	}
}

var (
	linkedPage = regexp.MustCompile(`\]\(([^):#]*)(#[^)]*)?\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noAnchor   = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// Every link of a page leads to a file, and to a heading if it names one.
func TestUserPagesLinkWhatIsThere(t *testing.T) {
	for _, page := range append(userPages(t), "CONTRIBUTING.md") {
		for _, m := range linkedPage.FindAllStringSubmatch(bed.ReadFile(t, bed.ModuleFile(page)), -1) {
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			expectFile(t, page, target)
			if m[2] != "" && !slices.Contains(anchors(t, target), m[2]) {
				t.Errorf("%s links %s%s, which is no heading", page, target, m[2])
			}
		}
	}
}

// anchors are made of headings as GitHub makes them.
func anchors(t *testing.T, page string) (all []string) {
	for _, m := range heading.FindAllStringSubmatch(bed.ReadFile(t, bed.ModuleFile(page)), -1) {
		all = append(all, "#"+strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// Every page about a subject is linked from the README: none is found by chance only.
func TestReadmeLinksEveryPage(t *testing.T) {
	readme := bed.ReadFile(t, bed.ModuleFile("README.md"))
	all, _ := filepath.Glob(bed.ModuleFile("docs", "*.md"))
	for _, path := range all {
		if name := "docs/" + filepath.Base(path); !strings.Contains(readme, "("+name) {
			t.Errorf("README.md does not link %s", name)
		}
	}
}

var (
	fence          = regexp.MustCompile("(?ms)^```[a-z]+\n(.*?)^```$")
	commandOfOurs  = regexp.MustCompile(`(?m)(?:^|[ /"])pidleash((?:"?,? +| +)"?-[^\n]*)`)
	optionOfOurs   = regexp.MustCompile(`(?:^|[ "])-([a-z]+(?:-[a-z]+)*)`)
	codeWithOption = regexp.MustCompile("`(-[a-z]+(?:-[a-z]+)*)(?: [^`]*)?`")
)

// Every option in a command of pidleash that a page shows is in the table of docs/options.md, or is a command's.
func TestUserPagesNameOptions(t *testing.T) {
	table := bed.ReadFile(t, bed.ModuleFile("docs/options.md"))
	known := []string{"h", "version", "until", "timeout", "json", "x"} // -x stands for any option
	for _, m := range regexp.MustCompile("(?m)^\\| `-([a-z-]+)").FindAllStringSubmatch(table, -1) {
		known = append(known, m[1])
	}
	checked := 0
	check := func(page, option string) {
		checked++
		if !slices.Contains(known, option) {
			t.Errorf("%s names -%s, which is no option", page, option)
		}
	}
	for _, page := range userPages(t) {
		text := bed.ReadFile(t, bed.ModuleFile(page))
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			for _, m := range commandOfOurs.FindAllStringSubmatch(strings.ReplaceAll(block[1], "\\\n", " "), -1) {
				words, _, _ := strings.Cut(strings.ReplaceAll(m[1], `"--"`, " -- "), " -- ")
				for _, o := range optionOfOurs.FindAllStringSubmatch(words, -1) {
					check(page, o[1])
				}
			}
		}
		switch page {
		case "README.md":
			continue // it names options of others
		case "docs/migration.md": // ours are in the last column
			text = strings.Join(regexp.MustCompile(`(?m)[^|]*\|$`).FindAllString(text, -1), "\n")
		}
		for _, m := range codeWithOption.FindAllStringSubmatch(text, -1) {
			check(page, strings.TrimPrefix(m[1], "-"))
		}
	}
	if checked < 50 {
		t.Errorf("only %d options were found on the pages", checked)
	}
}
