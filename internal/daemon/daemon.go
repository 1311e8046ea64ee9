// Package daemon finds the daemon that a program has become, and the process that succeeds that daemon.
//
// The started process forks and ends; its descendants become children of pidleash or of its caller, the
// subreaper. The daemon is the descendant that its PID file names, else the only one that is left. When the
// file later names another descendant, that is the daemon from then on: nginx is upgraded so.
//
// A list of children in /proc is no snapshot: it counts only when it has not changed for a while. The package
// sends no signal, reaps nothing, and writes no file.
package daemon

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
)

const (
	// aloneAsleep is how long a sleeping child must have been the only one to be the daemon: the middle
	// process of a double fork does not sleep.
	aloneAsleep = 20 * time.Millisecond
	// aloneLeader is the same for one that leads its session: it may be the middle process of a double fork, which
	// takes its time.
	aloneLeader = time.Second
	// aloneBusy is the same for a child that is not asleep.
	aloneBusy = 500 * time.Millisecond
	// crowdPatience is how long several children must have been there before the search fails.
	crowdPatience = time.Second
	// nonePatience is how long /proc must show no child to be believed while earlier children live.
	nonePatience = time.Second
	// movePatience is how long a successor may take to write its file, and lookInterval the time between two
	// looks at that.
	movePatience = 30 * time.Second
	lookInterval = 20 * time.Millisecond
)

// ErrNotAlive says that the process which the daemon's file names has ended, or is no descendant. The file
// may soon name another one.
var ErrNotAlive = errors.New("the daemon that its PID file names has ended")

// Finder knows the daemon and its predecessors.
type Finder struct {
	file    string          // the daemon's own PID file; empty: none is known
	only    bool            // only the file decides, because -follow was given
	family  *process.Family // nil: the program is not below this process or its caller
	program *process.Held   // the daemon; nil: not known yet

	candidates []int               // the children at the last look
	since      time.Time           // since when these have been the children
	lost       *syscall.WaitStatus // of the last descendant to end before the daemon was known

	predecessors []*process.Held
	newborn      map[int]process.Ticks // children of the daemon that may succeed it
	unnamed      time.Time             // since when the file does not name the daemon; zero: it does
}

// NewFinder makes a Finder that does not know the daemon yet.
func NewFinder(p *plan.Plan, family *process.Family) *Finder {
	return &Finder{file: p.Followed(), only: p.Follow != "", family: family, newborn: map[int]process.Ticks{}}
}

// named is whom the daemon's own file names; 0: nobody. Only a file of -follow may be behind a symbolic link.
func (f *Finder) named() int {
	if f.only {
		return pidfile.NamedBehind(f.file)
	}
	return pidfile.Named(f.file)
}

// Lost records the end of a descendant: if the daemon is not known yet, it may have been the daemon.
func (f *Finder) Lost(status syscall.WaitStatus) {
	if f.program == nil {
		f.lost = &status
	}
}

// Leave says that the caller has ended: the program is no longer below it.
func (f *Finder) Leave() { f.family = nil }

// Code is the exit code of a daemon that ended before it was known; 0: none did.
func (f *Finder) Code() int {
	if f.program != nil || f.lost == nil {
		return 0
	}
	return plan.ExitCode(*f.lost)
}

// Known reports that the daemon has been found.
func (f *Finder) Known() bool { return f.program != nil }

// Predecessors are the processes that were the daemon before.
func (f *Finder) Predecessors() []*process.Held { return f.predecessors }

// Look looks for the daemon. It returns 0 and no error while it is too early to decide.
func (f *Finder) Look(now time.Time) (int, error) {
	if f.file != "" {
		if pid := f.named(); pid != 0 && f.CameOfProgram(pid) {
			return pid, nil
		}
	}
	children, err := f.family.Children()
	if err != nil {
		return 0, err
	}
	if !slices.Equal(children, f.candidates) || f.since.IsZero() {
		f.candidates, f.since = children, now
	}
	unchanged := now.Sub(f.since)
	switch {
	case len(children) == 0 && !f.family.IsChildless() && unchanged < nonePatience:
		return 0, nil
	case len(children) == 0 && f.lost != nil:
		return 0, fmt.Errorf("has left a daemon behind that %s before it was known", plan.Describe(*f.lost))
	case len(children) == 0:
		return 0, errors.New("has ended and has left no daemon behind")
	case f.only || unchanged == 0:
		return 0, nil
	}
	return f.decide(unchanged)
}

// decide decides about children that have not changed for a while.
func (f *Finder) decide(unchanged time.Duration) (int, error) {
	if len(f.candidates) > 1 {
		if unchanged < crowdPatience {
			return 0, nil
		}
		return 0, fmt.Errorf("has left %d processes behind, PIDs %v: which is the daemon is not clear; hint: -follow FILE, its own PID file", len(f.candidates), f.candidates)
	}
	pid := f.candidates[0]
	p, err := process.Read(pid)
	limit := aloneBusy
	if session, err := unix.Getsid(pid); err == nil && session == pid {
		limit = aloneLeader
	} else if p.State == 'S' {
		limit = aloneAsleep
	}
	if err != nil || unchanged < limit {
		return 0, nil
	}
	return pid, nil
}

// Follow makes a process the daemon.
func (f *Finder) Follow(h *process.Held) {
	if f.program != nil {
		f.predecessors = append(f.predecessors, f.program)
	}
	f.program = h
}

// CameOfProgram reports whether pid is a living descendant of the program or daemon, or a predecessor.
func (f *Finder) CameOfProgram(pid int) bool {
	p, err := process.Read(pid)
	if err != nil || p.Dead() {
		return false
	}
	if start, known := f.newborn[pid]; known && start == p.Start || f.hasBeen(pid, p.Start) {
		return true
	}
	if f.family != nil {
		return f.family.Has(pid)
	}
	return process.IsBelow(pid, f.program.PID)
}

func (f *Finder) hasBeen(pid int, start process.Ticks) bool {
	return slices.ContainsFunc(f.predecessors, func(h *process.Held) bool { return h.PID == pid && h.Start == start })
}

// Successor is the PID of the descendant that the daemon's file names in the daemon's place; 0: none.
func (f *Finder) Successor() int {
	if f.program == nil || f.file == "" {
		return 0
	}
	pid := f.named()
	if pid == 0 || pid == f.program.PID || !f.CameOfProgram(pid) {
		return 0
	}
	return pid
}

// MayReturn reports whether a predecessor lives: it may become the daemon again after a failed upgrade.
func (f *Finder) MayReturn() bool {
	return slices.ContainsFunc(f.predecessors, func(h *process.Held) bool {
		p, err := process.Read(h.PID)
		return h != f.program && err == nil && p.Start == h.Start && !p.Dead()
	})
}

// IsMoving reports whether a successor may still write the file that the daemon has renamed. since is when
// the file was first seen to be gone.
func (f *Finder) IsMoving(since, now time.Time, settle time.Duration) bool {
	if f.program == nil {
		return false
	}
	f.noteNewborn(since)
	for pid, start := range f.newborn {
		if p, err := process.Read(pid); err == nil && p.Start == start && !p.Dead() {
			return true
		}
	}
	return now.Sub(since) < settle
}

// LookAgain is when to look again at the daemon's own file, which a successor may be writing; zero: no need.
func (f *Finder) LookAgain(now time.Time) time.Time {
	if f.program == nil || f.named() == f.program.PID {
		f.unnamed = time.Time{}
		return time.Time{}
	}
	if f.unnamed.IsZero() {
		f.unnamed = now
	}
	if now.Sub(f.unnamed) > movePatience {
		return time.Time{}
	}
	f.noteNewborn(f.unnamed)
	return now.Add(lookInterval)
}

// noteNewborn remembers children that the daemon has started since then: when it ends, their parent changes.
func (f *Finder) noteNewborn(since time.Time) {
	children, err := process.Children(f.program.PID)
	if err != nil {
		return // it has ended
	}
	for _, pid := range children {
		p, err := process.Read(pid)
		if err == nil && !p.Dead() && p.StartTime().After(since.Add(-time.Second)) {
			f.newborn[pid] = p.Start
		}
	}
}
