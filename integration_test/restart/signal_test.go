package restart

import (
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// The restart signal stops PROGRAM by the schedule, and starts it anew, whatever the
// policy and however it ends.
func TestRestartSignal(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{nil, {"-restart", "on-failure"}, {"-restart", "always", "-restart-delay", bed.Never}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/p.pid"
			options := append([]string{"-pidfile", file, "-stop", "USR2/1h/KILL", "-restart-signal", "HUP"}, options...)
			p := bed.StartTeller(t, bed.How{}, 3, options...)
			before := *p
			for range 3 {
				p.Signal(syscall.SIGUSR1) // an ordinary signal
				p.Got(t, syscall.SIGUSR1)
				p.Signal(syscall.SIGHUP)
				p.GotWithCont(t, syscall.SIGUSR2) // by the third signal it exits with 7
				p.Ready(t)
				if p.Program == before.Program || p.Parent != before.Parent {
					t.Errorf("PROGRAM is %d below %d, before %d below %d", p.Program, p.Parent, before.Program, before.Parent)
				}
			}
			p.ExpectQuiet(t)
			p.Signal(syscall.SIGTERM) // and that is the end
			p.Got(t, syscall.SIGTERM)
			bed.Must(t, syscall.Kill(p.Program, syscall.SIGKILL))
			p.ExpectSignal(t, syscall.SIGKILL)
			bed.ExpectEmptyDir(t, filepath.Dir(file))
		})
	}
}

// An end of its own is not asked for.
func TestRestartSignalAlone(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, bed.How{}, "-restart-signal", "USR2")
	r.Signal(syscall.SIGUSR2)
	r.begins(t)
	r.Tell(t, "exit 5")
	r.ExpectCode(t, 5)
	bed.ExpectEmptyDir(t, r.dir)
}

// The stop command runs first, and a second restart signal meanwhile changes nothing.
// While it outlives PROGRAM the file names pidleash.
func TestRestartSignalStopCommand(t *testing.T) {
	t.Parallel()
	gate := bed.NewFIFO(t)
	c := bed.StartCommanded(t, bed.How{}, bed.NeverKill, "echo command; kill -KILL $MAINPID; read line <"+gate, "-restart-signal", "HUP")
	for range 2 {
		last := c.Program
		c.Signal(syscall.SIGHUP)
		c.Expect(t, "command")
		bed.Await(t, "the file names pidleash", func() bool { return bed.ReadFile(t, c.File) == strconv.Itoa(c.PID())+"\n" })
		if !bed.Gone(last) {
			bed.Await(t, "PROGRAM has been waited for", func() bool { return bed.Gone(last) })
		}
		c.Signal(syscall.SIGHUP)
		awaitIdle(c.Run, t) // or it might come after the command
		bed.OpenGate(t, gate)
		c.Ready(t)
	}
	c.Over(t)
}

// When pidleash has stopped PROGRAM, nothing of it is left beside the next run.
func TestRestartSignalSweeps(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mixed", "tree", "process"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := startRestarted(t, bed.How{}, "-restart-signal", "HUP", "-kill-mode", mode)
			r.Tell(t, "sleep 1000 & echo $!")
			child := r.Number(t)
			bed.KillAtEnd(t, child)
			r.Signal(syscall.SIGHUP)
			r.begins(t)
			if left := !bed.Ended(child); left != (mode == "process") {
				t.Errorf("the descendant is left: %v", left)
			}
		})
	}
}

// In mode tree this is so after an end of its own, too.
func TestRestartSweeps(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mixed", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := startRestarted(t, bed.How{}, "-restart", "always", "-restart-delay", "0", "-kill-mode", mode)
			r.Tell(t, "sleep 1000 & echo $!")
			child := r.Number(t)
			bed.KillAtEnd(t, child)
			r.Tell(t, "exit 1")
			r.begins(t)
			if left := !bed.Ended(child); left != (mode == "mixed") {
				t.Errorf("the descendant is left: %v", left)
			}
		})
	}
}

// Other signals have nobody to go to in the back-off. They are not kept for the next
// run, and do not end pidleash.
func TestRestartDropsSignals(t *testing.T) {
	t.Parallel()
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-log-level", "info", "-restart", "always", "-restart-delay", bed.Never, "-restart-signal", "64")
	bed.Must(t, syscall.Kill(p.Program, syscall.SIGKILL))
	p.AwaitStderr(t, "restarting in 1h")
	awaitIdle(p.Run, t)
	for _, sig := range bed.ForwardedSignals() {
		switch sig {
		case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGHUP, 64:
		default:
			p.Signal(sig)
		}
	}
	awaitIdle(p.Run, t)
	p.Signal(64)
	p.Ready(t)
	p.RoundTrips(t)
	finishForGood(p, t)
}

// finishForGood ends a PROGRAM that would be started again.
func finishForGood(p *bed.Teller, t testing.TB) {
	t.Helper()
	p.Signal(syscall.SIGTERM)
	p.Got(t, syscall.SIGTERM)
	p.Finish(t)
}

// The thread that has forked a later run lives on.
func TestRestartDeathSignal(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, bed.How{}, "-restart", "always", "-restart-delay", "0")
	for range 3 {
		r.Tell(t, "exit 1")
		r.begins(t)
	}
	r.Signal(syscall.SIGKILL)
	r.ExpectSignal(t, syscall.SIGKILL)
	bed.Await(t, "PROGRAM has ended", func() bool { return bed.Ended(r.program) })
}
