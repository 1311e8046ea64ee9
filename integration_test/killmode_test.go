package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A family is a pidleash whose PROGRAM and relatives tell every signal that they
// get (testdata/family.c).
type family struct {
	*run
	dir  string // of the PID file, and nothing else
	file string
	pids map[string]int
}

// startFamily runs pidleash with options before a PROGRAM that calls itself name
// and has the others; all of them are in place when it returns.
func startFamily(t testing.TB, h how, options []string, name string, others ...string) *family {
	t.Helper()
	f := &family{dir: t.TempDir()}
	f.file = filepath.Join(f.dir, "p.pid")
	args := append([]string{"-pidfile", f.file, "-settle", "0"}, options...)
	args = append(append(args, "--", compileC(t, "family.c"), name), others...)
	f.run = start(t, h, args...)
	f.meet(t, 1+len(others))
	return f
}

// meet learns the PIDs of n relatives.
func (f *family) meet(t testing.TB, n int) {
	t.Helper()
	for range n {
		f.know(t, f.line(t))
	}
}

// know takes a line with which a relative says that it is in place.
func (f *family) know(t testing.TB, line string) {
	t.Helper()
	var who string
	var pid int
	if _, err := fmt.Sscanf(line, "%s is %d", &who, &pid); err != nil {
		t.Fatalf("a relative wrote %q: %v\n%s", line, err, f.stderr())
	}
	if f.pids == nil {
		f.pids = map[string]int{}
	}
	f.pids[who] = pid
	killAtEnd(t, pid)
}

// killAtEnd kills one process that pidleash may rightly have left, unless
// another has got its PID.
func killAtEnd(t testing.TB, pid int) {
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

// told takes as many lines as there are in want, in any order: they come from
// several processes, and of two signals the kernel may deliver the second first.
func (f *family) told(t testing.TB, want ...string) {
	t.Helper()
	var have []string
	defer func() {
		if len(have) < len(want) {
			t.Logf("the family wrote %q, want %q", have, want)
		}
	}()
	for range want {
		have = append(have, f.line(t))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Fatalf("the family wrote %q, want %q\n%s", have, want, f.stderr())
	}
}

// both is what each of these tells of one step of a schedule: the signal, and the
// CONT that follows.
func both(sig syscall.Signal, who ...string) (lines []string) {
	for _, name := range who {
		lines = append(lines, fmt.Sprintf("%s %d", name, int(sig)), fmt.Sprintf("%s %d", name, int(syscall.SIGCONT)))
	}
	return lines
}

// untouched fails the test unless these live and have nothing to tell: each has
// the highest signal last.
func (f *family) untouched(t testing.TB, who ...string) {
	t.Helper()
	for _, name := range who {
		if err := syscall.Kill(f.pids[name], 64); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, f.stderr())
		}
		f.expect(t, name+" 64")
	}
}

// over fails the test unless pidleash ends with nothing left of its descendants,
// not even a zombie, and with its PID file gone.
func (f *family) over(t testing.TB, left ...string) {
	t.Helper()
	f.wait(t)
	expectEmptyDir(t, f.dir)
	for name, pid := range f.pids {
		if !slices.Contains(left, name) && !gone(pid) {
			t.Errorf("%s is left in state %q\n%s", name, processState(pid), f.stderr())
		}
	}
	if len(left) > 0 {
		f.untouched(t, left...)
		f.stdin.Close() // they end by that
	}
	// Nobody holds it open any more: also those whose PIDs nobody knows have gone.
	if text := f.rest(t); text != "" {
		t.Errorf("the family wrote %q, want nothing", text)
	}
}

// shortly ends with KILL, for those that survive TERM. Within the wait they have to
// tell what they got, on a busy machine too.
const shortly = "TERM/1s/KILL"

func inMode(mode string, more ...string) []string {
	return append([]string{"-kill-mode", mode, "-stop", shortly}, more...)
}

var relatives = []string{"same", "group", "session"}

// KILL is for those who survived TERM.
func TestKillModeAfterRemoval(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options []string
		first   []string // who has the schedule from its beginning
		then    []string // who has it after PROGRAM's end
		left    []string
	}{
		{inMode("process"), []string{"program"}, nil, relatives},
		{inMode("mixed"), []string{"program"}, relatives, nil},
		{[]string{"-stop", shortly}, []string{"program"}, relatives, nil},
		{inMode("group"), []string{"program", "same"}, nil, []string{"group", "session"}},
		{inMode("tree"), []string{"program", "same", "group", "session"}, nil, nil},
	} {
		t.Run(strings.Join(test.options, " "), func(t *testing.T) {
			t.Parallel()
			f := startFamily(t, how{}, test.options, "program", relatives...)
			removeFile(t, f.file)
			f.told(t, both(syscall.SIGTERM, test.first...)...)
			f.told(t, both(syscall.SIGTERM, test.then...)...)
			f.expectSignal(t, syscall.SIGKILL)
			if slices.Contains(test.first, "same") {
				// Of one KILL for a group both die, and init has the other one.
				await(t, "the child in the group has ended", func() bool { return ended(f.pids["same"]) })
				delete(f.pids, "same")
			}
			f.over(t, test.left...)
			f.expectOneLine(t, "p.pid: removed, stopping PID ")
		})
	}
}

// ended reports that a process has ended, whether or not it was waited for.
func ended(pid int) bool { return gone(pid) || processState(pid) == "Z" }

// What becomes of its descendants changes nothing about PROGRAM's own end.
func TestKillModeKeepsExitCode(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mixed", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := startFamily(t, how{}, inMode(mode), "program:take", relatives...)
			removeFile(t, f.file)
			f.expectCode(t, 7)
			var have []string
			for line := range strings.Lines(f.rest(t)) {
				if line != "program 18\n" { // it may be over before
					have = append(have, strings.TrimSuffix(line, "\n"))
				}
			}
			want := append(both(syscall.SIGTERM, relatives...), "program 15")
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Errorf("the family wrote %q, want %q", have, want)
			}
			f.over(t)
		})
	}
}

// The others end by TERM, long before KILL is due: pidleash waits for nothing.
func TestKillModeEndsWithTheLast(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mixed", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := startFamily(t, how{}, []string{"-kill-mode", mode, "-stop", "TERM/1h/KILL"},
				"program:take", "same:take", "group:take", "session:take")
			removeFile(t, f.file)
			f.expectCode(t, 7)
			text := f.rest(t)
			for _, name := range append([]string{"program"}, relatives...) {
				if !strings.Contains(text, name+" 15\n") {
					t.Errorf("the family wrote %q, %s has had no TERM", text, name)
				}
			}
			f.over(t)
		})
	}
}

func TestKillModeAfterOwnEnd(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := startFamily(t, how{}, inMode(mode), "program", relatives...)
			f.tell(t, "exit 9")
			if mode == "tree" {
				f.told(t, both(syscall.SIGTERM, relatives...)...)
				f.expectCode(t, 9)
				f.over(t)
			} else {
				f.expectCode(t, 9)
				f.over(t, relatives...)
			}
			f.expectQuiet(t)
		})
	}
}

// After a TERM from elsewhere the removal is PROGRAM's own, and so is its end.
func TestKillModeAfterForwardedTerm(t *testing.T) {
	t.Parallel()
	f := startFamily(t, how{}, inMode("mixed"), "program:take", relatives...)
	f.signal(syscall.SIGTERM)
	f.expect(t, "program 15")
	f.expectCode(t, 7)
	f.over(t, relatives...)
}

// Without a PID file, too: the schedule of mode tree is for what PROGRAM leaves.
func TestKillModeTreeWithoutFile(t *testing.T) {
	t.Parallel()
	f := &family{dir: t.TempDir()}
	f.run = start(t, how{}, append(inMode("tree"), compileC(t, "family.c"), "program", "session")...)
	f.meet(t, 2)
	f.tell(t, "exit 9")
	f.told(t, both(syscall.SIGTERM, "session")...)
	f.expectCode(t, 9)
	f.over(t)
}

// Each of a chain is over before anybody has read its PID and thought about it. It
// wants a processor for itself.
func TestKillModeEndsForkers(t *testing.T) {
	for _, mode := range []string{"mixed", "tree"} {
		t.Run(mode, func(t *testing.T) {
			f := startFamily(t, how{}, []string{"-kill-mode", mode, "-stop", "KILL"}, "program", "chain", "session")
			removeFile(t, f.file)
			begin := time.Now()
			f.expectSignal(t, syscall.SIGKILL)
			f.over(t)
			t.Logf("it took %v", time.Since(begin))
		})
	}
}

// leaveBehind is a command that becomes pidleash with a child that it had before.
func leaveBehind(t testing.TB) []string {
	t.Helper()
	return []string{"/bin/sh", "-c", `exec 3<&0; "$0" stranger <&3 3<&- & exec 3<&-; exec "$@"`, compileC(t, "family.c")}
}

// "background-job & exec pidleash ..." hands the job over as a child.
func TestKillModeSparesStrangers(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := &family{dir: t.TempDir()}
			f.file = filepath.Join(f.dir, "p.pid")
			args := append(inMode(mode, "-pidfile", f.file, "-settle", "0"), compileC(t, "family.c"), "program")
			members := 2 // with the stranger
			if mode == "mixed" || mode == "tree" {
				args = append(args, "session")
				members++
			}
			f.run = start(t, how{before: leaveBehind(t)}, args...)
			f.meet(t, members)
			f.signal(syscall.SIGUSR1)
			if mode == "tree" {
				f.told(t, "program 10", "session 10")
			} else {
				f.told(t, "program 10")
			}
			removeFile(t, f.file)
			first, then := []string{"program"}, []string(nil)
			switch mode {
			case "mixed":
				then = []string{"session"}
			case "tree":
				first = []string{"program", "session"}
			}
			f.told(t, both(syscall.SIGTERM, first...)...)
			f.told(t, both(syscall.SIGTERM, then...)...)
			f.expectSignal(t, syscall.SIGKILL)
			f.over(t, "stranger")
		})
	}
}

// A stranger that ends meanwhile is waited for, and changes nothing.
func TestKillModeStrangerEnds(t *testing.T) {
	t.Parallel()
	f := &family{dir: t.TempDir()}
	f.file = filepath.Join(f.dir, "p.pid")
	args := append(inMode("tree", "-pidfile", f.file, "-settle", "0"), compileC(t, "family.c"), "program", "session")
	f.run = start(t, how{before: leaveBehind(t)}, args...)
	f.meet(t, 3)
	if err := syscall.Kill(f.pids["stranger"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the stranger is reaped", func() bool { return gone(f.pids["stranger"]) })
	f.tell(t, "exit 9")
	f.told(t, both(syscall.SIGTERM, "session")...)
	f.expectCode(t, 9)
	f.over(t)
}

// What cannot mean anything is refused before PROGRAM is started.
func TestKillModeRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	for _, test := range []struct {
		options []string
		env     []string
		line    string
	}{
		{[]string{"-kill-mode", "all"}, nil, `option -kill-mode "all": no such mode`},
		{[]string{"-kill-mode", ""}, nil, `option -kill-mode "": no such mode`},
		{nil, []string{"PIDLEASH_KILL_MODE=Tree"}, `variable PIDLEASH_KILL_MODE "Tree": no such mode`},
		{[]string{"-pidfile", file, "-same-group", "-kill-mode", "group"}, nil, "-kill-mode group and -same-group"},
		{[]string{"-same-group", "-kill-mode=group"}, nil, "-kill-mode group and -same-group"},
		{[]string{"-same-group"}, []string{"PIDLEASH_KILL_MODE=group"}, "-kill-mode group and -same-group"},
		{[]string{"-stop-command", "true"}, nil, "option -stop-command is about the removal of the PID file"},
		{[]string{"-settle", "1s"}, nil, "option -settle is about the removal of the PID file"},
		{[]string{"-removed-exit", "0"}, nil, "option -removed-exit is about the removal of the PID file"},
		{[]string{"-stop", "TERM"}, nil, "option -stop is about the removal of the PID file"},
		{[]string{"-stop-command", "true", "-kill-mode", "tree"}, nil, "option -stop-command is about the removal of the PID file"},
	} {
		expectUsageError(t, test.env, test.options, test.line)
	}
	expectEmptyDir(t, filepath.Dir(file))
}

// expectUsageError fails the test unless the options end in one line and 125.
func expectUsageError(t testing.TB, env, options []string, line string) {
	t.Helper()
	r := start(t, how{env: env}, append(options, "--", "sh", "-c", "echo PROGRAM runs")...)
	r.expectCode(t, 125)
	r.expectOneLine(t, "^pidleash: ")
	if text := r.stderr(); !strings.Contains(text, line) || !strings.Contains(text, "; hint: ") {
		t.Errorf("%q %q: standard error has %q, want %q and a hint", env, options, text, line)
	}
	if text := r.rest(t); text != "" {
		t.Errorf("%q: PROGRAM wrote %q", options, text)
	}
}
