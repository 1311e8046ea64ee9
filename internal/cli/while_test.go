package cli

import (
	"testing"
	"time"
)

// The default of -start-timeout is about the program, not about files of others.
func TestWhileLimit(t *testing.T) {
	for _, c := range []struct {
		args         []string
		env          string
		while, start time.Duration
	}{
		{[]string{"-while", "/f"}, "", 0, defaultStartLimit},
		{[]string{"-while", "/f", "-ready", "fd:3"}, "", 0, defaultStartLimit},
		{[]string{"-while", "/f", "-start-timeout", "30s"}, "", 30 * time.Second, 30 * time.Second},
		{[]string{"-while", "/f"}, "5s", 5 * time.Second, 5 * time.Second},
		{[]string{"-while", "/f", "-start-timeout", "0"}, "5s", 0, 0},
	} {
		t.Setenv("PIDLEASH_START_TIMEOUT", c.env)
		cmd, err := parse(append(c.args, "true"))
		if err != nil {
			t.Fatalf("%q: %v", c.args, err)
		}
		if cmd.config.WhileLimit != c.while || cmd.config.StartLimit != c.start {
			t.Errorf("%q, variable %q: limits %v and %v, want %v and %v", c.args, c.env,
				cmd.config.WhileLimit, cmd.config.StartLimit, c.while, c.start)
		}
	}
}
