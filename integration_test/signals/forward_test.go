package signals

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

func TestSignalsForwarded(t *testing.T) {
	t.Parallel()
	testEverySignal(t, bed.How{})
}

// The kernel keeps from PID 1 what it has no handler for.
func TestSignalsForwardedByPID1(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	testEverySignal(t, bed.AsPID1())
}

func testEverySignal(t *testing.T, h bed.How) {
	all := bed.ForwardedSignals()
	// More than once: which of its threads has a signal is a matter of chance.
	const rounds = 30
	p := bed.StartTeller(t, h, rounds*len(all))
	for range rounds {
		for _, sig := range all {
			p.Signal(sig)
			p.Got(t, sig)
		}
	}
	p.ExpectCode(t, 7)
	p.ExpectQuiet(t)
}

func TestSignalsNotForwarded(t *testing.T) {
	t.Parallel()
	p := bed.StartTeller(t, bed.How{}, bed.ForEver)
	for range 30 {
		for _, sig := range bed.NeverForwarded {
			if sig == syscall.SIGKILL || sig == syscall.SIGSTOP {
				continue
			}
			p.Signal(sig)
			// By the second one the first has long been dealt with.
			for _, next := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
				p.Signal(next)
				p.Got(t, next)
			}
		}
	}
	p.Finish(t)
}

// Nothing is lost between the moment in which the process exists and the one in
// which PROGRAM runs: either pidleash dies by the signal, as any program would,
// or PROGRAM gets it. Nothing is left behind in either case.
func TestSignalsEarly(t *testing.T) {
	t.Parallel()
	program := bed.CompileC(t, "signals.c")
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, 40} {
		t.Run(strconv.Itoa(int(sig)), func(t *testing.T) {
			bed.NeedEntry(t)
			t.Parallel()
			delivered := 0
			for i := range 300 {
				// Through the whole start and beyond; the sleep adds its own variation.
				delay := time.Duration(i) * 25 * time.Microsecond
				if signalAfter(t, program, sig, delay) {
					delivered++
				}
			}
			t.Logf("PROGRAM got %d of 300", delivered)
		})
	}
}

// signalAfter starts pidleash, sends the signal after the delay and reports
// whether PROGRAM got it.
func signalAfter(t *testing.T, program string, sig syscall.Signal, delay time.Duration) bool {
	t.Helper()
	dir := t.TempDir()
	r := bed.Start(t, bed.How{}, "-pidfile", filepath.Join(dir, "p.pid"), program, "1")
	defer r.End()
	time.Sleep(delay)
	r.Signal(sig)
	status := r.Wait(t)
	bed.ExpectEmptyDir(t, dir)
	if status.Exited() && status.ExitStatus() == 7 {
		return true
	}
	if !status.Signaled() || status.Signal() != sig {
		t.Fatalf("after %v: pidleash ended by %s\n%s", delay, bed.Describe(status), r.Stderr())
	}
	return false
}

// What is blocked cannot end pidleash before it is ready: PROGRAM gets it, also
// when it was sent before pidleash was there.
func TestSignalsBlockedAtStart(t *testing.T) {
	t.Parallel()
	h := bed.How{Before: []string{bed.CompileC(t, "as.c"), "block=10", "block=15", "block=40", "say"}}
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, 40} {
		for i := range 20 {
			r := bed.Start(t, h, bed.CompileC(t, "signals.c"), "1")
			r.Expect(t, "in place")
			time.Sleep(time.Duration(i) * 200 * time.Microsecond)
			r.Signal(sig)
			r.ExpectCode(t, 7)
		}
	}
	// Without the entry code Go unblocks this one: until PROGRAM runs it may end pidleash.
	r := bed.Start(t, h, bed.CompileC(t, "signals.c"), "1")
	r.Expect(t, "in place")
	r.Line(t)
	r.Signal(syscall.SIGTERM)
	r.ExpectCode(t, 7)
}

// nohup(1), and a shell's background jobs.
func TestSignalsIgnoredAtStart(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
	} {
		h := bed.How{Before: []string{bed.CompileC(t, "as.c"), fmt.Sprintf("ignore=%d", int(sig))}}
		p := bed.StartTeller(t, h, bed.ForEver)
		p.Signal(sig)
		p.Signal(syscall.SIGUSR1)
		p.Got(t, syscall.SIGUSR1)
		p.Signal(syscall.SIGUSR2)
		p.Got(t, syscall.SIGUSR2)
		p.Finish(t)
	}
}

// PROGRAM starts with what it would have had without pidleash.
func TestSignalDispositions(t *testing.T) {
	t.Parallel()
	probe := bed.CompileC(t, "signals.c")
	for _, state := range [][]string{
		nil,
		{"ignore=1", "ignore=2"},
		{"ignore=20", "ignore=21", "ignore=22"},
		{"ignore=3", "ignore=10", "ignore=13", "ignore=15", "ignore=17", "ignore=34", "ignore=64"},
		{"block=10", "block=12", "block=15", "block=64"},
		{"block=1", "block=6", "block=11", "block=13", "block=17", "block=23", "block=27", "block=34"},
	} {
		t.Run(strings.Join(state, ","), func(t *testing.T) {
			bed.NeedEntry(t)
			before := append([]string{bed.CompileC(t, "as.c")}, state...)
			want, err := exec.Command(before[0], append(before[1:], probe, "begin")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			r := bed.Start(t, bed.How{Before: before}, probe, "begin")
			if have := r.Rest(t); have != string(want) {
				t.Errorf("behind pidleash PROGRAM has %q, else %q", have, want)
			}
			r.ExpectCode(t, 0)
		})
	}
}
