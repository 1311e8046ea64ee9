package wrapper

import (
	"errors"
	"fmt"
	"os"
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
	said    string          // what was last told of a PID file that is no help
	waited  *process.Handle // whose end is waited for, or was
	ended   chan struct{}   // closed when that has come
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
	l.sayOnce(g, err.Error())
	return g.open
}

// isRunning takes hold of the process that the PID file names, and has its end cause
// another look.
func (l *loop) isRunning(g *gate) bool {
	hold := pidfile.Take(g.path)
	switch hold.Verdict {
	case pidfile.Running:
	case pidfile.Unreadable: // as above, and the process may say it by its end
		l.sayOnce(g, hold.Reason)
		hold.Close()
		return g.open && g.waits()
	case pidfile.Untrusted:
		l.sayOnce(g, hold.Reason)
		hold.Close()
		return false
	default:
		hold.Close()
		return false
	}
	g.said = ""
	if w := g.waited; w != nil && w.PID == hold.PID && w.Start == hold.Program.Start {
		hold.Close()
		return true
	}
	ended := make(chan struct{})
	g.waited, g.ended = hold.Program, ended
	go func() {
		hold.Program.Wait(time.Time{})
		hold.Close()
		close(ended)
		l.hintGates()
	}()
	return true
}

// waits reports that a process is held which has not ended.
func (g *gate) waits() bool {
	select {
	case <-g.ended:
		return false
	default:
		return g.waited != nil
	}
}

func (l *loop) sayOnce(g *gate, problem string) {
	if g.said != problem {
		g.said = problem
		l.cfg.Log.Warn(fmt.Sprintf("while %s: %s", g.path, problem))
	}
}

// missing lists the files that are not there.
func (l *loop) missing() string {
	var paths []string
	for _, g := range l.gates {
		if !g.open {
			paths = append(paths, g.path)
		}
	}
	return strings.Join(paths, ", ")
}
