// Package terminal lends the controlling terminal to the program and takes it back.
//
// The foreground process group is the one that may read the terminal and that ^C reaches; see credentials(7) and
// tcsetpgrp(3). pidleash does for the program what a shell does for its jobs: in the foreground itself it lends the
// terminal to the program's process group, stops when the program is stopped, and lends it again when it is
// continued. A shell that waits for pidleash sees one job, as without it.
//
// A program without the terminal on both its standard input and output may be part of a pipeline or of a script,
// whose other commands want the terminal, too. It gets the terminal once it asks for it; the kernel stops it for
// that.
//
// Who changes the foreground group from the background is stopped, unless SIGTTOU is blocked: Open locks the
// goroutine to its thread and blocks it there. All methods are for that goroutine.
package terminal

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/process"
	"pidleash/internal/sys"
)

// Terminal is the controlling terminal. Without one it is nil, and its methods do nothing.
type Terminal struct {
	fd          int
	group       int  // pidleash's own process group
	sameGroup   bool // the program starts in it
	interactive bool // standard input and output are this terminal
	lent        bool
	key         syscall.Signal // of the key that has killed the program; 0: none has
}

// Open returns nil when there is no controlling terminal, tty(4). sameGroup: the program starts in pidleash's process
// group, and has the terminal as pidleash has it.
func Open(sameGroup bool) *Terminal {
	fd, err := sys.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	runtime.LockOSThread()
	var blocked unix.Sigset_t
	atstart.Store(blocked.Val[:], 1<<(syscall.SIGTTOU-1))
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, nil)
	interactive := isControlling(0) && isControlling(1)
	return &Terminal{fd: fd, group: unix.Getpgrp(), sameGroup: sameGroup, interactive: interactive}
}

// isControlling reports whether the descriptor is the controlling terminal: for other files TIOCGPGRP is refused.
func isControlling(fd int) bool {
	_, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil
}

// Lend is for the start of the program: it returns the descriptor of the terminal whose foreground the child is to
// take for its own process group, and counts it as lent; 0: none. After a start that failed, TakeBack.
func (t *Terminal) Lend() (fd int) {
	if t == nil || t.sameGroup || !t.interactive || !t.isOurs() {
		return 0
	}
	t.lent = true
	return t.fd
}

// TakeBack ends the loan to a group, if there is one. A program that was killed leaves its own jobs in the
// foreground; but if anybody else is there by now, a shell has taken the terminal from pidleash.
func (t *Terminal) TakeBack(group int) {
	if t == nil || !t.lent {
		return
	}
	t.lent = false
	if now := t.foreground(); now == group || !process.HasOthers(now) {
		t.give(t.group)
	}
}

// Ended takes the terminal back from the group of a program that has ended. It returns the key's signal, INT (^C) or
// QUIT (^\), if the terminal has killed the program by it: pidleash had not sent it; 0: it has not.
func (t *Terminal) Ended(status syscall.WaitStatus, group int, sent func(syscall.Signal) bool) (key syscall.Signal) {
	if t == nil {
		return 0
	}
	t.key = 0
	if sig := status.Signal(); t.lent && (sig == syscall.SIGINT || sig == syscall.SIGQUIT) && !sent(sig) {
		t.key = sig
	}
	t.TakeBack(group)
	return t.key
}

// PassOn sends pidleash's own process group the key's signal of the last Ended, as the terminal would have: a script
// does not run on after ^C, nor do the other commands of a pipeline. pidleash gets it, too, and must not forward it.
func (t *Terminal) PassOn() {
	if t != nil && t.key != 0 {
		_ = sys.Kill(0, t.key)
	}
}

// Suspended stops pidleash as well when the signal of job control has stopped the program, so that the shell sees its
// job stopped, and lends the terminal again when the shell continues pidleash. Then, or if the program is not to stay
// stopped, cont is true, and the caller sends SIGCONT to the program's process group.
//
// stop is signals.Source.StopSelf: it stops pidleash, or with pid 0 its process group, and returns when that is
// continued.
func (t *Terminal) Suspended(pid int, sig syscall.Signal, stop func(sig syscall.Signal, pid int)) (cont bool) {
	switch {
	case t == nil:
		return false // no terminal, no job control
	case t.sameGroup:
		t.suspendedInGroup(pid, sig, stop)
		return false
	case sig == syscall.SIGSTOP && !t.lent:
		return false // somebody has stopped the program by hand, not as a job
	case sig != syscall.SIGTSTP && sig != syscall.SIGSTOP && t.isOurs():
		t.lendTo(pid) // it has asked for the terminal
		return true
	case isOrphaned():
		// Nobody could continue pidleash. Without it the kernel would have ignored ^Z, as in any orphaned group.
		return sig == syscall.SIGTSTP
	}
	lend := t.lent || t.interactive
	t.TakeBack(pid)
	if sig == syscall.SIGSTOP {
		sig = syscall.SIGTSTP
	}
	stop(sig, 0)
	if lend {
		t.lendTo(pid)
	}
	return true
}

// suspendedInGroup is for a program that was started in pidleash's own process group. There the terminal has stopped
// it together with all others but pidleash, and the shell may have continued them already. But programs make groups,
// too.
func (t *Terminal) suspendedInGroup(pid int, sig syscall.Signal, stop func(sig syscall.Signal, pid int)) {
	p, err := process.Read(pid)
	switch {
	case err != nil || p.State != 'T' || isOrphaned():
	case sig == syscall.SIGSTOP && p.Group != t.foreground(): // somebody has stopped it by hand, not as a job
	case p.Group == t.group:
		stop(sig, os.Getpid())
	default:
		stop(sig, 0)
		t.lendTo(p.Group)
		_ = sys.Kill(pid, syscall.SIGCONT)
	}
}

// isOrphaned reports that no job control shell looks after pidleash: its parent is in another session, as that of a
// service or of a container's first process.
func isOrphaned() bool {
	mine, err1 := unix.Getsid(0)
	parents, err2 := unix.Getsid(os.Getppid())
	return os.Getpid() == 1 || err1 != nil || err2 != nil || mine != parents
}

// foreground is the foreground process group, 0 if there is none.
func (t *Terminal) foreground() int {
	group, _ := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return group
}

// isOurs reports that pidleash's process group is in the foreground.
func (t *Terminal) isOurs() bool { return t.foreground() == t.group }

// lendTo makes the group the foreground group, if pidleash's is.
func (t *Terminal) lendTo(group int) {
	if t.isOurs() && t.give(group) {
		t.lent = true
	}
}

func (t *Terminal) give(group int) bool {
	return unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) == nil
}
