package cli

import (
	"slices"
	"testing"
)

func TestSlips(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"stop", "stop", 0}, {"stop", "sotp", 1}, {"stop", "stp", 1}, {"stop", "stopp", 1},
		{"stop", "step", 1}, {"stop", "tsop", 1}, {"status", "stauts", 1}, {"port", "stop", 4}, {"timeout", "time", 3},
	} {
		if got := slips(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := slips(c.b, c.a); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestResembling(t *testing.T) {
	names := []string{"pidfile", "pdeathsig", "stop", "stdout", "stderr", "start-timeout", "nice", "h", "help", "version"}
	for word, want := range map[string][]string{
		"pidfle": {"pidfile"}, "PIDFILE": {"pidfile"}, "start_timeout": {"start-timeout"}, "p": {"pdeathsig", "pidfile"},
		"std": {"stderr", "stdout"}, "V": {"version"}, "s": nil, "x": nil, "HUP": nil, "9": nil, "stpo": {"stop"},
	} {
		if got := resembling(word, names); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
