package wrapper

import (
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
		l.answer(machine.Event{Kind: machine.Found})
	}
}

// followFirst makes the daemon the program.
func followFirst(l *loop, pid int) error {
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
	l.program.follow(h)
	l.program.finder.Follow(h)
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

// seekSuccessor looks for the process that takes an ended daemon's place: a new one or a predecessor.
func seekSuccessor(l *loop) {
	if e, ok := followSuccessor(l); ok {
		l.answer(machine.Event{Kind: machine.Succeeded})
		l.answer(e)
		return
	}
	if !l.program.finder.MayReturn() {
		l.answer(machine.Event{Kind: machine.NoSuccessor})
	}
}

// followSuccessor follows the process that the daemon's file now names, if there is one, and makes the PID file name
// it too.
func followSuccessor(l *loop) (machine.Event, bool) {
	finder := l.program.finder
	if finder == nil || l.leash.file == nil {
		return machine.Event{}, false
	}
	pid := finder.Successor()
	if pid == 0 {
		return machine.Event{}, false
	}
	h, err := holdDaemon(l, pid)
	if err != nil {
		return machine.Event{}, false
	}
	before := l.program.held
	if before == nil {
		before = l.program.last
	}
	l.log.Info(fmt.Sprintf("PID %d is succeeded by PID %d, following that", before.PID, pid))
	l.program.follow(h)
	finder.Follow(h)
	return machine.Event{Kind: l.leash.name(pid)}, true
}

// look looks at the path of the PID file.
func look(l *loop) machine.Event {
	finder := l.program.finder
	if finder == nil || !finder.Known() || l.program.held == nil { // seekSuccessor looks for one
		_, e := l.leash.look()
		return e
	}
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
	case state == pidfile.Removed && l.leash.file.MovedAway() && finder.IsMoving(l.leash.goneSince, time.Now(), l.plan.Settle):
		return machine.Event{Kind: machine.Moving}
	}
	return e
}
