package machine

import (
	"flag"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write docs/states.md")

const picture = "../../docs/states.md"

// pictureGroups are the tables of the picture: the states of each.
var pictureGroups = []struct {
	title  string
	states []State
}{
	{"Before the program runs", []State{Idle, Waiting, Launching, Detaching, Finding}},
	{"While it runs", []State{Rising, Answering, Parting, Running, Draining, Succeeding}},
	{"While it is stopped", []State{Commanding, Outliving, Stopping, Sweeping, Remaining}},
	{"The end", []State{Lingering, Closing, Over}},
}

// The picture is made from the table, so that it cannot be wrong.
func TestPicture(t *testing.T) {
	want := drawPicture()
	if *update {
		if err := os.WriteFile(picture, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table says: go test ./internal/machine -run TestPicture -update", picture)
	}
}

func TestPictureHasEveryState(t *testing.T) {
	var seen [numStates]int
	for _, g := range pictureGroups {
		for _, s := range g.states {
			seen[s]++
		}
	}
	for s, n := range seen {
		if n != 1 {
			t.Errorf("%s is in %d tables of the picture, want 1", stateNames[s], n)
		}
	}
}

func drawPicture() string {
	var b strings.Builder
	b.WriteString("# The states of pidleash\n\nWhat pidleash does when something happens, from its one table of decisions, " +
		"internal/machine/table.go; an event that is not in a table changes nothing there.\n")
	for _, g := range pictureGroups {
		b.WriteString("\n## " + g.title + "\n\n")
		drawGroup(&b, g.states)
	}
	drawGlossary(&b, "The states", "state", "pidleash is where", "State")
	drawGlossary(&b, "The events", "event", "what has happened", "Kind")
	return b.String()
}

func drawGroup(b *strings.Builder, states []State) {
	head, line := "| event |", "|---|"
	for _, s := range states {
		head += " " + words(stateNames[s]) + " |"
		line += "---|"
	}
	b.WriteString(head + "\n" + line + "\n")
	for k := range numKinds {
		row, empty := "| "+words(kindNames[k])+" |", true
		for _, s := range states {
			cell := ""
			if f := rule(s, k); f != nil {
				cell, empty = transitionName(f), false
			}
			row += " " + cell + " |"
		}
		if !empty {
			b.WriteString(strings.ReplaceAll(row, "  ", " ") + "\n")
		}
	}
}

func drawGlossary(b *strings.Builder, title, column, meaning, typeName string) {
	b.WriteString("\n## " + title + "\n\n| " + column + " | " + meaning + " |\n|---|---|\n")
	for _, c := range constants(typeName) {
		b.WriteString("| " + words(c.name) + " | " + c.comment + " |\n")
	}
}

// transitionName is the name of a method, in words.
func transitionName(f transition) string {
	name := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
	return words(name[strings.LastIndex(name, ".")+1:])
}

// words splits a name at its capitals: "beginSweep" is "begin sweep".
func words(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Every transition has a name of its own: a function without one would be a number in the
// picture.
func TestTransitionsHaveNames(t *testing.T) {
	for s := range numStates {
		for k := range numKinds {
			if f := rule(s, k); f != nil && strings.ContainsAny(transitionName(f), "0123456789") {
				t.Errorf("%s in %s is called %s", kindNames[k], stateNames[s], transitionName(f))
			}
		}
	}
}
