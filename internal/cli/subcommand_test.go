package cli

import (
	"slices"
	"testing"
)

func TestSubcommandNamed(t *testing.T) {
	for _, s := range subcommands {
		if got := subcommandNamed(s.name); got == nil || got.name != s.name {
			t.Errorf("%s is not found", s.name)
		}
	}
	for _, word := range []string{"", "Status", "stat", "-status", "./status", "statuses", "--"} {
		if subcommandNamed(word) != nil {
			t.Errorf("%q is a command", word)
		}
	}
}

// What a command takes from a variable must not reach a program by mistake: a
// variable of one name is the same option everywhere.
func TestSubcommandOptionsAreKnown(t *testing.T) {
	kinds := map[string]option{}
	for _, o := range slices.Concat(options, commandOptions) {
		if before, ok := kinds[o.name]; ok && (before.isSwitch() != o.isSwitch() || before.isList != o.isList) {
			t.Errorf("-%s is two options", o.name)
		}
		kinds[o.name] = o
	}
}
