package process

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handle holds one process, by a pidfd: whatever becomes of its PID, a signal
// reaches this process or nobody. See pidfd_open(2), Linux 5.3.
type Handle struct {
	PID   int
	Start Ticks
	fd    int
}

// Hold takes hold of the process that has the PID now. The error is ESRCH when
// there is none, ENOSYS before Linux 5.3. Who has learnt of the PID earlier
// compares Start.
func Hold(pid int) (*Handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	// After the opening: if this is the process with the descriptor, or it has ended
	// and the PID is another one's, whose start is a later one.
	p, err := Read(pid)
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, fs.ErrNotExist) {
			err = unix.ESRCH
		}
		return nil, err
	}
	return &Handle{PID: pid, Start: p.Start, fd: fd}, nil
}

// HandleOf takes over a pidfd that was opened when pid was that process's PID; -1:
// none, and only PID and Start are of use.
func HandleOf(pid, fd int) *Handle {
	h := &Handle{PID: pid, fd: fd}
	if p, err := Read(pid); err == nil {
		h.Start = p.Start
	}
	return h
}

// Same reports that both hold the same process.
func (h *Handle) Same(other *Handle) bool { return h.PID == other.PID && h.Start == other.Start }

// FD is the pidfd.
func (h *Handle) FD() int { return h.fd }

// Signal sends a signal, with the errors of pidfd_send_signal(2): ESRCH when the
// process has ended and was waited for, EPERM. A process that has ended and was not
// waited for takes any signal.
func (h *Handle) Signal(sig syscall.Signal) error { return unix.PidfdSendSignal(h.fd, sig, nil, 0) }

// Dead reports that the process has ended, whether or not it was waited for.
func (h *Handle) Dead() bool {
	if h.Signal(0) == unix.ESRCH {
		return true
	}
	p, err := Read(h.PID)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
	}
	return p.Dead()
}

// Wait returns true when the process has ended, false when until has come first;
// zero waits for ever. Nil has ended.
func (h *Handle) Wait(until time.Time) bool {
	if h == nil {
		return true
	}
	for {
		// A pidfd is readable from the end on, pidfd_open(2); on some kernels it was for
		// a moment when a thread other than the first had called execve.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, timeout(until))
		switch {
		case err == unix.EINTR:
		case n > 0 && h.Dead():
			return true
		case n == 0 && !until.IsZero() && !time.Now().Before(until):
			return false
		}
	}
}

// timeout is in milliseconds, as poll(2) takes it, and never too short.
func timeout(until time.Time) int {
	if until.IsZero() {
		return -1
	}
	left := time.Until(until)
	return int(min(max(left, 0)+time.Millisecond-1, time.Hour) / time.Millisecond)
}

// Close lets go; nil has nothing.
func (h *Handle) Close() {
	if h != nil {
		unix.Close(h.fd)
	}
}
