package bed

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// Never is a delay that no test sees the end of.
const Never = "1h"

// RestartLine is the warning of a failure and the delay after it.
var RestartLine = regexp.MustCompile(`(?m)^(<4>)?pidleash: .* ended (with code [0-9]+|by SIG[A-Z]+), restarting in .*\n`)

// A Teller is a pidleash whose PROGRAM tells every signal that it gets
// (testdata/signals.c), from the moment in which it has said that it is ready.
type Teller struct {
	*Run
	Program int // its PID
	Parent  int
	Group   int
}

// StartTeller runs pidleash with options before a PROGRAM that ends with 7 after
// count signals.
func StartTeller(t testing.TB, h How, count int, options ...string) *Teller {
	t.Helper()
	args := slices.Concat(options, []string{"--", CompileC(t, "signals.c"), strconv.Itoa(count)})
	p := &Teller{Run: Start(t, h, args...)}
	p.Ready(t)
	return p
}

// ForEver is more signals than any test sends.
const ForEver = 1 << 30

// Ready waits for a start of PROGRAM.
func (p *Teller) Ready(t testing.TB) {
	t.Helper()
	line := p.Line(t)
	if _, err := fmt.Sscanf(line, "ready %d %d %d", &p.Program, &p.Parent, &p.Group); err != nil {
		t.Fatalf("PROGRAM wrote %q: %v\n%s", line, err, p.Stderr())
	}
}

// Got fails the test unless this signal is the next that PROGRAM tells.
func (p *Teller) Got(t testing.TB, sig syscall.Signal) {
	t.Helper()
	p.Expect(t, fmt.Sprintf("got %d", int(sig)))
}

// RoundTrips shows that nothing but what was sent arrives, while whatever
// pidleash may be up to has the time of some hundred system calls.
func (p *Teller) RoundTrips(t testing.TB) {
	t.Helper()
	for range 50 {
		p.Signal(syscall.SIGUSR1)
		p.Got(t, syscall.SIGUSR1)
	}
}

// Finish ends PROGRAM, which then exits with 8 and has told nothing more.
func (p *Teller) Finish(t testing.TB) {
	t.Helper()
	p.Stdin.Close()
	if text := p.Rest(t); text != "" {
		t.Errorf("PROGRAM wrote %q at its end, want nothing", text)
	}
	p.ExpectCode(t, 8)
}

// NeverForwarded are those that nobody can catch, those about pidleash's own
// children and pipes, and those of the Go runtime.
var NeverForwarded = []syscall.Signal{
	syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGPIPE,
	syscall.SIGURG, syscall.SIGPROF, 32, 33, 34,
}

// ForwardedSignals are all others.
func ForwardedSignals() (all []syscall.Signal) {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if !slices.Contains(NeverForwarded, sig) {
			all = append(all, sig)
		}
	}
	return all
}

// GotWithCont takes what a schedule sends: a signal and CONT.
func (p *Teller) GotWithCont(t testing.TB, sig syscall.Signal) {
	t.Helper()
	pair := []string{p.Line(t), p.Line(t)}
	for _, want := range []syscall.Signal{sig, syscall.SIGCONT} {
		if !slices.Contains(pair, fmt.Sprintf("got %d", int(want))) {
			t.Fatalf("PROGRAM wrote %q, want signals %d and 18", pair, int(sig))
		}
	}
}

// A Commanded is a teller with a stop command, whose lines begin with "command".
type Commanded struct {
	*Teller
	dir, File string
}

// NeverKill has a first wait that no test reaches: only the command's end starts
// the schedule.
const NeverKill = "TERM/1h/KILL"

// StartCommanded runs one without a settling time.
func StartCommanded(t testing.TB, h How, stop, command string, options ...string) *Commanded {
	t.Helper()
	c := &Commanded{dir: t.TempDir()}
	c.File = filepath.Join(c.dir, "p.pid")
	options = append([]string{"-pidfile", c.File, "-settle", "0", "-stop", stop, "-stop-command", command}, options...)
	c.Teller = StartTeller(t, h, ForEver, options...)
	return c
}

// Over ends PROGRAM, and nothing is left.
func (c *Commanded) Over(t testing.TB) {
	t.Helper()
	c.Finish(t)
	ExpectEmptyDir(t, c.dir)
}
