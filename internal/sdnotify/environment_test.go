package sdnotify

import (
	"testing"
	"time"
)

func TestVariable(t *testing.T) {
	env := []string{"XA=1", "A", "A=", "B=x=y", "B=z"}
	for _, c := range []struct {
		name, value string
		i           int
	}{
		{"A", "", 2},
		{"B", "x=y", 3}, // the first, as getenv(3) does
		{"C", "", -1},
		{"", "", -1},
	} {
		if i, value := variable(env, c.name); i != c.i || value != c.value {
			t.Errorf("%q: %d, %q; want %d, %q", c.name, i, value, c.i, c.value)
		}
	}
}

func TestPingInterval(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "x": 0, "-2": 0, "0": 0, "1": 0,
		"2":                    time.Microsecond,
		"30000000":             15 * time.Second,
		"9223372036854775807":  0, // longer than a Duration
		"99999999999999999999": 0,
	} {
		if got := pingInterval([]string{"A=1", "WATCHDOG_USEC=" + value}); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	if got := pingInterval(nil); got != 0 {
		t.Errorf("without the variable: %v", got)
	}
}
