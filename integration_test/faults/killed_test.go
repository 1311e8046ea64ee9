package faults

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// Without its watchdog a program in the background would be nobody's.
func TestWatchdogKilledDuringStart(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes[2:4] {
		for _, super := range []string{"", "/s.pid"} {
			t.Run(m.Name+super, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				if super != "" {
					a.Super = a.Dir + super
				}
				bed.Must(t, syscall.Mkfifo(a.Other+"/gate", 0o600))
				a.Options = []string{"-ready", "fd:3"}
				script := `read x <"$0/gate"; echo >&3; exec sleep 600`
				if strings.Contains(m.Name, "forking") {
					script = "{ " + script + "; } &"
				}
				a.Shell(script)
				r := a.Start(t, m)
				bed.Await(t, "PROGRAM runs", func() bool { _, err := os.Stat(a.PIDFile); return err == nil })
				watchdog := a.Mark.Watchdog()
				if watchdog == 0 {
					t.Fatal("no watchdog")
				}
				bed.Must(t, syscall.Kill(watchdog, syscall.SIGKILL))
				bed.Await(t, "the watchdog is gone", func() bool { return bed.Ended(watchdog) })
				// PROGRAM comes up now, unless the caller has stopped it already.
				if gate, err := os.OpenFile(a.Other+"/gate", os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
					_, _ = gate.WriteString("\n")
					gate.Close()
				}
				bed.Conclusion{Code: 125, Line: "the watchdog has ended before it was watching"}.Expect(t, r)
				bed.ExpectEmptyDir(t, a.Dir)
				a.Mark.ExpectNobody(t)
			})
		}
	}
}

// A caller that is killed has not started anything.
func TestCallerKilledDuringStart(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Super = a.Dir + "/s.pid"
	a.Options = []string{"-ready", "fd:3"}
	a.Program = []string{"sh", "-c", `: >"$0/up"; exec sleep 600`, a.Other}
	r := a.Start(t, bed.StartModes[2])
	bed.Await(t, "PROGRAM runs", func() bool { return !bed.IsEmpty(a.Other) })
	watchdog := a.Mark.Watchdog()
	r.Signal(syscall.SIGKILL)
	r.ExpectSignal(t, syscall.SIGKILL)
	bed.Await(t, "the watchdog has ended", func() bool { return bed.Ended(watchdog) })
	a.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, a.Dir)
}

// With -forking in the foreground, a daemon survives a SIGKILL of pidleash. If pidleash had not found the daemon yet,
// the daemon has no PID file, and the next start runs a second daemon.
func TestForkingKilledBeforeKnown(t *testing.T) {
	t.Parallel()
	a := unknownDaemon(t)
	r := a.Start(t, bed.StartModes[1])
	first := awaitDaemons(t, a, 1)
	r.Signal(syscall.SIGKILL)
	r.ExpectSignal(t, syscall.SIGKILL)
	bed.Await(t, "PROGRAM and its daemon live on", func() bool { return len(a.Mark.Bearers()) == 2 })
	if _, err := os.Lstat(a.PIDFile); !os.IsNotExist(err) {
		t.Errorf("the PID file: %v, want none", err)
	}
	a.Start(t, bed.StartModes[1])
	if both := awaitDaemons(t, a, 2); !slices.Contains(both, first[0]) {
		t.Errorf("the daemons are %d, the first one was %d", both, first)
	}
}

// With -daemon two others are there, and whoever is killed, they stop the daemon.
func TestDaemonForkingKilledBeforeKnown(t *testing.T) {
	t.Parallel()
	for _, whom := range []string{bed.Pidleash, "pidleash-starter", "pidleash-watchdog"} {
		t.Run(whom[strings.LastIndexAny(whom, "/-")+1:], func(t *testing.T) {
			t.Parallel()
			a := unknownDaemon(t)
			a.Start(t, bed.StartModes[3])
			awaitDaemons(t, a, 1)
			killed := called(a, whom)
			if len(killed) != 1 {
				t.Fatalf("%d processes are called %s, want one", len(killed), whom)
			}
			bed.Must(t, syscall.Kill(killed[0], syscall.SIGKILL))
			a.Mark.ExpectNobody(t)
			bed.ExpectEmptyDir(t, a.Dir)
		})
	}
}

// unknownDaemon is a PROGRAM that has begun a daemon, and does not end, so that no pidleash knows yet which it is.
func unknownDaemon(t *testing.T) *bed.Attempt {
	a := bed.NewAttempt(t)
	a.NewGate(t)
	a.Shell(`sleep 600 & read x <"$0/gate"`)
	return a
}

func awaitDaemons(t *testing.T, a *bed.Attempt, n int) (pids []int) {
	t.Helper()
	bed.Await(t, "the daemons", func() bool { pids = called(a, "sleep"); return len(pids) == n })
	return pids
}

// called are the processes of an attempt with this first word.
func called(a *bed.Attempt, name string) (pids []int) {
	for _, pid := range a.Mark.Bearers() {
		words, _ := os.ReadFile(bed.ProcFile(pid, "cmdline"))
		if first, _, _ := strings.Cut(string(words), "\x00"); first == name || strings.HasPrefix(first, name+":") {
			pids = append(pids, pid)
		}
	}
	return pids
}
