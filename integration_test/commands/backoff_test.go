package commands

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// betweenRuns is a pidleash between two runs, in the foreground or not.
func betweenRuns(t *testing.T, m bed.StartMode) (a *bed.Attempt, r *bed.Run) {
	t.Helper()
	a = bed.NewAttempt(t)
	a.Super = a.Dir + "/s.pid"
	a.Shell(`read x <"$0/gate"; exit 3`)
	a.NewGate(t)
	a.Options = []string{"-restart", "on-failure", "-restart-delay", "1h"}
	r = a.Start(t, m)
	if m.Name != "foreground" {
		r.ExpectCode(t, 0)
	}
	a.Open(t)
	bed.Await(t, "the PID file is a placeholder", func() bool {
		text, err := os.ReadFile(a.PIDFile)
		super, err2 := os.ReadFile(a.Super)
		return err == nil && err2 == nil && string(text) == string(super)
	})
	return a, r
}

// supervisorModes are those in which pidleash starts PROGRAM again.
var supervisorModes = []bed.StartMode{bed.StartModes[0], bed.StartModes[5]}

// Between two runs the file names pidleash, which the commands know.
func TestCommandsInBackOff(t *testing.T) {
	t.Parallel()
	for _, m := range supervisorModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a, r := betweenRuns(t, m)
			status := bed.Start(t, bed.How{}, "status", a.PIDFile)
			status.ExpectCode(t, 0)
			if text := status.Rest(t); !strings.Contains(text, "held by itself: no program runs at the moment") {
				t.Errorf("status says %q", text)
			}
			command(t, bed.Conclusion{}, "signal", "USR1", a.PIDFile) // nobody is there to have it
			command(t, bed.Conclusion{}, "wait", "-until", "running", a.PIDFile)
			command(t, bed.Conclusion{}, "stop", a.PIDFile)
			if m.Name == "foreground" {
				r.ExpectCode(t, 0)
			}
			if left := a.Mark.Bearers(); len(left) > 0 {
				t.Errorf("PIDs %v are left", left)
			}
			bed.ExpectEmptyDir(t, a.Dir)
		})
	}
}

// The file of pidleash's own PID stops it, too.
func TestStopCommandOnSupervisorInBackOff(t *testing.T) {
	t.Parallel()
	for _, m := range supervisorModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a, r := betweenRuns(t, m)
			command(t, bed.Conclusion{}, "stop", a.Super)
			if m.Name == "foreground" {
				r.ExpectSignal(t, syscall.SIGTERM)
			}
			a.Mark.ExpectNobody(t)
			bed.ExpectEmptyDir(t, a.Dir)
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
				a := bed.NewAttempt(t)
				a.Shell(`echo x`)
				a.Options = []string{"-restart", "always", "-restart-delay", "0s"}
				r := a.Start(t, bed.StartModes[0])
				for range 1 + worker {
					r.Expect(t, "x")
				}
				command(t, bed.Conclusion{}, "stop", a.PIDFile)
				if left := a.Mark.Bearers(); len(left) > 0 {
					t.Errorf("PIDs %v are left", left)
				}
				bed.ExpectEmptyDir(t, a.Dir)
			}
		})
	}
}
