package wrapper

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// terminal is the controlling terminal, whose foreground process group is the
// one that may read it and that ^C reaches; see credentials(7) and
// tcsetpgrp(3).
//
// pidleash does for the program what a shell does for its jobs: when it is in the
// foreground itself it lends the terminal to the program's process group, stops
// when the program is stopped, and lends it again when it is continued. A shell
// that waits for pidleash sees one job, as it would without it.
//
// A program without the terminal on both its standard input and output may be
// part of a pipeline or of a script, whose other commands want the terminal, too:
// it gets the terminal when it asks for it, and is stopped for that.
//
// All of it needs SIGTTOU blocked or ignored, which it is in the thread of the
// loop: who changes the foreground group from the background is stopped
// otherwise.
type terminal struct {
	fd          int
	group       int  // pidleash's own process group
	interactive bool // standard input and output are this terminal
	lent        bool
	key         syscall.Signal // of which the program died, 0: of none
}

// openTerminal returns nil when there is no controlling terminal, tty(4).
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	runtime.LockOSThread() // for blockTTOU and stopGroup
	blockTTOU()
	return &terminal{fd: fd, group: unix.Getpgrp(), interactive: isControlling(0) && isControlling(1)}
}

// isControlling reports that the descriptor is the controlling terminal: of
// others nobody learns the foreground group.
func isControlling(fd int) bool {
	_, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil
}

// blockTTOU is for the calling thread, to which the goroutine must be locked.
func blockTTOU() {
	set := unix.Sigset_t{}
	set.Val[0] = 1 << (syscall.SIGTTOU - 1)
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil)
}

// foreground is the foreground process group, 0 if there is none.
func (t *terminal) foreground() int {
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

// isOurs reports that pidleash's process group is in the foreground.
func (t *terminal) isOurs() bool { return t.foreground() == t.group }

// lend makes the program's group the foreground group, if pidleash's is.
func (t *terminal) lend(group int) {
	if t.isOurs() && t.give(group) {
		t.lent = true
	}
}

// takeBack ends the loan to a group. A program that was killed leaves its own
// jobs in the foreground; but if anybody else is there by now, a shell has
// taken the terminal from pidleash.
func (t *terminal) takeBack(group int) {
	if !t.lent {
		return
	}
	t.lent = false
	if now := t.foreground(); now == group || !hasOthers(now) {
		t.give(t.group)
	}
}

// noteEnd takes note of a program that the terminal has killed by ^C or ^\: by
// such a signal, which pidleash had not sent.
func (t *terminal) noteEnd(status syscall.WaitStatus, sent map[syscall.Signal]bool) {
	sig := status.Signal()
	if t.lent && (sig == syscall.SIGINT || sig == syscall.SIGQUIT) && !sent[sig] {
		t.key = sig
	}
}

// passOn lets pidleash's own process group have the signal that it would have had
// from the terminal together with the program: a script does not run on after
// ^C, nor do the other commands of a pipeline.
func (t *terminal) passOn() {
	if t.key != 0 {
		_ = unix.Kill(0, t.key) // this process forwards it to nobody any more
	}
}

func (t *terminal) give(group int) bool {
	return unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) == nil
}

// hasOthers reports that the process group has members that are not below this
// process.
func hasOthers(group int) bool {
	table, _ := process.Table()
	for pid, p := range table {
		if its, err := unix.Getpgid(pid); err == nil && its == group && !p.Dead() && !below(pid, os.Getpid(), table, nil) {
			return true
		}
	}
	return false
}

// suspend stops pidleash as well when job control has stopped the program, so that
// the shell sees its job stopped, and continues both when the shell says so.
func (l *loop) suspend(sig syscall.Signal) {
	switch {
	case l.terminal == nil:
		return // no terminal, no job control
	case l.cfg.SameGroup:
		l.suspendAlone(sig)
	case sig == syscall.SIGSTOP && !l.terminal.lent:
		// Somebody has stopped the program by hand, not as a job.
	case sig != syscall.SIGTSTP && sig != syscall.SIGSTOP && l.terminal.isOurs():
		l.terminal.lend(l.pid) // it has asked for the terminal
		l.kill(syscall.SIGCONT, toGroup)
	case orphaned():
		// Nobody could continue pidleash. The program would not have been stopped
		// without it: the kernel ignores ^Z for orphaned process groups.
		if sig == syscall.SIGTSTP {
			l.kill(syscall.SIGCONT, toGroup)
		}
	default:
		l.suspendJob(sig)
	}
}

func (l *loop) suspendJob(sig syscall.Signal) {
	lend := l.terminal.lent || l.terminal.interactive
	l.terminal.takeBack(l.pid)
	if sig == syscall.SIGSTOP {
		sig = syscall.SIGTSTP
	}
	l.signals.stop(sig, 0)
	if lend {
		l.terminal.lend(l.pid)
	}
	l.kill(syscall.SIGCONT, toGroup)
}

// suspendAlone is for a program that was started in pidleash's own process group.
// There the terminal has stopped it together with all others but pidleash, and
// the shell may have continued them already. But programs make groups
// themselves, as shells do.
func (l *loop) suspendAlone(sig syscall.Signal) {
	group, err1 := unix.Getpgid(l.pid)
	p, err2 := process.Read(l.pid)
	switch {
	case err1 != nil || err2 != nil || p.State != 'T' || orphaned():
	case sig == syscall.SIGSTOP && group != l.terminal.foreground():
		// As above, by hand.
	case group == l.terminal.group:
		l.signals.stop(sig, os.Getpid())
	default:
		l.signals.stop(sig, 0)
		l.terminal.lend(group)
		_ = unix.Kill(l.pid, syscall.SIGCONT)
	}
}

// orphaned reports that no job control shell looks after pidleash: its parent is
// in another session, as that of a service or of a container's first process.
func orphaned() bool {
	mine, err1 := unix.Getsid(0)
	parents, err2 := unix.Getsid(os.Getppid())
	return os.Getpid() == 1 || err1 != nil || err2 != nil || mine != parents
}

// stop stops pidleash, or with pid 0 its whole process group, which may hold a
// script or the other commands of a pipeline, as the terminal would have. It
// returns when pidleash is continued. The SIGCONT that did it is not forwarded.
func (s *Signals) stop(sig syscall.Signal, pid int) {
	// Otherwise the reader of the signalfd could be faster than the stop.
	s.leave(sig, syscall.SIGCONT)
	// To ignore a signal discards it if it is pending, sigaction(2): one from the
	// terminal would stop pidleash now, and ours a second time.
	handler := swapHandler(sig, sigaction{sigIgn})
	swapHandler(sig, sigaction{})
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (sig - 1)
	_ = unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, &old)
	_ = unix.Kill(pid, sig) // pidleash stops in here
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	swapHandler(sig, handler)
	swapHandler(syscall.SIGCONT, swapHandler(syscall.SIGCONT, sigaction{sigIgn}))
	s.leave()
}

// swapHandler sets a disposition and returns the former one.
func swapHandler(sig syscall.Signal, act sigaction) (old sigaction) {
	rtSigaction(sig, &act, &old)
	return old
}
