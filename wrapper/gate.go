package wrapper

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/pidfile"
	"pidleash/internal/process"
	"pidleash/watch"
)

// gate is a file without which the program does not run.
type gate struct {
	path string
	// running: the file is another program's PID file, and that program has to run;
	// else that the file exists is all.
	running bool
	watch   *watch.Watch
	open    bool
	said    string     // what was last told of a file that gives no answer
	named   *awaited   // what the PID file has named last; nil: nothing that ran
	awaited []*awaited // whose end is waited for
}

func (g *gate) String() string {
	if g.running {
		return "while-running " + g.path
	}
	return "while " + g.path
}

// awaited is a process whose end causes another look.
type awaited struct {
	*process.Handle
	ended chan struct{} // closed then
}

func (a *awaited) hasEnded() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// openGates begins to watch the files of -while and -while-running.
func (l *loop) openGates() {
	for _, path := range l.cfg.While {
		l.gates = append(l.gates, &gate{path: path})
	}
	for _, path := range l.cfg.WhileRunning {
		l.gates = append(l.gates, &gate{path: path, running: true})
	}
	if l.gates == nil {
		return
	}
	l.gateHints = make(chan struct{}, 1)
	for _, g := range l.gates {
		g.watch = watch.New(g.path)
		if err := g.watch.Err(); err != nil {
			l.cfg.Log.Info(fmt.Sprintf("%v: looking every %v: %v", g, watch.FastPoll, err))
		}
		go func(hints <-chan struct{}) {
			for range hints {
				l.hintGates()
			}
		}(g.watch.Hints())
	}
	l.happen(l.lookAtGates())
}

// closeGates ends the watches, see watch.Stop.
func (l *loop) closeGates() {
	for _, g := range l.gates {
		g.watch.Stop()
	}
}

// hintGates says that it is time to look; any goroutine may.
func (l *loop) hintGates() {
	select {
	case l.gateHints <- struct{}{}:
	default: // a look is to come anyway
	}
}

// lookAtGates says whether every file is there.
func (l *loop) lookAtGates() event {
	kind := opened
	for _, g := range l.gates {
		g.open = l.isOpen(g)
		for g.watch.Renew() {
			g.open = l.isOpen(g)
		}
		if !g.open {
			kind = shut
		}
	}
	return event{kind: kind}
}

// isOpen looks at one file. One that cannot be looked at is left as it was: nothing
// is known.
func (l *loop) isOpen(g *gate) bool {
	if g.running {
		return l.isRunning(g)
	}
	_, err := os.Stat(g.path)
	switch {
	case err == nil:
		g.said = ""
		return true
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return false
	}
	l.sayOnce(g, errors.Unwrap(err).Error())
	return g.open
}

// isRunning takes hold of the process that the PID file names. A file that cannot be
// read ends nobody.
func (l *loop) isRunning(g *gate) bool {
	hold := pidfile.Take(g.path)
	defer hold.Close()
	switch hold.Verdict {
	case pidfile.Running:
		g.said = ""
		l.awaitEnd(g, hold)
		return true
	case pidfile.Unreadable:
		l.sayOnce(g, hold.Reason)
		return g.open && !g.named.hasEnded()
	case pidfile.Untrusted:
		l.sayOnce(g, hold.Reason)
	}
	return false
}

// awaitEnd has the end of the program cause another look. The file may name two in
// turn for ever: each is waited for once.
func (l *loop) awaitEnd(g *gate, hold *pidfile.Hold) {
	g.awaited = slices.DeleteFunc(g.awaited, (*awaited).hasEnded)
	for _, a := range g.awaited {
		if a.Same(hold.Program) {
			g.named = a
			return
		}
	}
	g.named = &awaited{hold.Program, make(chan struct{})}
	hold.Program = nil
	g.awaited = append(g.awaited, g.named)
	go func(a *awaited) {
		a.Wait(time.Time{})
		a.Close()
		close(a.ended)
		l.hintGates()
	}(g.named)
}

func (l *loop) sayOnce(g *gate, problem string) {
	if g.said != problem {
		g.said = problem
		l.cfg.Log.Warn(fmt.Sprintf("%v: %s", g, problem))
	}
}

// missing lists the files that are not there.
func (l *loop) missing() string { return l.shutGates(func(g *gate) string { return g.path }) }

// whatIsShut tells the same of those that were there.
func (l *loop) whatIsShut() string {
	return l.shutGates(func(g *gate) string {
		if g.running {
			return g.String() + ": not running"
		}
		return g.String() + ": gone"
	})
}

func (l *loop) shutGates(describe func(*gate) string) string {
	var words []string
	for _, g := range l.gates {
		if !g.open {
			words = append(words, describe(g))
		}
	}
	return strings.Join(words, ", ")
}
