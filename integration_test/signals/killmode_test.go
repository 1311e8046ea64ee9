package signals

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// KILL is for those who survived TERM.
func TestKillModeAfterRemoval(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options []string
		first   []string // who has the schedule from its beginning
		then    []string // who has it after PROGRAM's end
		left    []string
	}{
		{bed.InMode("process"), []string{"program"}, nil, bed.Relatives},
		{bed.InMode("mixed"), []string{"program"}, bed.Relatives, nil},
		{[]string{"-stop", bed.Shortly}, []string{"program"}, bed.Relatives, nil},
		{bed.InMode("group"), []string{"program", "same"}, nil, []string{"group", "session"}},
		{bed.InMode("tree"), []string{"program", "same", "group", "session"}, nil, nil},
	} {
		t.Run(strings.Join(test.options, " "), func(t *testing.T) {
			t.Parallel()
			f := bed.StartFamily(t, bed.How{}, test.options, "program", bed.Relatives...)
			bed.RemoveFile(t, f.File)
			f.Told(t, bed.Both(syscall.SIGTERM, test.first...)...)
			f.Told(t, bed.Both(syscall.SIGTERM, test.then...)...)
			f.ExpectSignal(t, syscall.SIGKILL)
			if slices.Contains(test.first, "same") {
				// Of one KILL for a group both die, and init has the other one.
				bed.Await(t, "the child in the group has ended", func() bool { return bed.Ended(f.Pids["same"]) })
				delete(f.Pids, "same")
			}
			f.Over(t, test.left...)
			f.ExpectOneLine(t, "p.pid: removed, stopping PID ")
		})
	}
}

// What becomes of its descendants changes nothing about PROGRAM's own end.
func TestKillModeKeepsExitCode(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mixed", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := bed.StartFamily(t, bed.How{}, bed.InMode(mode), "program:take", bed.Relatives...)
			bed.RemoveFile(t, f.File)
			f.ExpectCode(t, 7)
			var have []string
			for line := range strings.Lines(f.Rest(t)) {
				if line != "program 18\n" { // it may be over before
					have = append(have, strings.TrimSuffix(line, "\n"))
				}
			}
			want := append(bed.Both(syscall.SIGTERM, bed.Relatives...), "program 15")
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Errorf("the family wrote %q, want %q", have, want)
			}
			f.Over(t)
		})
	}
}

// The others end by TERM, long before KILL is due: pidleash waits for nothing.
func TestKillModeEndsWithTheLast(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mixed", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := bed.StartFamily(t, bed.How{}, []string{"-kill-mode", mode, "-stop", "TERM/1h/KILL"},
				"program:take", "same:take", "group:take", "session:take")
			bed.RemoveFile(t, f.File)
			f.ExpectCode(t, 7)
			text := f.Rest(t)
			for _, name := range append([]string{"program"}, bed.Relatives...) {
				if !strings.Contains(text, name+" 15\n") {
					t.Errorf("the family wrote %q, %s has had no TERM", text, name)
				}
			}
			f.Over(t)
		})
	}
}

func TestKillModeAfterOwnEnd(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := bed.StartFamily(t, bed.How{}, bed.InMode(mode), "program", bed.Relatives...)
			f.Tell(t, "exit 9")
			if mode == "tree" {
				f.Told(t, bed.Both(syscall.SIGTERM, bed.Relatives...)...)
				f.ExpectCode(t, 9)
				f.Over(t)
			} else {
				f.ExpectCode(t, 9)
				f.Over(t, bed.Relatives...)
			}
			f.ExpectQuiet(t)
		})
	}
}

// After a TERM from elsewhere the removal is PROGRAM's own, and so is its end.
func TestKillModeAfterForwardedTerm(t *testing.T) {
	t.Parallel()
	f := bed.StartFamily(t, bed.How{}, bed.InMode("mixed"), "program:take", bed.Relatives...)
	f.Signal(syscall.SIGTERM)
	f.Expect(t, "program 15")
	f.ExpectCode(t, 7)
	f.Over(t, bed.Relatives...)
}

// Without a PID file, too: the schedule of mode tree is for what PROGRAM leaves.
func TestKillModeTreeWithoutFile(t *testing.T) {
	t.Parallel()
	f := &bed.Family{Dir: t.TempDir()}
	f.Run = bed.Start(t, bed.How{}, append(bed.InMode("tree"), bed.CompileC(t, "family.c"), "program", "session")...)
	f.Meet(t, 2)
	f.Tell(t, "exit 9")
	f.Told(t, bed.Both(syscall.SIGTERM, "session")...)
	f.ExpectCode(t, 9)
	f.Over(t)
}

// Each of a chain is over before anybody has read its PID and thought about it. It
// wants a processor for itself.
func TestKillModeEndsForkers(t *testing.T) {
	for _, mode := range []string{"mixed", "tree"} {
		t.Run(mode, func(t *testing.T) {
			f := bed.StartFamily(t, bed.How{}, []string{"-kill-mode", mode, "-stop", "KILL"}, "program", "chain", "session")
			bed.RemoveFile(t, f.File)
			begin := time.Now()
			f.ExpectSignal(t, syscall.SIGKILL)
			f.Over(t)
			t.Logf("it took %v", time.Since(begin))
		})
	}
}

// leaveBehind is a command that becomes pidleash with a child that it had before.
func leaveBehind(t testing.TB) []string {
	t.Helper()
	return []string{"/bin/sh", "-c", `exec 3<&0; "$0" earlier <&3 3<&- & exec 3<&-; exec "$@"`, bed.CompileC(t, "family.c")}
}

// "background-job & exec pidleash ..." hands the job over as a child.
func TestKillModeSparesEarlierChildren(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := &bed.Family{Dir: t.TempDir()}
			f.File = filepath.Join(f.Dir, "p.pid")
			args := append(bed.InMode(mode, "-pidfile", f.File, "-settle", "0"), bed.CompileC(t, "family.c"), "program")
			members := 2 // with the earlier child
			if mode == "mixed" || mode == "tree" {
				args = append(args, "session")
				members++
			}
			f.Run = bed.Start(t, bed.How{Before: leaveBehind(t)}, args...)
			f.Meet(t, members)
			f.Signal(syscall.SIGUSR1)
			if mode == "tree" {
				f.Told(t, "program 10", "session 10")
			} else {
				f.Told(t, "program 10")
			}
			bed.RemoveFile(t, f.File)
			first, then := []string{"program"}, []string(nil)
			switch mode {
			case "mixed":
				then = []string{"session"}
			case "tree":
				first = []string{"program", "session"}
			}
			f.Told(t, bed.Both(syscall.SIGTERM, first...)...)
			f.Told(t, bed.Both(syscall.SIGTERM, then...)...)
			f.ExpectSignal(t, syscall.SIGKILL)
			f.Over(t, "earlier")
		})
	}
}

// An earlier child that ends meanwhile is waited for, and changes nothing.
func TestKillModeStrangerEnds(t *testing.T) {
	t.Parallel()
	f := &bed.Family{Dir: t.TempDir()}
	f.File = filepath.Join(f.Dir, "p.pid")
	args := append(bed.InMode("tree", "-pidfile", f.File, "-settle", "0"), bed.CompileC(t, "family.c"), "program", "session")
	f.Run = bed.Start(t, bed.How{Before: leaveBehind(t)}, args...)
	f.Meet(t, 3)
	if err := syscall.Kill(f.Pids["earlier"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	bed.Await(t, "the earlier child is reaped", func() bool { return bed.Gone(f.Pids["earlier"]) })
	f.Tell(t, "exit 9")
	f.Told(t, bed.Both(syscall.SIGTERM, "session")...)
	f.ExpectCode(t, 9)
	f.Over(t)
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
		{[]string{"-kill-mode", ""}, nil, `option -kill-mode "": no value`},
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
		bed.ExpectUsageError(t, test.env, test.options, test.line)
	}
	bed.ExpectEmptyDir(t, filepath.Dir(file))
}
