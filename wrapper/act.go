package wrapper

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/machine"
	"pidleash/internal/plan"
	"pidleash/internal/signals"
)

// signaled handles a received signal. If it was sent to a process group that the program shares, the kernel
// has sent it to the program as well; but when a terminal hangs up, only the session leader gets the HUP.
func (l *loop) signaled(r signals.Received) {
	if r.Signal == l.plan.Restart.Signal {
		l.happen(machine.Event{Kind: machine.Asked})
		return
	}
	delivered := r.ToGroup && l.plan.SameGroup && l.program.held != nil && !(r.Signal == syscall.SIGHUP && leadsSession())
	l.happen(machine.Event{Kind: machine.Signaled, Signal: r.Signal, Delivered: delivered})
}

func leadsSession() bool {
	session, err := unix.Getsid(0)
	return err == nil && session == unix.Getpid()
}

func (l *loop) kill(sig syscall.Signal, to machine.Target) {
	whom, err := l.program.send(sig, to)
	l.log.Debug(fmt.Sprintf("sending %s to %s", plan.SignalName(sig), whom))
	if errors.Is(err, unix.ESRCH) && (l.plan.Forking || !l.role.isParent) {
		return // the program has ended, and an event will report that
	}
	if err != nil {
		l.log.Warn(fmt.Sprintf("cannot send %s to %s: %v", plan.SignalName(sig), whom, err))
	}
}

// suspend stops pidleash too when job control has stopped the program.
func (l *loop) suspend(a machine.Action) {
	if l.terminal.Suspended(l.program.pid(), a.Signal, l.signals.StopSelf) {
		l.kill(syscall.SIGCONT, machine.ToGroup)
	}
}

// placeholder makes the PID file name the keeper while no program runs.
func (l *loop) placeholder() {
	l.relay.Idle()
	l.program.reaper.WatchOrphans()
	if l.leash.file != nil || l.program.launches > 0 {
		l.leash.placeholder()
		return
	}
	if err := l.leash.begin(); err != nil {
		l.answer(failedLaunch(err))
	}
}
