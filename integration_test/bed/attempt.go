package bed

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Sleeper is a PROGRAM that does nothing.
func Sleeper(t testing.TB) *Attempt {
	a := NewAttempt(t)
	a.Program = []string{"sleep", "600"}
	return a
}

// StillRunning are those that have not ended.
func StillRunning(runs []*Run) []*Run {
	return slices.DeleteFunc(slices.Clone(runs), func(r *Run) bool {
		select {
		case <-r.Done:
			return true
		default:
			return false
		}
	})
}

// soon is how long what is on its way out may take: less than any wait of a stop
// schedule.
const soon = 5 * time.Second

// StartMode is one of the ways in which pidleash holds PROGRAM.
type StartMode struct {
	Name    string
	Options []string
	// as is the mode whose failures it has; empty: name.
	As string
}

// StartModes are all of them; the foreground comes first.
var StartModes = []StartMode{
	{Name: "foreground"},
	{Name: "forking", Options: []string{"-forking"}},
	{Name: "daemon", Options: []string{"-daemon"}},
	{Name: "daemon forking", Options: []string{"-daemon", "-forking"}},
	{Name: "sidecar", Options: []string{"-sidecar"}},
	{Name: "daemon supervisor", Options: []string{"-daemon", "-restart-signal", "USR2"}, As: "daemon"},
}

// Attempt is a start that is to fail.
type Attempt struct {
	Dir     string // of the PID files
	Other   string // another directory
	Mark    Mark
	How     How
	PIDFile string
	Super   string // empty: none
	Options []string
	Program []string
}

// NewAttempt prepares directories that every user may write to, and a PROGRAM that leaves
// a marker in the other one.
func NewAttempt(t testing.TB) *Attempt {
	a := &Attempt{Dir: OpenDir(t), Other: OpenDir(t), Mark: NewMark(t)}
	a.PIDFile = a.Dir + "/p.pid"
	a.Program = []string{"touch", a.Other + "/marker"}
	return a
}

// Start starts it in a mode.
func (a *Attempt) Start(t testing.TB, m StartMode) *Run {
	a.How.Env = append(a.How.Env, string(a.Mark))
	words := append([]string{"-pidfile", a.PIDFile}, m.Options...)
	if a.Super != "" {
		words = append(words, "-supervisor-pidfile", a.Super)
	}
	return Start(t, a.How, append(append(words, a.Options...), a.Program...)...)
}

// Shell makes PROGRAM a script, with the other directory as $0.
func (a *Attempt) Shell(script string) { a.Program = []string{"sh", "-c", script, a.Other} }

// Conclusion is how pidleash ends, and what it says.
type Conclusion struct {
	Code   int
	Signal syscall.Signal // instead of the code, when not 0
	Line   string         // a pattern; empty: it says nothing
}

// Expect fails the test unless the run ends so.
func (v Conclusion) Expect(t testing.TB, r *Run) {
	t.Helper()
	if v.Signal != 0 {
		r.ExpectSignal(t, v.Signal)
	} else {
		r.ExpectCode(t, v.Code)
	}
	if v.Line == "" {
		r.ExpectQuiet(t)
	} else {
		r.ExpectOneLine(t, v.Line)
	}
}

// WithOptions adds options, in which OTHER stands for the other directory.
func WithOptions(options ...string) func(*testing.T, *Attempt) {
	return func(_ *testing.T, a *Attempt) {
		for _, option := range options {
			a.Options = append(a.Options, strings.ReplaceAll(option, "OTHER", a.Other))
		}
	}
}

// InBackground starts PROGRAM there and returns its PID, which is that in the PID
// file at the moment of the return.
func (a *Attempt) InBackground(t testing.TB, options ...string) (program int) {
	t.Helper()
	r := a.Start(t, StartMode{Options: append([]string{"-daemon"}, options...)})
	Conclusion{}.Expect(t, r)
	return PIDIn(t, a.PIDFile)
}

// Leave removes the PID file and expects that everything ends.
func (a *Attempt) Leave(t testing.TB) {
	t.Helper()
	RemoveFile(t, a.PIDFile)
	a.Mark.ExpectNobody(t)
	ExpectEmptyDir(t, a.Dir)
}

// IsSleeping reports that PROGRAM, a sleep, has been executed and is watched.
func (a *Attempt) IsSleeping() bool {
	text, err := os.ReadFile(a.PIDFile)
	if err != nil {
		return false
	}
	name, _ := os.ReadFile("/proc/" + strings.TrimSuffix(string(text), "\n") + "/comm")
	return string(name) == "sleep\n"
}

// NewGate is a fifo at which a script waits: read x <"$0/gate".
func (a *Attempt) NewGate(t testing.TB) { Must(t, syscall.Mkfifo(a.Other+"/gate", 0o666)) }

// Open lets who waits at the gate go on.
func (a *Attempt) Open(t testing.TB) {
	t.Helper()
	Must(t, os.WriteFile(a.Other+"/gate", []byte("\n"), 0))
}
