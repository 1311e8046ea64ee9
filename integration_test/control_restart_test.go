package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// betweenRuns is a pidleash between two runs, in the foreground or not.
func betweenRuns(t *testing.T, m startMode) (a *attempt, r *run) {
	t.Helper()
	a = newAttempt(t)
	a.super = a.dir + "/s.pid"
	a.shell(`read x <"$0/gate"; exit 3`)
	a.newGate(t)
	a.options = []string{"-restart", "on-failure", "-restart-delay", "1h"}
	r = a.start(t, m)
	if m.name != "foreground" {
		r.expectCode(t, 0)
	}
	a.open(t)
	await(t, "pidleash stands in for PROGRAM", func() bool {
		text, err := os.ReadFile(a.pidfile)
		super, err2 := os.ReadFile(a.super)
		return err == nil && err2 == nil && string(text) == string(super)
	})
	return a, r
}

// supervisorModes are those in which pidleash starts PROGRAM again.
var supervisorModes = []startMode{startModes[0], startModes[5]}

// Between two runs the file names pidleash, which the commands know.
func TestCommandsInBackOff(t *testing.T) {
	t.Parallel()
	for _, m := range supervisorModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a, r := betweenRuns(t, m)
			status := start(t, how{}, "status", a.pidfile)
			status.expectCode(t, 0)
			if text := status.rest(t); !strings.Contains(text, "held by itself: no program runs at the moment") {
				t.Errorf("status says %q", text)
			}
			command(t, conclusion{}, "signal", "USR1", a.pidfile) // nobody is there to have it
			command(t, conclusion{}, "wait", "-until", "running", a.pidfile)
			command(t, conclusion{}, "stop", a.pidfile)
			if m.name == "foreground" {
				r.expectCode(t, 0)
			}
			if left := a.mark.bearers(); len(left) > 0 {
				t.Errorf("PIDs %v are left", left)
			}
			expectEmptyDir(t, a.dir)
		})
	}
}

// The file of pidleash's own PID stops it, too.
func TestStopCommandOnSupervisorInBackOff(t *testing.T) {
	t.Parallel()
	for _, m := range supervisorModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a, r := betweenRuns(t, m)
			command(t, conclusion{}, "stop", a.super)
			if m.name == "foreground" {
				r.expectSignal(t, syscall.SIGTERM)
			}
			a.mark.expectNobody(t)
			expectEmptyDir(t, a.dir)
		})
	}
}

// At whatever moment of however many restarts stop comes: when it returns nobody is
// left.
func TestStopCommandDuringRestarts(t *testing.T) {
	t.Parallel()
	for worker := range 4 {
		t.Run(string(rune('a'+worker)), func(t *testing.T) {
			t.Parallel()
			for range 25 {
				a := newAttempt(t)
				a.shell(`echo x`)
				a.options = []string{"-restart", "always", "-restart-delay", "0s"}
				r := a.start(t, startModes[0])
				for range 1 + worker {
					r.expect(t, "x")
				}
				command(t, conclusion{}, "stop", a.pidfile)
				if left := a.mark.bearers(); len(left) > 0 {
					t.Errorf("PIDs %v are left", left)
				}
				expectEmptyDir(t, a.dir)
			}
		})
	}
}
