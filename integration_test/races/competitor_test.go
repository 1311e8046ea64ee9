package races

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"pidleash/integration_test/bed"
)

// mode is a way to run the program.
type mode struct {
	name       string
	options    []string // DIR is the directory of the PID file, OTHER that of the files of a condition
	noFile     bool
	forks      bool // the program turns itself into a daemon
	background bool // the process that was started returns
	restarts   bool
	beside     bool // the keeper is not told to end by a signal
}

var (
	foreground    = mode{name: "foreground"}
	restart       = mode{name: "restart", options: []string{"-restart", "always", "-restart-delay", "0"}, restarts: true}
	daemonRestart = mode{name: "daemon restart", options: []string{"-daemon", "-restart", "always", "-restart-delay", "0"}, restarts: true, background: true}
	withoutFile   = mode{name: "without file", noFile: true}
	// heldModes have more than the program and its file that decide.
	heldModes = []mode{
		{name: "while", options: []string{"-while", "OTHER/cond"}},
		{name: "while running", options: []string{"-while-running", "OTHER/cond.pid"}},
		{name: "daemon while", options: []string{"-daemon", "-while", "OTHER/cond"}, background: true},
		{name: "supervisor file", options: []string{"-supervisor-pidfile", "DIR/s.pid"}},
	}
	// modes are those with a file whose program ends once.
	modes = []mode{
		foreground,
		{name: "forking", options: []string{"-forking"}, forks: true},
		{name: "daemon", options: []string{"-daemon"}, background: true, beside: true},
		{name: "daemon forking", options: []string{"-daemon", "-forking"}, forks: true, background: true, beside: true},
		{name: "sidecar", options: []string{"-sidecar"}, beside: true},
		{name: "daemon supervisor", options: []string{"-daemon", "-restart-signal", "ALRM"}, background: true},
	}
)

// competitor is one start.
type competitor struct {
	mode   mode
	run    *bed.Run
	prefix string // of what its program makes
}

func (r *race) anyMode() mode { return modes[r.random.IntN(len(modes))] }

func (r *race) start(m mode) *competitor {
	r.starts++
	return r.startAs(m, fmt.Sprintf("%s/%d", r.other, r.starts))
}

// startAs starts one whose program makes files with the prefix.
func (r *race) startAs(m mode, prefix string) *competitor {
	var words []string
	if !m.noFile {
		words = append(words, "-pidfile", r.file)
		if r.random.IntN(2) == 0 {
			words = append(words, "-settle", "0") // else a removal has to last
		}
	}
	if m.forks || m.background {
		words = append(words, "-start-timeout", "10m") // others may have all of a machine for long
	}
	for _, o := range m.options {
		words = append(words, strings.NewReplacer("DIR", r.dir, "OTHER", r.other).Replace(o))
	}
	words = append(words, r.program, prefix)
	if m.forks {
		words = append(words, "daemon")
	}
	return &competitor{m, bed.Start(r.t, bed.How{Env: []string{string(r.mark)}}, words...), prefix}
}

// awaitUp waits until the file names a program that handles signals, and returns its PID; 0: the start has failed.
func (r *race) awaitUp(c *competitor) (pid int) {
	if !bed.Poll(func() bool {
		pid = r.programOf(c)
		return pid != 0 && bed.Catches(pid, syscall.SIGUSR2) || c.hasFailed()
	}) {
		r.t.Fatalf("PROGRAM is not up: %s; %s", c.describe(), r.describe())
	}
	if c.hasFailed() {
		return 0
	}
	return pid
}

// programOf is who the file names, or without one the child; 0: nobody.
func (r *race) programOf(c *competitor) int {
	if !c.mode.noFile {
		return r.named()
	}
	for _, pid := range bed.ChildPIDs(c.run.PID()) {
		return pid
	}
	return 0
}

func (c *competitor) isOver() bool {
	select {
	case <-c.run.Done:
		return true
	default:
		return false
	}
}

func (c *competitor) status() syscall.WaitStatus {
	return c.run.Cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func (c *competitor) hasFailed() bool { return c.isOver() && (!c.mode.background || c.status() != 0) }

// wasRefused reports 120, with one line.
func (c *competitor) wasRefused() bool {
	text := c.run.Stderr()
	return c.isOver() && c.status() == 120<<8 && strings.HasPrefix(text, "pidleash: ") && strings.Count(text, "\n") == 1
}

// exits reports that its program has said that it exits with 3.
func (c *competitor) exits() bool { return !bed.IsGone(c.prefix + ".exits") }

// wasTwo reports that its program has seen another one.
func (c *competitor) wasTwo() bool { return !bed.IsGone(c.prefix + ".two") }

// clear removes what its program has made.
func (c *competitor) clear() {
	c.run.End()
	for _, name := range []string{".exits", ".alone", ".two"} {
		_ = os.Remove(c.prefix + name) // it may not be there
	}
}

func (c *competitor) describe() string {
	how := "runs"
	if c.isOver() {
		how = "ended by " + bed.Describe(c.status())
	}
	return fmt.Sprintf("%s %s, its program exits: %v; %q", c.mode.name, how, c.exits(), c.run.Stderr())
}

// expectEnd waits for the end, which is the program's: by the signal, unless it has said that it exits. In the
// background the program may have been up before that, or may have lost its file before it was.
func (c *competitor) expectEnd(r *race, sig syscall.Signal) error {
	status := c.wait(r)
	want := syscall.WaitStatus(sig)
	if c.exits() {
		want = exited3
	}
	if c.mode.background && (status == 0 || strings.Contains(c.run.Stderr(), ": stopped before it was up: PID file ")) {
		return nil
	}
	if c.mode.restarts && status == byTerm && c.run.Stderr() == "" { // of the program that came next, or there was none
		return nil
	}
	if status != want {
		return fmt.Errorf("it should have ended by %s: %s", bed.Describe(want), c.describe())
	}
	return nil
}

// awaitBackground returns when a process that was started to return has done so.
func (c *competitor) awaitBackground(r *race) {
	if c.mode.background {
		c.wait(r)
	}
}

// afterLast is what follows the last separator.
func afterLast(text, separator string) string { return text[strings.LastIndex(text, separator)+1:] }

// wait returns how the process that was started has ended.
func (c *competitor) wait(r *race) syscall.WaitStatus {
	if !bed.Poll(c.isOver) {
		r.t.Fatalf("it does not end: %s; %s", c.describe(), r.describe())
	}
	return c.status()
}
