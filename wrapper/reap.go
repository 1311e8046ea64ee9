package wrapper

import (
	"fmt"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/daemon"
	"pidleash/internal/machine"
	"pidleash/internal/plan"
)

// reapBatch bounds how many children are reaped before other events get their turn.
const reapBatch = 512

// reap reaps every child that has ended, and notices those that job control has stopped.
func (l *loop) reap() {
	defer l.program.reaper.Done()
	for range reapBatch {
		pid := l.program.reaper.Next()
		if pid == 0 {
			// The survey comes after the last zombie is reaped: each zombie makes a look at /proc slower.
			if l.program.sweeps {
				l.happen(l.program.survey())
			}
			return
		}
		if pid == l.program.pid() && l.program.held.Dead() {
			l.program.held.Regroup() // before the process is reaped: afterwards /proc has no entry for it
			l.happen(machine.Event{Kind: machine.Died})
		}
		if status, ok := l.program.reaper.Wait(pid); ok {
			l.waited(pid, status)
		}
	}
}

func (l *loop) waited(pid int, status syscall.WaitStatus) {
	switch {
	case status.Stopped():
		if pid == l.program.pid() {
			l.happen(machine.Event{Kind: machine.Halted, Signal: status.StopSignal()})
		}
	case pid == l.program.command:
		l.program.command = 0
		l.happen(machine.Event{Kind: machine.CommandEnded})
	case pid == l.program.probe:
		l.program.probe = 0
		l.program.family.Forget(pid)
		l.happen(machine.Event{Kind: machine.Probed, Status: status})
	case pid == l.program.pid():
		l.programEnded(status, true)
	default:
		if l.program.finder != nil {
			l.program.finder.NoteEnd(status)
		}
		if l.log.IsTrace() {
			l.log.Trace("reaped", "pid", pid, "status", plan.Describe(status))
		}
	}
}

// heldEnded handles the end of a program that is held by a pidfd. While there is a caller, the caller reaps
// the program and reports its status.
func (l *loop) heldEnded() {
	p := l.program
	if status, ok := p.reaper.Wait(p.held.PID); ok && !status.Stopped() {
		l.programEnded(status, true) // it had become a child of this process
		return
	}
	p.waiting, p.reaped = true, p.held.Reaped(machine.ReapLimit)
	if l.caller.c() == nil {
		l.endWaited()
	}
}

// explain reads the exit status of a program that another process has reaped.
func (l *loop) explain() {
	l.program.reaped = nil
	if l.program.waiting {
		if l.caller.c() == nil || !l.caller.conn.Gone() { // else a message may still report it
			l.endWaited()
		}
		return
	}
	status, known := l.program.last.Status()
	l.program.end.Status, l.program.end.Known = status, known
	l.reportEnd(status, known)
	l.happen(machine.Event{Kind: machine.Explained, Status: status, Known: known})
}

// endWaited handles a program's end that the caller should have reported, and has not.
func (l *loop) endWaited() {
	if l.program.waiting {
		status, known := l.program.held.Status()
		l.programEnded(status, known)
	}
}

func (l *loop) programEnded(status syscall.WaitStatus, known bool) {
	p := l.program
	key := l.terminal.Ended(status, p.held.Group, func(sig syscall.Signal) bool { return p.sent[sig] })
	p.held, p.last, p.waiting, p.reaped = nil, p.held, false, nil
	waits := l.caller != nil && !l.caller.answered
	p.end = daemon.End{Status: status, Known: known, Untouched: len(p.sent) == 0, BeforeUp: waits}
	if known {
		l.log.Debug("ended", "pid", p.last.PID, "status", plan.Describe(status))
	} else {
		l.log.Debug("ended", "pid", p.last.PID)
		p.reaped = p.last.Reaped(machine.ReapLimit)
	}
	if p.finder != nil {
		p.finder.Started(nil)
	}
	if known && !l.role.isParent && l.caller == nil {
		l.reportEnd(status, known)
	}
	if p.finder == nil || p.finder.Known() {
		l.ready.Close()
	}
	l.happen(machine.Event{Kind: machine.Ended, Status: status, Known: known, Signal: key})
}

// reportEnd logs the end of a program that is not the keeper's child: no exit status of pidleash's shows it.
func (l *loop) reportEnd(status syscall.WaitStatus, known bool) {
	text, isFine := plan.Describe(status), l.role.isParent || plan.IsClean(status) || l.program.reason != ""
	if !known {
		text, isFine = "has ended, its exit status is unknown: "+l.program.last.Why(), !l.role.isParent
	}
	level := hclog.Warn
	if isFine {
		level = hclog.Info
	}
	l.log.Log(level, fmt.Sprintf("PID %d %s", l.program.last.PID, text))
}
