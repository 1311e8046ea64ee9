package faults

import (
	"math/rand"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// Who tells pidleash to end in the middle of the start means the start.
func TestToldToEndDuringStart(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes[:4] {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT} {
			for _, super := range []string{"", "/s.pid"} {
				t.Run(m.Name+"/"+sig.String()+super, func(t *testing.T) {
					t.Parallel()
					a := bed.NewAttempt(t)
					if super != "" {
						a.Super = a.Dir + super
					}
					a.Options = []string{"-ready", "fd:3"}
					a.Program = []string{"sh", "-c", `: >"$0/up"; exec sleep 600`, a.Other}
					r := a.Start(t, m)
					bed.Await(t, "PROGRAM runs", func() bool { return !bed.IsEmpty(a.Other) })
					r.Signal(sig)
					bed.Conclusion{Signal: sig}.Expect(t, r)
					bed.ExpectEmptyDir(t, a.Dir)
					a.Mark.ExpectNobody(t)
				})
			}
		}
	}
}

// A starter that has left a child behind is stopped with it.
func TestToldToEndWhileSeekingDaemon(t *testing.T) {
	t.Parallel()
	for _, m := range []bed.StartMode{bed.StartModes[1], bed.StartModes[3]} {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.Options = []string{"-follow", a.Other + "/never.pid"}
			a.Shell(`sleep 600 & echo $$ >"$0/new"; mv "$0/new" "$0/up"`)
			r := a.Start(t, m)
			bed.Await(t, "PROGRAM runs", func() bool { return !bed.IsGone(a.Other + "/up") })
			starter := bed.PIDIn(t, a.Other+"/up")
			// A TERM that comes before is for the daemon, too, which is waited for.
			bed.Await(t, "the starter was reaped", func() bool { return bed.IsGone(bed.ProcFile(starter, "")) })
			r.Signal(syscall.SIGTERM)
			bed.Conclusion{Signal: syscall.SIGTERM}.Expect(t, r)
			bed.ExpectEmptyDir(t, a.Dir)
			a.Mark.ExpectNobody(t)
		})
	}
}

// At whatever moment of the start a TERM comes: either it ends all of it, or the
// start was over.
func TestTermAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for range 15 {
				termOnce(t, m)
			}
		})
	}
}

func termOnce(t *testing.T, m bed.StartMode) {
	a := bed.NewAttempt(t)
	a.Super = a.Dir + "/s.pid"
	a.Program = []string{"sleep", "600"}
	if strings.Contains(m.Name, "forking") {
		a.Shell("sleep 600 &")
	}
	r := a.Start(t, m)
	// Only the moment is random: nothing is concluded from it.
	time.Sleep(time.Duration(rand.Intn(20_000)) * time.Microsecond)
	r.Signal(syscall.SIGTERM)
	status := r.Wait(t)
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGTERM:
	case strings.HasPrefix(m.Name, "daemon") && status.Exited() && status.ExitStatus() == 0:
		bed.Must(t, os.Remove(a.PIDFile))
	default:
		t.Errorf("pidleash ended by %s\n%s", bed.Describe(status), r.Stderr())
	}
	r.ExpectQuiet(t)
	a.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, a.Dir)
}
