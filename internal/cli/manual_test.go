package cli

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write README.md's table of options anew")

// What -h shows is the table of options, and -h and -version.
func TestManualHasEveryOption(t *testing.T) {
	checkManual(t, "pidleash", manual, options, "h", "version")
	for _, s := range subcommands {
		checkManual(t, "pidleash "+s.name, *s.text, s.all(), "h")
	}
}

func checkManual(t *testing.T, name, text string, options []option, want ...string) {
	for _, o := range options {
		want = append(want, o.name)
	}
	text = regexp.MustCompile(`(?s)\n(THE PID FILE|OPTIONS)\n.*`).FindString(withOptions(text, options))
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s -h shows\n%q, the table of options has\n%q", name, got, want)
	}
	if strings.Contains(text, "\n{") {
		t.Errorf("%s -h has a line that options should replace:\n%s", name, text)
	}
}

const readme = "../../docs/options.md"

// The README's table is written by: go test ./internal/cli -run TestReadmeOptions -update
func TestReadmeOptions(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?m)^\| option \| default \| \|\n(\|.*\n)+`)
	if n := len(table.FindAll(text, -1)); n != 1 {
		t.Fatalf("README.md has %d tables of options", n)
	}
	want := table.ReplaceAllLiteral(text, []byte(readmeTable()))
	if string(want) == string(text) {
		return
	}
	if !*update {
		t.Fatalf("README.md's table of options is not up to date: go test ./internal/cli -run TestReadmeOptions -update. It would be\n%s", readmeTable())
	}
	if err := os.WriteFile(readme, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// readmeTable has the options in the order of -h.
func readmeTable() string {
	var b strings.Builder
	b.WriteString("| option | default | |\n|---|---|---|\n")
	for _, m := range regexp.MustCompile(`(?m)^\{(.*)\}$`).FindAllStringSubmatch(manual, -1) {
		for _, o := range options {
			if o.section == m[1] {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.TrimSpace("-"+o.name+" "+o.value), readmeDefault(&o), readmeText(&o))
			}
		}
	}
	return b.String() + "| `-h`, `-version` | | |\n"
}

func readmeDefault(o *option) string {
	switch value := o.fallback(); {
	case strings.Contains(value, " "):
		return value
	case value != "":
		return "`" + value + "`"
	case o.section == "context":
		return "pidleash's own"
	case o.isSwitch():
		return "off"
	}
	return "none"
}

// readmeText is what -h says, with options, variables and commands as code. The
// choices are named; the sections below the table explain them.
func readmeText(o *option) string {
	text := strings.TrimSuffix(o.meaning(), " (default "+o.fallback()+")")
	text = regexp.MustCompile(`"[^"]+"|\B(-[a-z][a-z-]+|\$[A-Z_]+)\b`).ReplaceAllStringFunc(text, func(word string) string {
		return "`" + strings.Trim(word, `"`) + "`"
	})
	separator := " "
	for _, c := range o.choices {
		text += separator + "`" + c.value + "`"
		separator = ", "
	}
	return strings.ReplaceAll(text, "|", `\|`)
}
