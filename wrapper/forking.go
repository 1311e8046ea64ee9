package wrapper

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
)

// A program that turns itself into a daemon: what was started forks and ends,
// and its descendant falls to pidleash, the subreaper. Which one is it? The one
// that its PID file names; else the only one that pidleash has adopted.

const (
	// aloneAsleep is how long the only child must have been the only one when it
	// waits for something: the middle process of a double fork does not.
	aloneAsleep = 20 * time.Millisecond
	// aloneBusy is the same for one that computes.
	aloneBusy = 500 * time.Millisecond
	// crowdPatience is how long several children may be there before it is clear
	// that they will stay.
	crowdPatience = time.Second
)

// finder remembers what it has seen.
type finder struct {
	adopted []int
	since   time.Time
}

// seek looks for the daemon once. It reports found, unready, or nothing.
func (l *loop) seek() {
	if l.pid != 0 {
		return // what was started has not ended: it is not done
	}
	pid, err := l.findDaemon(time.Now())
	if pid != 0 && err == nil {
		err = l.follow(pid)
	}
	switch {
	case errors.Is(err, pidfile.ErrLostRace), errors.Is(err, errNotAlive):
		// The file is about to name another one, or the time will run out.
	case err != nil:
		l.whyNot = err
		l.queue = append(l.queue, event{kind: unready})
	case pid != 0:
		l.queue = append(l.queue, event{kind: found})
	}
}

// findDaemon returns 0 when it is too early to tell.
func (l *loop) findDaemon(now time.Time) (int, error) {
	if path := l.followed(); path != "" {
		if pid := pidfile.Named(path); pid != 0 && l.cameOfProgram(pid) {
			return pid, nil
		}
	}
	adopted, err := l.adopted()
	switch {
	case err != nil:
		return 0, err
	case len(adopted) == 0 && l.orphan != nil:
		return 0, fmt.Errorf("has left a daemon behind that %s before it was known", plan.Describe(*l.orphan))
	case len(adopted) == 0:
		return 0, errors.New("has ended and has left no daemon behind")
	case l.cfg.Follow != "":
		return 0, nil
	case !slices.Equal(adopted, l.finder.adopted):
		l.finder = finder{adopted, now}
		return 0, nil
	}
	return l.finder.decide(now)
}

// decide about children that have not changed for a while.
func (f *finder) decide(now time.Time) (int, error) {
	unchanged := now.Sub(f.since)
	if len(f.adopted) > 1 {
		if unchanged < crowdPatience {
			return 0, nil
		}
		return 0, fmt.Errorf("has left %d processes behind, PIDs %v: which is the daemon is not clear; hint: -follow FILE, its own PID file", len(f.adopted), f.adopted)
	}
	p, err := process.Read(f.adopted[0])
	if err == nil && (p.State == 'S' && unchanged >= aloneAsleep || unchanged >= aloneBusy) {
		return f.adopted[0], nil
	}
	return 0, nil
}

// followed is the file that the daemon writes its PID to, if any is known.
func (l *loop) followed() string {
	if l.cfg.Follow != "" {
		return l.cfg.Follow
	}
	return l.cfg.PIDFile
}

// adopted lists the living children that came of the program, in order.
func (l *loop) adopted() ([]int, error) {
	children, err := process.Children(os.Getpid())
	if err != nil {
		return nil, err
	}
	living := children[:0]
	for _, pid := range children {
		p, err := process.Read(pid)
		if start, known := l.strangers[pid]; err == nil && !p.Dead() && !(known && start == p.Start) {
			living = append(living, pid)
		}
	}
	slices.Sort(living)
	return living, nil
}

// cameOfProgram reports a living process below pidleash; of a watchdog: below the
// program.
func (l *loop) cameOfProgram(pid int) bool {
	if p, err := process.Read(pid); err == nil && !p.Dead() && l.isRelative(pid, p.Start) {
		return true
	}
	top := l.top()
	for range 1000 { // read in several moments, it could be a circle
		p, err := process.Read(pid)
		start, known := l.strangers[pid]
		switch {
		case err != nil, p.Dead(), known && start == p.Start:
			return false
		case p.Parent == top:
			return true
		case p.Parent <= 1:
			return false
		}
		pid = p.Parent
	}
	return false
}

// isRelative reports a process that the program was seen to start before it renamed
// its file, or that has handed over to the program.
func (l *loop) isRelative(pid int, start process.Ticks) bool {
	if had, known := l.heirs[pid]; known && had == start {
		return true
	}
	return slices.ContainsFunc(l.former, func(n *neighbour) bool { return n.PID == pid && n.Start == start })
}

// top is the process below which everything has come of the program.
func (l *loop) top() int {
	if l.beside {
		return l.pid
	}
	return os.Getpid()
}

// follow makes the daemon the program.
func (l *loop) follow(pid int) error {
	if err := l.hold(pid); err != nil || l.reservation == nil {
		return err
	}
	file, err := l.reservation.Take(pid)
	if err != nil {
		l.pid, l.neighbour = 0, nil
		return err
	}
	l.file = file
	return nil
}

// hold takes a process for the program. One that has another parent is held by a
// pidfd, like a neighbour: it may be the child of a process that looks after it.
func (l *loop) hold(pid int) error {
	p, err := process.Read(pid)
	if err != nil {
		return errNotAlive
	}
	var next *neighbour
	if p.Parent != os.Getpid() {
		if next, err = openNeighbour(pid); err != nil {
			return err
		}
		if !l.cameOfProgram(pid) { // another one by now
			return errNotAlive
		}
	}
	l.pid, l.pgrp, l.neighbour = pid, pid, next
	if group, err := unix.Getpgid(pid); err == nil {
		l.pgrp = group
	}
	return nil
}

var errNotAlive = errors.New("the daemon that its PID file names has ended")

// neighbourEnded takes the end of a daemon that is another process's child, or was.
func (l *loop) neighbourEnded() {
	n := l.neighbour
	n.ended = nil
	if l.hasSuccessor() {
		return
	}
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(n.PID, &status, syscall.WNOHANG, nil); err == nil && pid == n.PID {
		l.waited(pid, status) // it had fallen to us
		return
	}
	status, known := n.status()
	if !known {
		l.cfg.Log.Warn(fmt.Sprintf("PID %d has ended, nobody tells how: it is another process's child", n.PID))
		status = fault.Failed << 8
	}
	l.pid, l.neighbour = 0, nil
	l.happen(event{kind: exited, status: status})
}

// handedOver reports that the file names a new process of the program's, as nginx
// writes it for an upgrade, and goes on with that.
func (l *loop) handedOver() bool {
	if !l.cfg.Forking {
		return false
	}
	pid := pidfile.Named(l.followed())
	if pid == 0 || pid == l.pid || !l.cameOfProgram(pid) {
		return false
	}
	before, former := l.pid, l.neighbour
	if former == nil {
		former = &neighbour{Handle: process.HandleOf(before, -1), group: l.pgrp}
	}
	if err := l.hold(pid); err != nil {
		return false
	}
	l.former = append(l.former, former)
	l.cfg.Log.Info(fmt.Sprintf("PID %d has handed over to PID %d, following that", before, pid))
	return true
}

// returnLimit is how long a process may take to take its place back from the one that
// it has handed over to, when that has ended.
const returnLimit = time.Second

// hasSuccessor reports, at the end of the daemon, that another one has taken its
// place of which nobody has heard yet: a new one, or the one before.
func (l *loop) hasSuccessor() bool {
	if l.machine.state != running || l.file == nil {
		return false
	}
	until := time.Now().Add(returnLimit)
	for !l.handedOver() {
		if !l.formerLives() || time.Now().After(until) {
			return false
		}
		time.Sleep(logInterval)
	}
	l.happen(l.takeOver())
	return true
}

// followSoon is when to look again at the daemon's own PID file, which another
// process is about to write; nil: there is nothing to wait for.
func (l *loop) followSoon(now time.Time) <-chan time.Time {
	if l.followWatch == nil || !l.machine.watching || pidfile.Named(l.cfg.Follow) == l.pid {
		l.followLost = time.Time{}
		return nil
	}
	if l.followLost.IsZero() {
		l.followLost = now
	}
	if now.Sub(l.followLost) > movePatience {
		return nil
	}
	l.noteHeirs(l.followLost)
	return time.After(logInterval)
}

func (l *loop) formerLives() bool {
	return slices.ContainsFunc(l.former, func(n *neighbour) bool {
		p, err := process.Read(n.PID)
		return n.PID != l.pid && err == nil && p.Start == n.Start && !p.Dead()
	})
}

// takeOver makes the PID file that of the new process: it has written it, unless it
// has a file of its own.
func (l *loop) takeOver() event {
	if l.followWatch == nil {
		l.file.SetPID(l.pid)
		return event{kind: sighted, sight: rewritten}
	}
	l.followWatch.Renew()
	if err := l.file.Replace(l.pid); err != nil {
		l.cfg.Log.Warn(err.Error())
	}
	l.watch.Renew()
	return event{kind: sighted, sight: present}
}

// handingOver reports that the program has renamed its file, and may be about to start
// a new process, or has, which will write it anew.
func (l *loop) handingOver() bool {
	if !l.cfg.Forking || !l.file.MovedAway() {
		return false
	}
	suspected := l.machine.suspectAt
	if suspected.IsZero() {
		suspected = time.Now()
	}
	l.noteHeirs(suspected)
	for pid, start := range l.heirs {
		if p, err := process.Read(pid); err == nil && p.Start == start && !p.Dead() {
			return true
		}
	}
	return time.Since(suspected) < l.cfg.Settle
}

// noteHeirs remembers the children that the program has started since then: when it
// ends they have another parent.
func (l *loop) noteHeirs(since time.Time) {
	children, err := process.Children(l.pid)
	if err != nil {
		return // it has ended
	}
	for _, pid := range children {
		p, err := process.Read(pid)
		if err == nil && !p.Dead() && p.StartTime().After(since.Add(-time.Second)) {
			if l.heirs == nil {
				l.heirs = map[int]process.Ticks{}
			}
			l.heirs[pid] = p.Start
		}
	}
}
