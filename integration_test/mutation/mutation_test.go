package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func protections(t *testing.T) []protection {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, list))
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The text of every protection is in its file once, and the tests that are to notice are there.
func TestListFits(t *testing.T) {
	all := protections(t)
	if len(all) < 60 {
		t.Errorf("%d protections, want at least 60", len(all))
	}
	seen := map[string]bool{}
	for _, p := range all {
		source, err := os.ReadFile(filepath.Join(root, p.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := p.breakIn(string(source)); err != nil {
			t.Error(err)
		}
		if seen[p.file+p.old+p.new] {
			t.Errorf("%s:%d: twice", list, p.line)
		}
		seen[p.file+p.old+p.new] = true
		if !hasTest(t, p) {
			t.Errorf("%s:%d: %s has no test called %s", list, p.line, p.pack, p.run)
		}
	}
}

var testName = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)

func hasTest(t *testing.T, p protection) bool {
	t.Helper()
	run := regexp.MustCompile(p.run)
	files, err := filepath.Glob(filepath.Join(root, p.pack, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(name string) bool {
		text, _ := os.ReadFile(name)
		return slices.ContainsFunc(testName.FindAllSubmatch(text, -1), func(m [][]byte) bool { return run.Match(m[1]) })
	})
}

func TestParse(t *testing.T) {
	all, err := parse("# one\nin a.go\nred ./a ^TestA$\n-x\n-\ty\n+z\n\n\n# two\nin b.go\nred ./b B\n-x\n")
	want := []protection{
		{what: "one", file: "a.go", pack: "./a", run: "^TestA$", old: "x\n\ty", new: "z", line: 1},
		{what: "two", file: "b.go", pack: "./b", run: "B", old: "x", line: 9},
	}
	if err != nil || !slices.Equal(all, want) {
		t.Errorf("%+v, %v; want %+v", all, err, want)
	}
	for _, text := range []string{"# one\nin a.go\nred ./a A\n-x\n+x\n", "# one\nred ./a A\n-x\n", "# one\nin a.go\nred ./a (\n-x\n", "what\n"} {
		if all, err := parse(text); err == nil {
			t.Errorf("%q is %+v", text, all)
		}
	}
}

// A protection with a test, one without, one that does not build, and one whose tests are red in any case.
func TestTry(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module example\n\ngo 1.26\n",
		"a.go":      "package a\n\nfunc A(n int) bool {\n\tif n < 0 {\n\t\treturn false\n\t}\n\tif n > 9 {\n\t\treturn false\n\t}\n\treturn true\n}\n",
		"a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {\n\tif A(-1) {\n\t\tt.Fail()\n\t}\n}\n\nfunc TestB(t *testing.T) { t.Fail() }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	*limit = "1m"
	for _, c := range []struct {
		p    protection
		want string
	}{
		{protection{file: "a.go", old: "n < 0", new: "false", pack: ".", run: "^TestA$"}, ""},
		{protection{file: "a.go", old: "n > 9", new: "false", pack: ".", run: "^TestA$"}, "survives"},
		{protection{file: "a.go", old: "n > 9", new: "(", pack: ".", run: "^TestA$"}, "does not build"},
		{protection{file: "a.go", old: "n > 9", new: "false", pack: ".", run: "^TestC$"}, "no test is called ^TestC$"},
		{protection{file: "a.go", old: "n < 0", new: "false", pack: ".", run: "^TestB$"}, "red anyway"},
		{protection{file: "a.go", old: "return false", new: "", pack: ".", run: "^TestA$"}, "2 times"},
	} {
		err := try(dir, c.p, &results{green: map[string]error{}})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want %q", c.p.new, c.p.old, err, c.want)
		}
		if out, err := exec.Command("grep", "-c", "n < 0\\|n > 9", filepath.Join(dir, "a.go")).Output(); string(out) != "2\n" {
			t.Fatalf("the source was not restored: %s, %v", out, err)
		}
	}
}
