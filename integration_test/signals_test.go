package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A teller is a pidleash whose PROGRAM tells every signal that it gets
// (testdata/signals.c), from the moment in which it has said that it is ready.
type teller struct {
	*run
	program int // its PID
	parent  int
	group   int
}

// startTeller runs pidleash with options before a PROGRAM that ends with 7 after
// count signals.
func startTeller(t testing.TB, h how, count int, options ...string) *teller {
	t.Helper()
	args := append(options, "--", compileC(t, "signals.c"), strconv.Itoa(count))
	p := &teller{run: start(t, h, args...)}
	p.ready(t)
	return p
}

// forEver is more signals than any test sends.
const forEver = 1 << 30

func (p *teller) ready(t testing.TB) {
	t.Helper()
	line := p.line(t)
	if _, err := fmt.Sscanf(line, "ready %d %d %d", &p.program, &p.parent, &p.group); err != nil {
		t.Fatalf("PROGRAM wrote %q: %v\n%s", line, err, p.stderr())
	}
}

func (p *teller) got(t testing.TB, sig syscall.Signal) {
	t.Helper()
	p.expect(t, fmt.Sprintf("got %d", int(sig)))
}

// roundTrips shows that nothing but what was sent arrives, while whatever
// pidleash may be up to has the time of some hundred system calls.
func (p *teller) roundTrips(t testing.TB) {
	t.Helper()
	for range 50 {
		p.signal(syscall.SIGUSR1)
		p.got(t, syscall.SIGUSR1)
	}
}

// finish ends PROGRAM, which then exits with 8 and has told nothing more.
func (p *teller) finish(t testing.TB) {
	t.Helper()
	p.stdin.Close()
	if text := p.rest(t); text != "" {
		t.Errorf("PROGRAM wrote %q at its end, want nothing", text)
	}
	p.expectCode(t, 8)
}

// neverForwarded are those that nobody can catch, those about pidleash's own
// children and pipes, and those of the Go runtime.
var neverForwarded = []syscall.Signal{
	syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGPIPE,
	syscall.SIGURG, syscall.SIGPROF, 32, 33, 34,
}

func forwardedSignals() (all []syscall.Signal) {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if !slices.Contains(neverForwarded, sig) {
			all = append(all, sig)
		}
	}
	return all
}

func TestSignalsForwarded(t *testing.T) {
	t.Parallel()
	testEverySignal(t, how{})
}

// The kernel keeps from PID 1 what it has no handler for.
func TestSignalsForwardedByPID1(t *testing.T) {
	t.Parallel()
	needRoot(t)
	testEverySignal(t, asPID1())
}

// asPID1 makes pidleash the first process of a PID namespace.
func asPID1() how { return how{attr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}} }

func testEverySignal(t *testing.T, h how) {
	all := forwardedSignals()
	// More than once: which of its threads has a signal is a matter of chance.
	const rounds = 30
	p := startTeller(t, h, rounds*len(all))
	for range rounds {
		for _, sig := range all {
			p.signal(sig)
			p.got(t, sig)
		}
	}
	p.expectCode(t, 7)
	p.expectQuiet(t)
}

func TestSignalsNotForwarded(t *testing.T) {
	t.Parallel()
	p := startTeller(t, how{}, forEver)
	for range 30 {
		for _, sig := range neverForwarded {
			if sig == syscall.SIGKILL || sig == syscall.SIGSTOP {
				continue
			}
			p.signal(sig)
			// By the second one the first has long been dealt with.
			for _, next := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
				p.signal(next)
				p.got(t, next)
			}
		}
	}
	p.finish(t)
}

// Nothing is lost between the moment in which the process exists and the one in
// which PROGRAM runs: either pidleash dies by the signal, as any program would,
// or PROGRAM gets it. Nothing is left behind in either case.
func TestSignalsEarly(t *testing.T) {
	t.Parallel()
	program := compileC(t, "signals.c")
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1, 40} {
		t.Run(strconv.Itoa(int(sig)), func(t *testing.T) {
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
	r := start(t, how{}, "-pidfile", filepath.Join(dir, "p.pid"), program, "1")
	defer r.end()
	time.Sleep(delay)
	r.signal(sig)
	status := r.wait(t)
	expectEmptyDir(t, dir)
	if status.Exited() && status.ExitStatus() == 7 {
		return true
	}
	if !status.Signaled() || status.Signal() != sig {
		t.Fatalf("after %v: pidleash ended by %s\n%s", delay, describe(status), r.stderr())
	}
	return false
}

// What is blocked cannot end pidleash before it is ready: PROGRAM gets it, also
// when it was sent before pidleash was there.
func TestSignalsBlockedAtStart(t *testing.T) {
	t.Parallel()
	h := how{before: []string{compileC(t, "as.c"), "block=10", "block=15", "block=40", "say"}}
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, 40} {
		for i := range 20 {
			r := start(t, h, compileC(t, "signals.c"), "1")
			r.expect(t, "in place")
			time.Sleep(time.Duration(i) * 200 * time.Microsecond)
			r.signal(sig)
			r.expectCode(t, 7)
		}
	}
	// The Go runtime unblocks this one: until PROGRAM runs it may end pidleash.
	r := start(t, h, compileC(t, "signals.c"), "1")
	r.expect(t, "in place")
	r.line(t)
	r.signal(syscall.SIGTERM)
	r.expectCode(t, 7)
}

// nohup(1), and a shell's background jobs.
func TestSignalsIgnoredAtStart(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
	} {
		h := how{before: []string{compileC(t, "as.c"), fmt.Sprintf("ignore=%d", int(sig))}}
		p := startTeller(t, h, forEver)
		p.signal(sig)
		p.signal(syscall.SIGUSR1)
		p.got(t, syscall.SIGUSR1)
		p.signal(syscall.SIGUSR2)
		p.got(t, syscall.SIGUSR2)
		p.finish(t)
	}
}

// PROGRAM starts with what it would have had without pidleash.
func TestSignalDispositions(t *testing.T) {
	t.Parallel()
	probe := compileC(t, "signals.c")
	for _, state := range [][]string{
		nil,
		{"ignore=1", "ignore=2"},
		{"ignore=20", "ignore=21", "ignore=22"},
		{"ignore=3", "ignore=10", "ignore=13", "ignore=15", "ignore=17", "ignore=34", "ignore=64"},
		{"block=10", "block=12", "block=15", "block=64"},
		{"block=1", "block=6", "block=11", "block=13", "block=17", "block=23", "block=27", "block=34"},
	} {
		before := append([]string{compileC(t, "as.c")}, state...)
		want, err := exec.Command(before[0], append(before[1:], probe, "begin")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		r := start(t, how{before: before}, probe, "begin")
		if have := r.rest(t); have != string(want) {
			t.Errorf("%q: behind pidleash PROGRAM has %q, else %q", state, have, want)
		}
		r.expectCode(t, 0)
	}
}

// A forwarded TERM is its sender's affair: it arrives as often as it is sent,
// and pidleash adds nothing to it.
func TestForwardedTermStartsNoSchedule(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := startTeller(t, how{}, forEver, "-pidfile", file, "-stop", "TERM/0/KILL")
	for range 2 {
		p.signal(syscall.SIGTERM)
		p.got(t, syscall.SIGTERM)
		p.roundTrips(t)
	}
	p.finish(t)
	p.expectQuiet(t)
}

// After a TERM the removal is most likely PROGRAM's own.
func TestRemovalAfterTermStartsNoSchedule(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := startTeller(t, how{}, forEver, "-pidfile", file, "-settle", "0", "-stop", "KILL")
	p.signal(syscall.SIGTERM)
	p.got(t, syscall.SIGTERM)
	removeFile(t, file)
	p.roundTrips(t) // the KILL would have come at once
	p.finish(t)
}

func removeFile(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// Every form in which an item of a schedule can be written. The waits keep the
// pairs apart; within a pair the kernel may deliver CONT first.
func TestStopSchedule(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := startTeller(t, how{}, forEver, "-pidfile", file, "-settle", "0",
		"-stop", "HUP/1/-10/500ms/RTMIN+3/0.5/SIGALRM/500ms/sigusr2/forever")
	removeFile(t, file)
	for _, sig := range []syscall.Signal{1, 10, 37, 14, 12} {
		p.gotWithCont(t, sig)
	}
	p.roundTrips(t)
	p.finish(t)
	p.expectOneLine(t, "p.pid: removed, stopping PID "+strconv.Itoa(p.program))
}

// gotWithCont takes what a schedule sends: a signal and CONT.
func (p *teller) gotWithCont(t testing.TB, sig syscall.Signal) {
	t.Helper()
	pair := []string{p.line(t), p.line(t)}
	for _, want := range []syscall.Signal{sig, syscall.SIGCONT} {
		if !slices.Contains(pair, fmt.Sprintf("got %d", int(want))) {
			t.Fatalf("PROGRAM wrote %q, want signals %d and 18", pair, int(sig))
		}
	}
}

func TestStopScheduleKillsOnTime(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := startTeller(t, how{}, forEver, "-pidfile", file, "-settle", "0", "-stop", "TERM/300ms/KILL")
	removed := time.Now()
	removeFile(t, file)
	p.gotWithCont(t, syscall.SIGTERM)
	p.expectSignal(t, syscall.SIGKILL)
	// The upper bound is generous: it is to tell 300 ms from 10 s.
	if after := time.Since(removed); after < 300*time.Millisecond || after > 8*time.Second {
		t.Errorf("KILL came %v after the removal, want 300 ms", after)
	}
}

// A schedule that ends with a wait never kills.
func TestStopScheduleEndsWithoutKill(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := startTeller(t, how{}, forEver, "-pidfile", file, "-settle", "0", "-stop", "TERM/0")
	removeFile(t, file)
	p.gotWithCont(t, syscall.SIGTERM)
	p.roundTrips(t)
	p.finish(t)
}

// A stopped process does not die from TERM before it goes on.
func TestStopEndsStoppedProgram(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	r := start(t, how{}, "-pidfile", file, "-stop", "TERM/forever", "sh", "-c", "echo $$; read line")
	program := r.number(t)
	if err := syscall.Kill(program, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, "PROGRAM is stopped", func() bool { return processState(program) == "T" })
	removeFile(t, file)
	r.expectSignal(t, syscall.SIGTERM)
}

// processState is the letter of proc_pid_stat(5), or nothing.
func processState(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if i := strings.LastIndex(string(text), ") "); i >= 0 {
		return string(text[i+2 : i+3])
	}
	return ""
}

// PROGRAM may unlink and write its own file anew: then that one counts.
func TestSettle(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := startTeller(t, how{}, forEver, "-pidfile", file, "-settle", "3s", "-stop", "TERM")
	removeFile(t, file)
	p.roundTrips(t) // without a -settle it would be stopped by now
	writeFile(t, file, strconv.Itoa(p.program)+"\n", 0o644)
	await(t, "pidleash has locked the new file", func() bool { return lockHeld(t, file) })
	p.roundTrips(t)
	p.expectQuiet(t)
	removeFile(t, file)
	p.gotWithCont(t, syscall.SIGTERM)
	p.finish(t)
}

// lockHeld reads /proc/locks: to try the lock would be to hold it for a moment.
func lockHeld(t testing.TB, path string) bool {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return false
		}
		t.Fatal(err)
	}
	for line := range strings.Lines(readFile(t, "/proc/locks")) {
		f := strings.Fields(line)
		if len(f) > 5 && f[1] == "FLOCK" && strings.HasSuffix(f[5], fmt.Sprintf(":%d", st.Ino)) {
			return true
		}
	}
	return false
}

// Nothing is waited for: an hour would be noticed.
func TestSettleZero(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "p.pid")
	p := startTeller(t, how{env: []string{"PIDLEASH_SETTLE=1h"}}, forEver, "-pidfile", file, "-settle", "0", "-stop", "TERM")
	removeFile(t, file)
	p.gotWithCont(t, syscall.SIGTERM)
	p.finish(t)
	expectEmptyDir(t, dir)
}
