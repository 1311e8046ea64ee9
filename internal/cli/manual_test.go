package cli

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

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
	got := shownOptions(text)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s -h shows\n%q, the table of options has\n%q", name, got, want)
	}
}

func shownOptions(text string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// What people see first fits on a screen: examples, and the ten options that matter.
func TestSummary(t *testing.T) {
	text := topic(nil)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 30 {
		t.Errorf("-h has %d lines, the limit is 30", len(lines))
	}
	for _, line := range lines {
		if len(line) > columns {
			t.Errorf("-h has a line of %d characters: %s", len(line), line)
		}
	}
	examples, usage := strings.Index(text, "\nEXAMPLES\n"), strings.Index(text, "\nUSAGE\n")
	if examples < 0 || usage < examples {
		t.Errorf("-h does not begin with examples:\n%s", text)
	}
	if got := shownOptions(text); len(got) != 12 || !slices.Equal(got[10:], []string{"h", "version"}) {
		t.Errorf("-h has %q, want ten options, -h and -version", got)
	}
}

func TestTopics(t *testing.T) {
	whole := topic([]string{"all", "ignored"})
	for _, s := range subcommands {
		if !strings.Contains(whole, "\n  "+s.name+" "+s.operands) {
			t.Errorf("pidleash help all does not tell of %s", s.name)
		}
		if text := topic([]string{s.name}); !strings.HasPrefix(text, "pidleash "+s.name+" - ") {
			t.Errorf("pidleash help %s says\n%s", s.name, text)
		}
	}
	for _, words := range [][]string{nil, {}, {"all"}, {"status"}, {"list"}, {"another"}} {
		if text := topic(words); regexp.MustCompile(`(?m)^\{`).MatchString(text) {
			t.Errorf("pidleash help %q has a line that options should replace:\n%s", words, text)
		}
	}
}

// What the texts of an option have in common, and where they are shown.
func TestOptionTexts(t *testing.T) {
	for _, o := range slices.Concat(options, commandOptions) {
		if len(o.brief) == 0 || len(o.brief) > columns-margin || strings.HasSuffix(o.brief, ".") {
			t.Errorf("-%s: %q is no line of at most %d characters", o.name, o.brief, columns-margin)
		}
		for _, c := range o.choices {
			if (c.text == "") != (o.choices[0].text == "") {
				t.Errorf("-%s: only some of its choices have a text", o.name)
			}
		}
		if o.meaning() == "" {
			t.Errorf("-%s has no text", o.name)
		}
	}
}

// The choices in the table are those of the parser.
func TestChoices(t *testing.T) {
	for _, o := range slices.Concat(options, commandOptions) {
		for _, c := range o.choices {
			value := sampleOf(c.value)
			if err := o.set(&command{}, value); err != nil {
				t.Errorf("-%s %s: %v", o.name, value, err)
			}
		}
		if len(o.choices) > 0 && o.remedy == "" && o.set(&command{}, "another") == nil {
			t.Errorf("-%s takes a value that its choices lack", o.name)
		}
	}
}

// sampleOf is a value of a choice that stands for many.
func sampleOf(choice string) string {
	return strings.NewReplacer("DURATION", "2s", "fd:N", "fd:3", "REGEX", "[a-z]", "[HOST:]PORT", "localhost:80", "COMMAND", "true").Replace(choice)
}
