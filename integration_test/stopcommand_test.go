package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A commanded is a teller with a stop command, whose lines begin with "command".
type commanded struct {
	*teller
	dir, file string
}

// neverKill has a first wait that no test reaches: only the command's end starts
// the schedule.
const neverKill = "TERM/1h/KILL"

func startCommanded(t testing.TB, h how, stop, command string, options ...string) *commanded {
	t.Helper()
	c := &commanded{dir: t.TempDir()}
	c.file = filepath.Join(c.dir, "p.pid")
	options = append([]string{"-pidfile", c.file, "-settle", "0", "-stop", stop, "-stop-command", command}, options...)
	c.teller = startTeller(t, h, forEver, options...)
	return c
}

// over ends PROGRAM, and nothing is left.
func (c *commanded) over(t testing.TB) {
	t.Helper()
	c.finish(t)
	expectEmptyDir(t, c.dir)
}

// aFIFO is a gate: who opens it for reading waits for who opens it for writing.
func aFIFO(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openGate lets one reader through. Opened for both directions it waits for
// nobody; the caller knows that the reader is there or will come.
func openGate(t testing.TB, path string) {
	t.Helper()
	gate, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gate.Close() })
	if _, err := gate.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
}

// The schedule starts when the command has ended, not before.
func TestStopCommandThenSchedule(t *testing.T) {
	t.Parallel()
	gate := aFIFO(t)
	c := startCommanded(t, how{}, neverKill, "echo command begins; read line <"+gate+"; echo command ends")
	removeFile(t, c.file)
	c.expect(t, "command begins")
	c.roundTrips(t)
	openGate(t, gate)
	c.expect(t, "command ends")
	c.gotWithCont(t, syscall.SIGTERM)
	c.roundTrips(t)
	c.over(t)
	c.expectOneLine(t, "removed, stopping PID ")
}

// What PROGRAM has, and MAINPID.
func TestStopCommandSurroundings(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	for _, h := range []how{
		{dir: dir, onlyIn: []string{"PATH=" + os.Getenv("PATH"), "A=b c", "PIDLEASH_LOG_LEVEL=warn", "PIDLEASH_OTHER=kept"}},
		// Of an outer pidleash, say.
		{dir: dir, onlyIn: []string{"PATH=" + os.Getenv("PATH"), "MAINPID=1"}},
	} {
		c := startCommanded(t, h, neverKill, `echo command in $(pwd -P) of $MAINPID
			echo "A=$A level=$PIDLEASH_LOG_LEVEL other=$PIDLEASH_OTHER file=$PIDFILE"
			tr '\0' '\n' </proc/$MAINPID/environ | grep -v ^MAINPID= | sort | tr '\n' '!'; echo
			tr '\0' '\n' </proc/$$/environ | grep -v ^MAINPID= | sort | tr '\n' '!'; echo
			tr '\0' '\n' </proc/$$/environ | grep ^MAINPID=
			tr '\0' '\n' </proc/$$/cmdline | head -2 | tr '\n' ' '; echo`)
		removeFile(t, c.file)
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.expect(t, fmt.Sprintf("command in %s of %d", real, c.program))
		a, other := "", ""
		if slices.Contains(h.onlyIn, "A=b c") {
			a, other = "b c", "kept"
		}
		c.expect(t, fmt.Sprintf("A=%s level= other=%s file=", a, other))
		if program, command := c.line(t), c.line(t); program != command {
			t.Errorf("the command's environment is %q, PROGRAM's %q", command, program)
		}
		c.expect(t, fmt.Sprintf("MAINPID=%d", c.program))
		c.expect(t, "/bin/sh -c ")
		c.gotWithCont(t, syscall.SIGTERM)
		c.over(t)
	}
}

// It is as free of pidleash's own dispositions as PROGRAM is.
func TestStopCommandSignals(t *testing.T) {
	t.Parallel()
	c := startCommanded(t, how{}, neverKill, "exec "+compileC(t, "signals.c")+" begin")
	removeFile(t, c.file)
	c.expect(t, "blocked")
	c.expect(t, "ignored")
	c.gotWithCont(t, syscall.SIGTERM)
	c.over(t)
}

// The command is what stops PROGRAM here.
func TestStopCommandStops(t *testing.T) {
	t.Parallel()
	f := startFamily(t, how{}, []string{"-stop", neverKill, "-stop-command", "kill -TERM $MAINPID"}, "program:take")
	removeFile(t, f.file)
	f.expect(t, "program 15")
	f.expectCode(t, 7)
	f.over(t)
}

// A limit is needed: the command waits for what never comes. Those that it has
// started end with it.
func TestStopCommandLimit(t *testing.T) {
	t.Parallel()
	for _, stop := range []string{"TERM/300ms/KILL", "300ms/TERM/1h/KILL"} {
		t.Run(stop, func(t *testing.T) {
			t.Parallel()
			command := fmt.Sprintf("exec 3<>%s; %s command same <&3 & wait", aFIFO(t), compileC(t, "family.c"))
			f := startFamily(t, how{}, []string{"-stop", stop, "-stop-command", command}, "program:take")
			removed := time.Now()
			removeFile(t, f.file)
			f.meet(t, 2)
			f.awaitStderr(t, "stop command: killed, ")
			// It ran after the removal; the upper bound is to tell 300 ms from an hour.
			if after := time.Since(removed); after < 300*time.Millisecond || after > 20*time.Second {
				t.Errorf("the command was killed %v after the removal, want 300 ms", after)
			}
			f.expect(t, "program 15")
			f.expectCode(t, 7)
			f.over(t)
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
			gate := aFIFO(t)
			who := "group"
			if mode == "mixed" {
				who = "group session"
			}
			command := fmt.Sprintf("exec 3<>%s; %s command %s <&3 & wait", gate, compileC(t, "family.c"), who)
			f := startFamily(t, how{}, []string{"-kill-mode", mode, "-stop", shortly, "-stop-command", command}, "program")
			removeFile(t, f.file)
			if mode == "mixed" {
				f.meet(t, 3)
				f.told(t, both(syscall.SIGTERM, "program")...)
				f.told(t, both(syscall.SIGTERM, "session")...)
			} else {
				f.meet(t, 2)
				f.told(t, both(syscall.SIGTERM, "program")...)
			}
			// While PROGRAM still lives pidleash reaps them.
			f.expectSignal(t, syscall.SIGKILL)
			f.over(t)
		})
	}
}

// A schedule without a wait sets no limit.
func TestStopCommandWithoutLimit(t *testing.T) {
	t.Parallel()
	gate := aFIFO(t)
	c := startCommanded(t, how{}, "TERM", "echo command begins; read line <"+gate+"; echo command ends")
	removeFile(t, c.file)
	c.expect(t, "command begins")
	c.roundTrips(t)
	openGate(t, gate)
	c.expect(t, "command ends")
	c.gotWithCont(t, syscall.SIGTERM)
	c.over(t)
}

// A TERM from elsewhere is its sender's way to stop PROGRAM.
func TestStopCommandOnlyForOwnStops(t *testing.T) {
	t.Parallel()
	c := startCommanded(t, how{}, neverKill, "echo command")
	c.signal(syscall.SIGTERM)
	c.got(t, syscall.SIGTERM)
	c.roundTrips(t)
	removeFile(t, c.file) // PROGRAM's own now
	c.roundTrips(t)
	c.over(t)
	c.expectQuiet(t)

	f := startFamily(t, how{}, []string{"-stop", neverKill, "-stop-command", "echo command"}, "program")
	f.tell(t, "exit 9")
	f.expectCode(t, 9)
	f.over(t)
}

// The command changes nothing about what is forwarded, and it is no part of
// PROGRAM.
func TestStopCommandWhileForwarding(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			gate := aFIFO(t)
			// With the gate for its input it lives until it is let go.
			command := fmt.Sprintf("exec 3<>%s; %s command <&3; echo command $?", gate, compileC(t, "family.c"))
			f := startFamily(t, how{}, []string{"-kill-mode", mode, "-stop", neverKill, "-stop-command", command}, "program:take")
			removeFile(t, f.file)
			f.meet(t, 1)
			f.signal(syscall.SIGUSR1)
			f.told(t, "program 10")
			f.signal(syscall.SIGUSR2)
			f.told(t, "program 12")
			f.untouched(t, "command")
			if err := syscall.Kill(f.pids["command"], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			f.expect(t, "command 137")
			f.expect(t, "program 15")
			f.expectCode(t, 7)
		})
	}
}

// Whatever becomes of the command, PROGRAM is stopped.
func TestStopCommandFails(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"exit 3", "no-such-command-of-pidleash 2>&-", "kill -9 $$", "false", ":", "if 2>&-"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			c := startCommanded(t, how{}, neverKill, command)
			removeFile(t, c.file)
			c.gotWithCont(t, syscall.SIGTERM)
			c.over(t)
		})
	}
}

// PROGRAM ends by it or beside it, and the command may finish what it does.
func TestStopCommandOutlivesProgram(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			gate := aFIFO(t)
			command := fmt.Sprintf("kill -TERM $MAINPID; exec 3<>%s; %s command <&3; echo command ends", gate, compileC(t, "family.c"))
			f := startFamily(t, how{}, []string{"-kill-mode", mode, "-stop", neverKill, "-stop-command", command}, "program:take")
			removeFile(t, f.file)
			first, second := f.line(t), f.line(t) // of two processes
			if first == "program 15" {
				first, second = second, first
			}
			f.know(t, first)
			if second != "program 15" {
				t.Fatalf("PROGRAM wrote %q", second)
			}
			await(t, "PROGRAM is reaped", func() bool { return gone(f.pids["program"]) })
			// There is nobody any more whom these could reach. The kernel keeps a
			// signal pending until pidleash has taken it.
			for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGUSR2} {
				f.signal(sig)
				f.untouched(t, "command")
			}
			if err := syscall.Kill(f.pids["command"], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			f.expect(t, "command ends")
			f.expectCode(t, 7)
			f.over(t)
		})
	}
}

// But not for ever.
func TestStopCommandOutlivesProgramUpToLimit(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"process", "mixed", "group", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			gate := aFIFO(t)
			command := "exec 3<>" + gate + "; kill -TERM $MAINPID; echo command $$; read line <&3; echo command ends"
			f := startFamily(t, how{}, []string{"-kill-mode", mode, "-stop", "KILL/300ms", "-stop-command", command}, "program:take")
			removeFile(t, f.file)
			lines := []string{f.line(t), f.line(t)}
			f.expectCode(t, 7)
			for _, line := range lines {
				var pid int
				if _, err := fmt.Sscanf(line, "command %d", &pid); err == nil {
					killAtEnd(t, pid)
					if !gone(pid) {
						t.Errorf("the command is left in state %q", processState(pid))
					}
				} else if line != "program 15" {
					t.Errorf("read %q", line)
				}
			}
			f.over(t)
			f.awaitStderr(t, "stop command: killed, ")
		})
	}
}

// What the command leaves in the background is stopped as PROGRAM's descendants
// are, and holds nothing up.
func TestStopCommandInBackground(t *testing.T) {
	t.Parallel()
	command := "exec 3<&0; " + compileC(t, "family.c") + " helper <&3 & exit 0"
	f := startFamily(t, how{}, inMode("mixed", "-stop-command", command), "program:take")
	removeFile(t, f.file)
	var lines []string
	f.expectCode(t, 7)
	for line := range strings.Lines(f.rest(t)) {
		lines = append(lines, line)
	}
	if !slices.Contains(lines, "program 15\n") {
		t.Errorf("the family wrote %q, PROGRAM has had no TERM", lines)
	}
	expectEmptyDir(t, f.dir)
}
