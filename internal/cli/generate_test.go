package cli

import (
	"cmp"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Parts of some files that are shipped are made from the table of options. One line marks the beginning of such a part,
// another its end. The rest of the file is written by hand. After a change of the table:
//
//	go test ./internal/cli -run TestGenerated -update
var update = flag.Bool("update", false, "write what is made from the table of options anew")

// generated has the parts of each file, by their names.
var generated = []struct {
	file  string
	parts map[string]func() string
}{
	{"docs/options.md", map[string]func() string{
		"options": func() string { return optionPage(options) }, "commands": commandPage,
	}},
	{"man/pidleash.1", map[string]func() string{
		"options": manOptions, "commands": manCommands, "variables": manVariables,
	}},
	{"completions/pidleash.bash", map[string]func() string{"words": bashWords}},
	{"completions/_pidleash", map[string]func() string{"words": zshWords}},
	{"completions/pidleash.fish", map[string]func() string{"words": fishWords}},
}

func TestGenerated(t *testing.T) {
	for _, g := range generated {
		t.Run(g.file, func(t *testing.T) {
			checkFile(t, g.file, func(text string) string {
				for name, make := range g.parts {
					part := regexp.MustCompile(`(?s)(\n[^\n]*made from the table of options: ` + name + `\b[^\n]*\n).*?([^\n]*end of ` + name + `\b)`)
					if n := len(part.FindAllString(text, -1)); n != 1 {
						t.Fatalf("%s has %d parts that are made: %s", g.file, n, name)
					}
					text = part.ReplaceAllStringFunc(text, func(old string) string {
						ends := part.FindStringSubmatch(old)
						return ends[1] + make() + ends[2]
					})
				}
				return text
			})
		})
	}
}

// checkFile compares a file with what it should be, or writes it.
func checkFile(t *testing.T, name string, renew func(text string) string) {
	path := "../../" + name
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch want := renew(string(text)); {
	case want == string(text):
	case *update:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the table of options makes of it: go test ./internal/cli -run TestGenerated -update", name)
	}
}

// inOrder has the options as -h all has them.
func inOrder(options []option) (list []option) {
	for _, m := range regexp.MustCompile(`(?m)^\{(.*)\}$`).FindAllStringSubmatch(manual, -1) {
		for _, o := range options {
			if o.section == m[1] {
				list = append(list, o)
			}
		}
	}
	return list
}

// ofCommands has the options of the commands, with the names of those that have each.
func ofCommands() (list []option, owners map[string][]string) {
	owners = map[string][]string{}
	for i := range subcommands {
		for _, o := range subcommands[i].all() {
			if owners[o.name] == nil {
				list = append(list, o)
			}
			owners[o.name] = append(owners[o.name], subcommands[i].name)
		}
	}
	slices.SortStableFunc(list, func(x, y option) int { return cmp.Compare(x.name, y.name) })
	return list, owners
}

// fallbackText is the default for a table or the manual page.
func fallbackText(o *option, quote func(string) string) string {
	switch value := o.fallback(); {
	case strings.Contains(value, " "):
		return value
	case value != "":
		return quote(value)
	case o.section == "context":
		return "pidleash's own"
	case o.isSwitch():
		return "off"
	}
	return "none"
}

// TestManHasValuesAsTyped: a value that begins a sentence is no word of it, "Text" is refused.
func TestManHasValuesAsTyped(t *testing.T) {
	for _, o := range slices.Concat(options, commandOptions) {
		var b strings.Builder
		manOption(&b, &o, "")
		for _, c := range o.choices {
			if !strings.Contains(b.String(), `\fB`+manEscaped(c.value)+`\fR`) {
				t.Errorf("the manual page does not have %q of -%s in bold", c.value, o.name)
			}
		}
	}
}
