package wrapper

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"pidleash/internal/daemon"
	"pidleash/internal/machine"
	"pidleash/internal/pidfile"
	"pidleash/internal/process"
)

// seek looks once for the daemon that the program has become. It answers Found, Unready, or nothing.
func seek(l *loop) {
	pid, err := l.program.finder.Look(time.Now())
	if pid != 0 && err == nil {
		err = followFirst(l, pid)
	}
	switch {
	case errors.Is(err, pidfile.ErrLostRace), errors.Is(err, daemon.ErrNotAlive):
		// Try again: the file may soon name another process. Otherwise the start timeout ends the search.
	case err != nil:
		l.answer(machine.Event{Kind: machine.Unready, Err: notUp(l, err)})
	case pid != 0:
		l.answer(machine.Event{Kind: machine.Found, Own: l.program.finder.IsStarted(pid)})
	}
}

// followFirst makes the daemon the program.
func followFirst(l *loop, pid int) error {
	finder := l.program.finder
	h, err := holdDaemon(l, pid)
	if err != nil {
		return err
	}
	if l.leash.lock != nil {
		if l.leash.file, err = l.leash.lock.Publish(pid); err != nil {
			h.Close()
			return err
		}
	}
	if parent := finder.Parent(pid); parent != 0 && l.plan.Beside() {
		l.log.Warn(fmt.Sprintf("PID %d is the child of PID %d, which has not ended after %v; the service manager does not see its end", pid, parent, daemon.ParentPatience))
	}
	l.log.Info(fmt.Sprintf("PID %d is the daemon", pid))
	l.program.follow(h)
	finder.Follow(h, time.Now())
	return nil
}

// holdDaemon holds a process that came of the program: by a pidfd if it is another process's child.
func holdDaemon(l *loop, pid int) (*process.Held, error) {
	h, err := process.Adopt(pid)
	if err != nil {
		if process.IsRefused(err) {
			return nil, noPidfd("pidfd_open(2), Linux 5.3", err)
		}
		return nil, daemon.ErrNotAlive
	}
	if !l.program.finder.CameOfProgram(pid) { // another process has this PID by now
		h.Close()
		return nil, daemon.ErrNotAlive
	}
	return h, nil
}

// seekSuccessor looks for the process that takes an ended daemon's place.
func seekSuccessor(l *loop) {
	e, ok := followSuccessor(l)
	if !ok {
		finder := l.program.finder
		if l.leash.file.IsProgramsOwn() {
			finder.Wrote()
		}
		pid, more := finder.Next(time.Now(), l.program.end)
		switch {
		case pid == 0 && !more:
			reportUnfollowed(l)
			l.answer(machine.Event{Kind: machine.NoSuccessor})
			return
		case pid == 0 || !followNext(l, pid):
			return
		}
		l.leash.rewrite(pid)
		e.Kind = machine.Present
	}
	l.answer(machine.Event{Kind: machine.Succeeded})
	l.answer(e)
}

// followSuccessor follows the process that the daemon's file now names, if there is one. Once the path is unlocked the
// file may be another start's, and the program of that start is no successor.
func followSuccessor(l *loop) (e machine.Event, ok bool) {
	pid := l.program.finder.Successor()
	if pid == 0 || l.leash.lock == nil || !followNext(l, pid) {
		return e, false
	}
	return l.leash.name(pid), true
}

// followNext makes the daemon's successor the program.
func followNext(l *loop, pid int) bool {
	h, err := holdDaemon(l, pid)
	if err != nil {
		return false
	}
	before := cmp.Or(l.program.held, l.program.last)
	l.log.Info(fmt.Sprintf("PID %d is succeeded by PID %d, following that", before.PID, pid))
	l.program.follow(h)
	l.program.finder.Follow(h, time.Now())
	return true
}

// look looks at the path of the PID file.
func look(l *loop) machine.Event {
	l.program.held.Regroup() // while it lives: the stop command may end it
	finder := l.program.finder
	if finder == nil || !finder.Known() || l.program.held == nil { // seekSuccessor looks for one
		_, e := l.leash.look()
		return e
	}
	l.program.last.ForgetGroup()
	finder.Note(l.program.last)
	if l.leash.followWatch != nil {
		if e, ok := followSuccessor(l); ok {
			return e
		}
		l.leash.again = at(finder.LookAgain(time.Now()))
	}
	state, e := l.leash.look()
	switch {
	case state == pidfile.Replaced || state == pidfile.Changed:
		if e, ok := followSuccessor(l); ok {
			return e
		}
	case e.Linked && finder.IsMoving(l.leash.goneSince, time.Now(), l.plan.Settle):
		return machine.Event{Kind: machine.Moving}
	}
	return e
}
