package signals

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// The schedule starts when the command has ended, not before.
func TestStopCommandThenSchedule(t *testing.T) {
	t.Parallel()
	gate := bed.NewFIFO(t)
	c := bed.StartCommanded(t, bed.How{}, bed.NeverKill, "echo command begins; read line <"+gate+"; echo command ends")
	bed.RemoveFile(t, c.File)
	c.Expect(t, "command begins")
	c.RoundTrips(t)
	bed.OpenGate(t, gate)
	c.Expect(t, "command ends")
	c.GotWithCont(t, syscall.SIGTERM)
	c.RoundTrips(t)
	c.Over(t)
	c.ExpectOneLine(t, "removed, stopping PID ")
}

// What PROGRAM has, and MAINPID.
func TestStopCommandSurroundings(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	for _, h := range []bed.How{
		{Dir: dir, OnlyIn: []string{"PATH=" + os.Getenv("PATH"), "A=b c", "PIDLEASH_LOG_LEVEL=warn", "PIDLEASH_OTHER=kept"}},
		// Of an outer pidleash, say.
		{Dir: dir, OnlyIn: []string{"PATH=" + os.Getenv("PATH"), "MAINPID=1"}},
	} {
		c := bed.StartCommanded(t, h, bed.NeverKill, `echo command in $(pwd -P) of $MAINPID
			echo "A=$A level=$PIDLEASH_LOG_LEVEL other=$PIDLEASH_OTHER file=$PIDFILE"
			tr '\0' '\n' </proc/$MAINPID/environ | grep -v ^MAINPID= | sort | tr '\n' '!'; echo
			tr '\0' '\n' </proc/$$/environ | grep -v ^MAINPID= | sort | tr '\n' '!'; echo
			tr '\0' '\n' </proc/$$/environ | grep ^MAINPID=
			tr '\0' '\n' </proc/$$/cmdline | head -2 | tr '\n' ' '; echo`)
		bed.RemoveFile(t, c.File)
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.Expect(t, fmt.Sprintf("command in %s of %d", real, c.Program))
		a, other := "", ""
		if slices.Contains(h.OnlyIn, "A=b c") {
			a, other = "b c", "kept"
		}
		c.Expect(t, fmt.Sprintf("A=%s level= other=%s file=", a, other))
		if program, command := c.Line(t), c.Line(t); program != command {
			t.Errorf("the command's environment is %q, PROGRAM's %q", command, program)
		}
		c.Expect(t, fmt.Sprintf("MAINPID=%d", c.Program))
		c.Expect(t, "/bin/sh -c ")
		c.GotWithCont(t, syscall.SIGTERM)
		c.Over(t)
	}
}

// It is as free of pidleash's own dispositions as PROGRAM is.
func TestStopCommandSignals(t *testing.T) {
	t.Parallel()
	c := bed.StartCommanded(t, bed.How{}, bed.NeverKill, "exec "+bed.CompileC(t, "signals.c")+" begin")
	bed.RemoveFile(t, c.File)
	c.Expect(t, "blocked")
	c.Expect(t, "ignored")
	c.GotWithCont(t, syscall.SIGTERM)
	c.Over(t)
}

// The command is what stops PROGRAM here.
func TestStopCommandStops(t *testing.T) {
	t.Parallel()
	f := bed.StartFamily(t, bed.How{}, []string{"-stop", bed.NeverKill, "-stop-command", "kill -TERM $MAINPID"}, "program:take")
	bed.RemoveFile(t, f.File)
	f.Expect(t, "program 15")
	f.ExpectCode(t, 7)
	f.Over(t)
}

// A limit is needed: the command waits for what never comes. Those that it has
// started end with it.
func TestStopCommandLimit(t *testing.T) {
	t.Parallel()
	for _, stop := range []string{"TERM/300ms/KILL", "300ms/TERM/1h/KILL"} {
		t.Run(stop, func(t *testing.T) {
			t.Parallel()
			command := fmt.Sprintf("exec 3<>%s; %s command same <&3 & wait", bed.NewFIFO(t), bed.CompileC(t, "family.c"))
			f := bed.StartFamily(t, bed.How{}, []string{"-stop", stop, "-stop-command", command}, "program:take")
			removed := time.Now()
			bed.RemoveFile(t, f.File)
			f.Meet(t, 2)
			f.AwaitStderr(t, "stop command: killed, ")
			// It ran after the removal; the upper bound is to tell 300 ms from an hour.
			if after := time.Since(removed); after < 300*time.Millisecond || after > 20*time.Second {
				t.Errorf("the command was killed %v after the removal, want 300 ms", after)
			}
			f.Expect(t, "program 15")
			f.ExpectCode(t, 7)
			f.Over(t)
		})
	}
}

// Also of the command's children those that have left its group. Whose parent has
// ended before is among PROGRAM's descendants, and in mode mixed has the schedule
// with them.
func TestStopCommandLimitReachesGroups(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			gate := bed.NewFIFO(t)
			who := "group"
			if mode == "mixed" {
				who = "group session"
			}
			command := fmt.Sprintf("exec 3<>%s; %s command %s <&3 & wait", gate, bed.CompileC(t, "family.c"), who)
			f := bed.StartFamily(t, bed.How{}, []string{"-kill-mode", mode, "-stop", bed.Shortly, "-stop-command", command}, "program")
			bed.RemoveFile(t, f.File)
			if mode == "mixed" {
				f.Meet(t, 3)
				f.Told(t, bed.Both(syscall.SIGTERM, "program")...)
				f.Told(t, bed.Both(syscall.SIGTERM, "session")...)
			} else {
				f.Meet(t, 2)
				f.Told(t, bed.Both(syscall.SIGTERM, "program")...)
			}
			// While PROGRAM still lives pidleash reaps them.
			f.ExpectSignal(t, syscall.SIGKILL)
			f.Over(t)
		})
	}
}

// A schedule without a wait sets no limit.
func TestStopCommandWithoutLimit(t *testing.T) {
	t.Parallel()
	gate := bed.NewFIFO(t)
	c := bed.StartCommanded(t, bed.How{}, "TERM", "echo command begins; read line <"+gate+"; echo command ends")
	bed.RemoveFile(t, c.File)
	c.Expect(t, "command begins")
	c.RoundTrips(t)
	bed.OpenGate(t, gate)
	c.Expect(t, "command ends")
	c.GotWithCont(t, syscall.SIGTERM)
	c.Over(t)
}

// A TERM from elsewhere is its sender's way to stop PROGRAM.
func TestStopCommandOnlyForOwnStops(t *testing.T) {
	t.Parallel()
	c := bed.StartCommanded(t, bed.How{}, bed.NeverKill, "echo command")
	c.Signal(syscall.SIGTERM)
	c.Got(t, syscall.SIGTERM)
	c.RoundTrips(t)
	bed.RemoveFile(t, c.File) // PROGRAM's own now
	c.RoundTrips(t)
	c.Over(t)
	c.ExpectQuiet(t)

	f := bed.StartFamily(t, bed.How{}, []string{"-stop", bed.NeverKill, "-stop-command", "echo command"}, "program")
	f.Tell(t, "exit 9")
	f.ExpectCode(t, 9)
	f.Over(t)
}

// The command changes nothing about what is forwarded, and it is no part of
// PROGRAM.
func TestStopCommandWhileForwarding(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			gate := bed.NewFIFO(t)
			// With the gate for its input it lives until it is let go.
			command := fmt.Sprintf("exec 3<>%s; %s command <&3; echo command $?", gate, bed.CompileC(t, "family.c"))
			f := bed.StartFamily(t, bed.How{}, []string{"-kill-mode", mode, "-stop", bed.NeverKill, "-stop-command", command}, "program:take")
			bed.RemoveFile(t, f.File)
			f.Meet(t, 1)
			f.Signal(syscall.SIGUSR1)
			f.Told(t, "program 10")
			f.Signal(syscall.SIGUSR2)
			f.Told(t, "program 12")
			f.Untouched(t, "command")
			if err := syscall.Kill(f.Pids["command"], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			f.Expect(t, "command 137")
			f.Expect(t, "program 15")
			f.ExpectCode(t, 7)
		})
	}
}

// Whatever becomes of the command, PROGRAM is stopped.
func TestStopCommandFails(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"exit 3", "no-such-command-of-pidleash 2>&-", "kill -9 $$", "false", ":", "if 2>&-"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			c := bed.StartCommanded(t, bed.How{}, bed.NeverKill, command)
			bed.RemoveFile(t, c.File)
			c.GotWithCont(t, syscall.SIGTERM)
			c.Over(t)
		})
	}
}

// PROGRAM ends by it or beside it, and the command may finish what it does.
func TestStopCommandOutlivesProgram(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			gate := bed.NewFIFO(t)
			command := fmt.Sprintf("kill -TERM $MAINPID; exec 3<>%s; %s command <&3; echo command ends", gate, bed.CompileC(t, "family.c"))
			f := bed.StartFamily(t, bed.How{}, []string{"-kill-mode", mode, "-stop", bed.NeverKill, "-stop-command", command}, "program:take")
			bed.RemoveFile(t, f.File)
			first, second := f.Line(t), f.Line(t) // of two processes
			if first == "program 15" {
				first, second = second, first
			}
			f.Know(t, first)
			if second != "program 15" {
				t.Fatalf("PROGRAM wrote %q", second)
			}
			bed.Await(t, "PROGRAM is reaped", func() bool { return bed.Gone(f.Pids["program"]) })
			// There is nobody any more whom these could reach. The kernel keeps a
			// signal pending until pidleash has taken it.
			for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGUSR2} {
				f.Signal(sig)
				f.Untouched(t, "command")
			}
			if err := syscall.Kill(f.Pids["command"], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			f.Expect(t, "command ends")
			f.ExpectCode(t, 7)
			f.Over(t)
		})
	}
}

// But not for ever.
func TestStopCommandOutlivesProgramUpToLimit(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			gate := bed.NewFIFO(t)
			command := "exec 3<>" + gate + "; kill -TERM $MAINPID; echo command $$; read line <&3; echo command ends"
			f := bed.StartFamily(t, bed.How{}, []string{"-kill-mode", mode, "-stop", "KILL/300ms", "-stop-command", command}, "program:take")
			bed.RemoveFile(t, f.File)
			lines := []string{f.Line(t), f.Line(t)}
			f.ExpectCode(t, 7)
			for _, line := range lines {
				var pid int
				if _, err := fmt.Sscanf(line, "command %d", &pid); err == nil {
					bed.KillAtEnd(t, pid)
					if !bed.Gone(pid) {
						t.Errorf("the command is left in state %q", bed.ProcessState(pid))
					}
				} else if line != "program 15" {
					t.Errorf("read %q", line)
				}
			}
			f.Over(t)
			f.AwaitStderr(t, "stop command: killed, ")
		})
	}
}

// What the command leaves in the background is stopped as PROGRAM's descendants
// are, and holds nothing up.
func TestStopCommandInBackground(t *testing.T) {
	t.Parallel()
	command := "exec 3<&0; " + bed.CompileC(t, "family.c") + " helper <&3 & exit 0"
	f := bed.StartFamily(t, bed.How{}, bed.InMode("mixed", "-stop-command", command), "program:take")
	bed.RemoveFile(t, f.File)
	var lines []string
	f.ExpectCode(t, 7)
	for line := range strings.Lines(f.Rest(t)) {
		lines = append(lines, line)
	}
	if !slices.Contains(lines, "program 15\n") {
		t.Errorf("the family wrote %q, PROGRAM has had no TERM", lines)
	}
	bed.ExpectEmptyDir(t, f.Dir)
}
