package exit

import (
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// signalsThatDoNotStop are all that end a process or do nothing at all to it.
func signalsThatDoNotStop() (list []syscall.Signal) {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		switch sig {
		case syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		default:
			list = append(list, sig)
		}
	}
	return list
}

// The parent learns the same as without pidleash, by wait(2).
func TestDeathBySignal(t *testing.T) {
	t.Parallel()
	die, as := bed.CompileC(t, "die.c"), bed.CompileC(t, "as.c")
	deaths := 0
	for _, sig := range signalsThatDoNotStop() {
		n := strconv.Itoa(int(sig))
		want := ending(t, exec.Command(die, n))
		// A core file would go into the current directory, as far as the kernel is
		// not told otherwise.
		dir := t.TempDir()
		cmd := exec.Command(as, "core", bed.Pidleash, die, n)
		cmd.Dir = dir
		if have := ending(t, cmd); have != want {
			t.Errorf("PROGRAM ends by %s, pidleash by %s, core file: %v", bed.Describe(want), bed.Describe(have), have.CoreDump())
		}
		bed.ExpectEmptyDir(t, dir)
		if want.Signaled() {
			deaths++
		}
	}
	// All but CHLD, CONT, URG and WINCH.
	if want := 64 - 4 - 4; deaths != want {
		t.Errorf("%d signals kill, want %d", deaths, want)
	}
}

// TestDeathBySignal looks for core files: here is one, unless the machine sends
// them elsewhere.
func TestDeathWithCoreFile(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(bed.CompileC(t, "as.c"), "core", "sh", "-c", "kill -SEGV $$")
	cmd.Dir = t.TempDir()
	if status := ending(t, cmd); !status.CoreDump() {
		t.Skipf("no core file of a program that ends by %s", bed.Describe(status))
	}
}

// PID 1 cannot die by a signal of its own.
func TestDeathBySignalAsPID1(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	die := bed.CompileC(t, "die.c")
	for _, sig := range signalsThatDoNotStop() {
		n := strconv.Itoa(int(sig))
		want := 128 + int(sig)
		if bare := ending(t, exec.Command(die, n)); bare.Exited() {
			want = bare.ExitStatus()
		}
		cmd := exec.Command(bed.Pidleash, die, n)
		cmd.SysProcAttr = bed.AsPID1().Attr
		if have := ending(t, cmd); !have.Exited() || have.ExitStatus() != want {
			t.Errorf("PROGRAM dies by signal %s, pidleash ends by %s, want exit code %d", n, bed.Describe(have), want)
		}
	}
	// Without pidleash the signal is lost.
	cmd := exec.Command(die, "15")
	cmd.SysProcAttr = bed.AsPID1().Attr
	if have := ending(t, cmd); have.ExitStatus() != 98 {
		t.Errorf("PID 1 ends itself by %s", bed.Describe(have))
	}
}

// PROGRAM's standard output ends with PROGRAM, whoever waits for it then.
func TestDeathSignal(t *testing.T) {
	t.Parallel()
	t.Run("default", func(t *testing.T) {
		p := bed.StartTeller(t, bed.How{}, bed.ForEver)
		p.Signal(syscall.SIGKILL)
		p.ExpectSignal(t, syscall.SIGKILL)
		if text := p.Rest(t); text != "" {
			t.Errorf("PROGRAM wrote %q, want nothing", text)
		}
	})
	t.Run("TERM", func(t *testing.T) {
		p := bed.StartTeller(t, bed.How{}, 1, "-pdeathsig", "TERM")
		p.Signal(syscall.SIGKILL)
		p.Got(t, syscall.SIGTERM)
	})
	t.Run("none", func(t *testing.T) {
		p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pdeathsig", "none")
		p.Signal(syscall.SIGKILL)
		p.ExpectSignal(t, syscall.SIGKILL)
		if err := syscall.Kill(p.Program, syscall.SIGUSR1); err != nil {
			t.Error(err)
		}
		p.Got(t, syscall.SIGUSR1)
		p.Stdin.Close()
		if text := p.Rest(t); text != "" {
			t.Errorf("PROGRAM wrote %q, want nothing", text)
		}
	})
}

// The parent-death signal comes when the thread ends that has forked. However
// many threads there are and come and go, this one stays.
func TestDeathSignalIsNotTheThreads(t *testing.T) {
	t.Parallel()
	for range 20 {
		p := bed.StartTeller(t, bed.How{Env: []string{"GOMAXPROCS=32", "GOGC=1"}}, bed.ForEver, "-pdeathsig", "USR2", "-log-level", "trace")
		p.RoundTrips(t)
		p.Finish(t)
	}
}
