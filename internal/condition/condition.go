// Package condition watches the conditions of a program: the files of -while must exist, and the processes
// that the PID files of -while-running name must run. C delivers when it is time to look, the first time at
// once; Look reports whether every condition holds. A named process is held by a pidfd, and its end is a
// reason to look too. A file that cannot be looked at keeps its last answer, with a warning.
//
// It does not promise to see a condition that fails and holds again between two looks.
package condition

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"pidleash/internal/pidfile"
	"pidleash/internal/process"
	"pidleash/internal/safeopen"
	"pidleash/watch"
)

// Set is a program's conditions; nil: none. Its methods belong to one goroutine.
type Set struct {
	conditions []*condition
	hints      chan struct{}
	log        hclog.Logger
}

// condition is one file.
type condition struct {
	name    string // for messages
	failure string // for messages: why it fails
	path    string
	running bool // it is a PID file of -while-running
	watch   *watch.Watch
	holds   bool
	warned  string  // the last warning that the file gives no answer
	named   *held   // the process that the PID file named last; nil: none that ran
	held    []*held // the processes whose end is awaited
}

// held is a process whose end is a reason to look.
type held struct {
	*process.Held
	ended atomic.Bool
}

// Open begins to watch the files; paths must be absolute. It does not look: until the first Look every
// condition fails. It returns nil if there are no conditions.
func Open(while, running []string, log hclog.Logger) *Set {
	s := &Set{hints: make(chan struct{}, 1), log: log}
	for i, path := range slices.Concat(while, running) {
		c := &condition{name: "while " + path, failure: "gone", path: path}
		if i >= len(while) {
			c.name, c.failure, c.running = "while-running "+path, "not running", true
		}
		c.watch = watch.New(path, s.hints)
		if err := c.watch.Err(); err != nil {
			log.Info(fmt.Sprintf("%s: looking every %v: %v", c.name, watch.FastPoll, err))
		}
		s.conditions = append(s.conditions, c)
	}
	if s.conditions == nil {
		return nil
	}
	return s
}

// Close ends the watches and the hints, see watch.Stop. Processes are held until they end.
func (s *Set) Close() {
	if s == nil {
		return
	}
	for _, c := range s.conditions {
		c.watch.Stop()
	}
	s.hints = nil
}

// C delivers when it is time to look.
func (s *Set) C() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.hints
}

// Look reports whether every condition holds.
func (s *Set) Look() (hold bool) {
	if s == nil {
		return true
	}
	for _, c := range s.conditions {
		for again := true; again; again = c.watch.Renew() {
			c.holds = s.look(c)
		}
	}
	return !slices.ContainsFunc(s.conditions, func(c *condition) bool { return !c.holds })
}

// look looks at one file. A file that gives no answer keeps its last one.
func (s *Set) look(c *condition) bool {
	if c.running {
		return s.isRunning(c)
	}
	err := safeopen.Exists(c.path)
	switch {
	case err == nil:
		c.warned = ""
		return true
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return false
	}
	s.warnOnce(c, "cannot be looked at: "+err.Error())
	return c.holds
}

// isRunning holds the process that the PID file names, so that its end is noticed even if the file becomes
// unreadable.
func (s *Set) isRunning(c *condition) bool {
	hold := pidfile.Take(c.path)
	defer hold.Close()
	switch {
	case hold.Verdict == pidfile.Running:
		c.warned = ""
		s.keep(c, &hold.Program)
		return true
	case hold.Verdict == pidfile.Unreadable && hold.Held:
		s.warnOnce(c, hold.Reason)
		s.keep(c, &hold.Holder)
		return true
	case c.named != nil && !c.named.hasEnded() && hold.DiffersByClock(c.named.Held):
		c.warned = ""
		return true // it was accepted once, and no clock takes that away
	case hold.Verdict == pidfile.Unreadable || hold.Verdict == pidfile.Unsure:
		s.warnOnce(c, hold.Reason)
		return c.holds && !c.named.hasEnded()
	case hold.Verdict == pidfile.Untrusted:
		s.warnOnce(c, hold.Reason)
	}
	return false
}

// keep makes the end of a process send a hint, and takes it from who holds it; nil: there is none that can be seen.
// Each process is held only once, even if the file names two in turn.
func (s *Set) keep(c *condition, of **process.Held) {
	if *of == nil {
		c.named = nil
		return
	}
	c.held = slices.DeleteFunc(c.held, func(h *held) bool { return h.ended.Load() })
	if i := slices.IndexFunc(c.held, func(h *held) bool { return h.Same(*of) }); i >= 0 {
		c.named = c.held[i]
		return
	}
	c.named = &held{Held: *of}
	*of = nil // so that nobody else closes it
	c.held = append(c.held, c.named)
	go c.named.await(s.hints)
}

// hasEnded is false of one that cannot be seen.
func (h *held) hasEnded() bool { return h != nil && h.ended.Load() }

func (h *held) await(hints chan<- struct{}) {
	h.Wait(time.Time{})
	h.Close()
	h.ended.Store(true)
	select {
	case hints <- struct{}{}:
	default: // a hint is waiting already
	}
}

func (s *Set) warnOnce(c *condition, problem string) {
	if c.warned != problem {
		c.warned = problem
		s.log.Warn(c.name + ": " + problem)
	}
}

// Missing lists the files whose conditions failed at the last look.
func (s *Set) Missing() string { return s.failing(func(c *condition) string { return c.path }) }

// Failed lists the conditions that failed at the last look, with the reason.
func (s *Set) Failed() string {
	return s.failing(func(c *condition) string { return c.name + ": " + c.failure })
}

func (s *Set) failing(describe func(*condition) string) string {
	if s == nil {
		return ""
	}
	var words []string
	for _, c := range s.conditions {
		if !c.holds {
			words = append(words, describe(c))
		}
	}
	return strings.Join(words, ", ")
}
