package bed

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Gated is a run whose system calls on names of files wait for the test, where they fit a pattern; see gate.c.
type Gated struct {
	*Run
	pipe   *os.File
	calls  *bufio.Reader
	answer *os.File
}

// StartGated starts pidleash at the gate.
func StartGated(t testing.TB, h How, patterns []string, args ...string) *Gated {
	t.Helper()
	NeedRoot(t)
	calls, toTest := NewPipe(t)
	fromTest, answer := NewPipe(t)
	h.Before = append(append([]string{CompileC(t, "gate.c")}, patterns...), "--")
	h.Extra = []*os.File{toTest, fromTest}
	g := &Gated{Start(t, h, args...), calls, bufio.NewReader(calls), answer}
	toTest.Close()
	fromTest.Close()
	t.Cleanup(func() { answer.Close(); calls.Close() }) // before the run's own end, which may be held
	return g
}

// AwaitCall returns the next call that is held, and whose it is; "" and 0: nobody is left who could make one.
func (g *Gated) AwaitCall(t testing.TB) (call string, pid int) {
	t.Helper()
	Must(t, g.pipe.SetReadDeadline(time.Now().Add(Patience)))
	line, err := g.calls.ReadString('\n')
	if err == io.EOF {
		return "", 0
	}
	Must(t, err)
	who, call, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	_, err = fmt.Sscan(who, &pid)
	Must(t, err)
	return call, pid
}

// Pass lets the held call go on.
func (g *Gated) Pass(t testing.TB) { g.Fail(t, 0) }

// Fail has the held call fail.
func (g *Gated) Fail(t testing.TB, errno syscall.Errno) {
	t.Helper()
	_, err := fmt.Fprintf(g.answer, "%d\n", errno)
	Must(t, err)
}

// Open lets everything go on from now on.
func (g *Gated) Open() { g.answer.Close() }

// Serve answers every call, until nobody is left who could make one.
func (g *Gated) Serve(t testing.TB, answer func(call string) syscall.Errno) {
	t.Helper()
	for call, _ := g.AwaitCall(t); call != ""; call, _ = g.AwaitCall(t) {
		g.Fail(t, answer(call))
	}
}
