package bed

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Family is a pidleash whose PROGRAM and relatives tell every signal that they
// get (testdata/family.c).
type Family struct {
	*Run
	Dir  string // of the PID file, and nothing else
	File string
	Pids map[string]int
}

// StartFamily runs pidleash with options before a PROGRAM that calls itself name
// and has the others; all of them are in place when it returns.
func StartFamily(t testing.TB, h How, options []string, name string, others ...string) *Family {
	t.Helper()
	f := &Family{Dir: t.TempDir()}
	f.File = filepath.Join(f.Dir, "p.pid")
	args := append([]string{"-pidfile", f.File, "-settle", "0"}, options...)
	args = append(append(args, "--", CompileC(t, "family.c"), name), others...)
	f.Run = Start(t, h, args...)
	f.Meet(t, 1+len(others))
	return f
}

// Meet learns the PIDs of n relatives.
func (f *Family) Meet(t testing.TB, n int) {
	t.Helper()
	for range n {
		f.Know(t, f.Line(t))
	}
}

// Know takes a line with which a relative says that it is in place.
func (f *Family) Know(t testing.TB, line string) {
	t.Helper()
	var who string
	var pid int
	if _, err := fmt.Sscanf(line, "%s is %d", &who, &pid); err != nil {
		t.Fatalf("a relative wrote %q: %v\n%s", line, err, f.Stderr())
	}
	if f.Pids == nil {
		f.Pids = map[string]int{}
	}
	f.Pids[who] = pid
	KillAtEnd(t, pid)
}

// KillAtEnd kills one process that pidleash may rightly have left, unless
// another has got its PID.
func KillAtEnd(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // the first of a chain is soon over; the others watch their input
	}
	t.Cleanup(func() {
		unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0)
		unix.Close(fd)
	})
}

// Told takes as many lines as there are in want, in any order: they come from
// several processes, and of two signals the kernel may deliver the second first.
func (f *Family) Told(t testing.TB, want ...string) {
	t.Helper()
	var have []string
	defer func() {
		if len(have) < len(want) {
			t.Logf("the family wrote %q, want %q", have, want)
		}
	}()
	for range want {
		have = append(have, f.Line(t))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Fatalf("the family wrote %q, want %q\n%s", have, want, f.Stderr())
	}
}

// Both is what each of these tells of one step of a schedule: the signal, and the
// CONT that follows.
func Both(sig syscall.Signal, who ...string) (lines []string) {
	for _, name := range who {
		lines = append(lines, fmt.Sprintf("%s %d", name, int(sig)), fmt.Sprintf("%s %d", name, int(syscall.SIGCONT)))
	}
	return lines
}

// Untouched fails the test unless these live and have nothing to tell: each has
// the highest signal last.
func (f *Family) Untouched(t testing.TB, who ...string) {
	t.Helper()
	for _, name := range who {
		if err := syscall.Kill(f.Pids[name], 64); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, f.Stderr())
		}
		f.Expect(t, name+" 64")
	}
}

// Over fails the test unless pidleash ends with nothing left of its descendants,
// not even a zombie, and with its PID file gone.
func (f *Family) Over(t testing.TB, left ...string) {
	t.Helper()
	f.Wait(t)
	ExpectEmptyDir(t, f.Dir)
	for name, pid := range f.Pids {
		if !slices.Contains(left, name) && !Gone(pid) {
			t.Errorf("%s is left in state %q\n%s", name, ProcessState(pid), f.Stderr())
		}
	}
	if len(left) > 0 {
		f.Untouched(t, left...)
		f.Stdin.Close() // they end by that
	}
	// Nobody holds it open any more: also those whose PIDs nobody knows have gone.
	if text := f.Rest(t); text != "" {
		t.Errorf("the family wrote %q, want nothing", text)
	}
}

// Shortly ends with KILL, for those that survive TERM. Within the wait they have to
// tell what they got, on a busy machine too.
const Shortly = "TERM/1s/KILL"

// InMode are the options of a family in a kill mode.
func InMode(mode string, more ...string) []string {
	return append([]string{"-kill-mode", mode, "-stop", Shortly}, more...)
}

// Relatives are its members that are not PROGRAM.
var Relatives = []string{"same", "group", "session"}

// ExpectUsageError fails the test unless the options end in one line and 125.
func ExpectUsageError(t testing.TB, env, options []string, line string) {
	t.Helper()
	r := Start(t, How{Env: env}, append(options, "--", "sh", "-c", "echo PROGRAM runs")...)
	r.ExpectCode(t, 125)
	r.ExpectOneLine(t, "^pidleash: ")
	if text := r.Stderr(); !strings.Contains(text, line) || !strings.Contains(text, "; hint: ") {
		t.Errorf("%q %q: standard error has %q, want %q and a hint", env, options, text, line)
	}
	if text := r.Rest(t); text != "" {
		t.Errorf("%q: PROGRAM wrote %q", options, text)
	}
}
