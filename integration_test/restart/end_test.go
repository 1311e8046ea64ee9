package restart

import (
	"path/filepath"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// In the back-off all of them end pidleash at once, and nothing else is to be waited for.
func TestRestartEndsInBackOff(t *testing.T) {
	t.Parallel()
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			for _, policy := range []string{"always", "on-failure"} {
				r := startRestarted(t, bed.How{}, "-restart", policy, "-restart-delay", bed.Never)
				r.fails(t, "exit 7")
				if end.signal == 0 {
					r.leaves(t)
					r.AwaitStderr(t, `p\.pid: removed, not starting again\n$`)
					continue
				}
				r.Signal(end.signal)
				r.ExpectSignal(t, end.signal)
				bed.ExpectEmptyDir(t, r.dir)
			}
		})
	}
}

func TestRestartEndsInBackOffOfPID1(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			r := leashRestarted(t, bed.AsPID1(), []string{"-restart", "always", "-restart-delay", bed.Never}, "sh", "-c", "exit 7")
			r.AwaitStderr(t, "restarting in 1h")
			if text := bed.ReadFile(t, r.file); text != "1\n" {
				t.Errorf("the PID file has %q, want 1", text)
			}
			if end.signal == 0 {
				r.leaves(t)
				return
			}
			r.Signal(end.signal)
			r.ExpectCode(t, 128+int(end.signal))
			bed.ExpectEmptyDir(t, r.dir)
		})
	}
}

// TERM, INT, QUIT and ABRT, which systemd's watchdog sends, are for PROGRAM, and there is no further run, whatever
// PROGRAM makes of them. HUP may be no more than a reload.
func TestRestartEndsInRun(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			p := bed.StartTeller(t, bed.How{}, 2, "-restart", "always", "-restart-delay", "0")
			bed.Must(t, syscall.Kill(p.Program, syscall.SIGKILL))
			p.Ready(t)
			p.Signal(sig)
			p.Got(t, sig)
			p.Signal(syscall.SIGUSR1)
			p.Got(t, syscall.SIGUSR1)
			p.ExpectCode(t, 7)
		})
	}
	t.Run("hangup", func(t *testing.T) {
		t.Parallel()
		r := startRestarted(t, bed.How{}, "-restart", "always", "-restart-delay", "0")
		r.Signal(syscall.SIGHUP)
		r.begins(t)
	})
}

// stoppedForRestart has a PROGRAM that takes its time to end, and pidleash waits for
// that.
func stoppedForRestart(t *testing.T, options ...string) (*bed.Teller, string) {
	t.Helper()
	file := bed.OpenDir(t) + "/p.pid"
	options = append([]string{"-pidfile", file, "-settle", "0", "-stop", bed.NeverKill, "-restart", "always", "-restart-delay", "0", "-restart-signal", "USR2"}, options...)
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, options...)
	p.Signal(syscall.SIGUSR2)
	p.GotWithCont(t, syscall.SIGTERM)
	return p, file
}

// Who changes his mind while PROGRAM is being stopped for a restart is obeyed.
func TestRestartEndsInStop(t *testing.T) {
	t.Parallel()
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			p, file := stoppedForRestart(t)
			if end.signal == 0 {
				bed.RemoveFile(t, file)
				p.AwaitStderr(t, "removed, stopping PID ")
			} else {
				p.Signal(end.signal)
				p.Got(t, end.signal)
			}
			bed.Must(t, syscall.Kill(p.Program, syscall.SIGKILL))
			if end.signal == syscall.SIGHUP { // which is PROGRAM's
				p.Ready(t)
				return
			}
			p.ExpectSignal(t, syscall.SIGKILL)
			if text := p.Rest(t); text != "" {
				t.Errorf("PROGRAM wrote %q", text)
			}
			bed.ExpectEmptyDir(t, filepath.Dir(file))
		})
	}
}

// Nothing but the restart follows when nobody does: the control of the above.
func TestRestartAfterStop(t *testing.T) {
	t.Parallel()
	p, _ := stoppedForRestart(t)
	p.Signal(syscall.SIGUSR2)
	bed.Must(t, syscall.Kill(p.Program, syscall.SIGKILL))
	p.Ready(t)
}

// While the stop command runs, too.
func TestRestartEndsInStopCommand(t *testing.T) {
	t.Parallel()
	for _, end := range endings[:2] {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			gate := bed.NewFIFO(t)
			c := bed.StartCommanded(t, bed.How{}, bed.NeverKill, "echo command; read line <"+gate, "-restart", "always", "-restart-delay", "0", "-restart-signal", "USR2")
			c.Signal(syscall.SIGUSR2)
			c.Expect(t, "command")
			if end.signal == 0 {
				bed.RemoveFile(t, c.File)
				c.AwaitStderr(t, "removed, stopping PID ")
			} else {
				c.Signal(end.signal)
				c.Got(t, end.signal)
			}
			bed.OpenGate(t, gate)
			if end.signal != syscall.SIGTERM { // it has had that
				c.GotWithCont(t, syscall.SIGTERM)
			}
			c.Over(t)
		})
	}
}
