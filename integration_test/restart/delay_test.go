package restart

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// The delay doubles, and is never less than it says, nor a tenth more: the jitter.
func TestRestartDelayDoubles(t *testing.T) {
	t.Parallel()
	r := leashRestarted(t, bed.How{}, []string{"-restart", "on-failure", "-restart-delay", "20ms", "-restart-limit", "5/1h"}, "false")
	r.ExpectCode(t, 1)
	r.expectDelays(t, 20*time.Millisecond, 40*time.Millisecond, 80*time.Millisecond, 160*time.Millisecond, 320*time.Millisecond)
}

// Somebody who asks for a restart need not wait, and the delay is the first again
// after that. Of eleven delays some differ: that is the jitter.
func TestRestartDelaySkipped(t *testing.T) {
	t.Parallel()
	const delay = 20 * time.Second
	r := startRestarted(t, bed.How{}, "-restart", "on-failure", "-restart-delay", delay.String(), "-restart-signal", "USR1")
	for range 11 {
		r.fails(t, "exit 1")
		r.Signal(syscall.SIGUSR1)
		r.begins(t)
	}
	all := r.expectDelays(t, slices.Repeat([]time.Duration{delay}, 11)...)
	if slices.Min(all) == slices.Max(all) {
		t.Errorf("eleven delays are %v each: no jitter", all[0])
	}
	r.Tell(t, "exit 0")
	r.ExpectCode(t, 0)
}

// Without more: 1 s.
func TestRestartDelayDefault(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, bed.How{}, "-restart", "always")
	r.Tell(t, "exit 1")
	r.begins(t)
	r.Tell(t, "exit 1")
	bed.Await(t, "the second delay", func() bool { return r.delays(t) == 2 })
	r.expectDelays(t, time.Second, 2*time.Second)
}

func TestRestartLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		order  string
		code   int
		signal syscall.Signal
	}{
		{"exit 0", 0, 0},
		{"exit 9", 9, 0},
		{"kill -KILL $$", 0, syscall.SIGKILL},
	} {
		t.Run(test.order, func(t *testing.T) {
			t.Parallel()
			r := startRestarted(t, bed.How{}, "-log-level", "warn", "-restart", "always", "-restart-delay", "0", "-restart-limit", "2/1h", "-restart-signal", "USR1")
			for range 3 { // these do not count
				r.Signal(syscall.SIGUSR1)
				r.begins(t)
			}
			for range 2 {
				r.Tell(t, "exit 1")
				r.begins(t)
			}
			r.Tell(t, test.order)
			if test.signal != 0 {
				r.ExpectSignal(t, test.signal)
			} else {
				r.ExpectCode(t, test.code)
			}
			r.ExpectOneLine(t, `^pidleash: sh: not restarting: 2 restarts within 1h0m0s\n$`)
			bed.ExpectEmptyDir(t, r.dir)
		})
	}
}

// Only those within the window count.
func TestRestartLimitWindow(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, bed.How{}, "-restart", "on-failure", "-restart-delay", "0", "-restart-limit", "1/1us")
	for range 20 {
		r.Tell(t, "exit 1")
		r.begins(t)
	}
	r.Tell(t, "exit 0")
	r.ExpectCode(t, 0)
}
