package process

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// Held is one process, whatever becomes of its PID: a signal reaches it or nobody. A child is held by not being
// waited for, anything else by a pidfd, pidfd_open(2). One goroutine uses it: of a child, the one that waits.
type Held struct {
	PID     int
	Group   int   // its process group; 0: one that it shares with others, who are not Members
	Start   Ticks // 0: a child, and /proc is not mounted
	Session int   // 0: /proc is not mounted
	Shell   int   // its parent with job control, whose other children in the group are no Members; 0: there is none

	fd            int          // the pidfd; -1: a child
	users         atomic.Int32 // goroutines that use fd; -1: closed
	ended, reaped <-chan struct{}
	trace         trace
}

// Hold holds the process that has the PID now: who has read the PID earlier compares Start. The error is ESRCH when
// there is none, ENOSYS before Linux 5.3.
func Hold(pid int) (*Held, error) {
	fd, err := sys.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	// After the opening: this is the process with the descriptor, or another one that has started later.
	h, err := read(pid, fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return h, nil
}

// IsRefused reports that the kernel has no such call, or that a sandbox refuses it. It is for calls that have no EPERM
// and no EACCES of their own, as pidfd_open(2), or whose substitute meets the same.
func IsRefused(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
}

// Child holds a child of this process that was not waited for.
func Child(pid, group int) *Held {
	h, _ := read(pid, -1)
	h.Group = group
	return h
}

// Adopt holds a child as one, and anything else by a pidfd, also if it falls to this process later.
func Adopt(pid int) (*Held, error) {
	if _, err := peekChild(pid); err != nil {
		return Hold(pid)
	}
	return read(pid, -1)
}

func read(pid, fd int) (*Held, error) {
	p, err := Read(pid)
	if errors.Is(err, fs.ErrNotExist) {
		err = unix.ESRCH
	}
	return &Held{PID: pid, Group: p.Group, Start: p.Start, Session: p.Session, fd: fd}, err
}

// peekChild is pid when that child has ended, 0 while it lives. The error: it is no child, or was waited for.
func peekChild(pid int) (int, error) { return peek(unix.P_PID, pid, unix.WEXITED|unix.WNOHANG) }

// Same reports that both hold the same process.
func (h *Held) Same(other *Held) bool { return h.PID == other.PID && h.Start == other.Start }

// Regroup reads the group and session of the process again, until the process leads its own group: a daemon may call
// setsid(2) after it was found. With a nil receiver it does nothing.
func (h *Held) Regroup() {
	if h == nil || h.Group == h.PID {
		return
	}
	if p, err := Read(h.PID); err == nil && p.Start == h.Start && p.Group == h.PID {
		h.Group, h.Session = p.Group, p.Session
	}
}

// Signal has the errors of pidfd_send_signal(2): EPERM, and ESRCH when the process has ended and was waited for. One
// that was not waited for takes any signal.
func (h *Held) Signal(sig syscall.Signal) error {
	if h.fd >= 0 {
		return sys.PidfdSendSignal(h.fd, sig)
	}
	if _, err := peekChild(h.PID); err == unix.ECHILD {
		return unix.ESRCH // the PID may be another process's by now
	}
	return sys.Kill(h.PID, sig)
}

// Dead reports that the process has ended, whether or not it was waited for.
func (h *Held) Dead() bool {
	if h.fd < 0 {
		ended, err := peekChild(h.PID)
		return ended != 0 || err == unix.ECHILD
	}
	// A pidfd is readable from the end on; on some kernels also for a moment when another thread calls execve.
	return h.poll(unix.POLLIN, 0) && !lives(h.PID, h.Start)
}

// Wait returns true when the process has ended, false when until has come first; zero waits for ever. Nil has ended.
func (h *Held) Wait(until time.Time) bool { return h == nil || h.await(h.Dead, unix.POLLIN, until) }

// await looks whether it is over at each event of the pidfd.
func (h *Held) await(over func() bool, events int16, until time.Time) bool {
	for !over() {
		limit := time.Hour
		if h.fd < 0 {
			limit = 10 * time.Millisecond // a child has no events here, but for the Reaper
		}
		if !until.IsZero() {
			limit = min(limit, time.Until(until))
		}
		if limit <= 0 {
			return false
		}
		h.poll(events, limit)
	}
	return true
}

// poll ignores the descriptor of a child, -1. It never takes less time than limit; but where a sandbox refuses poll(2)
// it has callers look, every second.
func (h *Held) poll(events int16, limit time.Duration) (ready bool) {
	n, err := sys.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: events}}, int((limit+time.Millisecond-1)/time.Millisecond))
	if err != nil {
		time.Sleep(min(limit, time.Second))
	}
	return n > 0 || err != nil
}

// Ended returns a channel, always the same, that is closed when the process has ended. Nil and a child have none: of
// a child the Reaper tells.
func (h *Held) Ended() <-chan struct{} {
	if h == nil || h.fd < 0 {
		return nil
	}
	return h.after(&h.ended, h.Dead, unix.POLLIN, time.Time{})
}

// Status is how the process has ended, if the kernel tells now: until the parent has waited for it, and after that
// since Linux 6.15. In a container PID 1 may never wait. Of a child only Reaper.Wait tells.
func (h *Held) Status() (status syscall.WaitStatus, known bool) {
	if status, known, _ = exitStatus(h.fd); known || h.fd < 0 {
		return status, known
	}
	// If this process may not read the link exe, proc_pid_stat(5) shows it the status 0. The link is read first: if the
	// process is still there afterwards, it had the PID when the link was read, too.
	_, refused := os.Readlink("/proc/" + strconv.Itoa(h.PID) + "/exe")
	p, err := Read(h.PID)
	return p.Status, err == nil && p.Start == h.Start && p.Dead() && !errors.Is(refused, fs.ErrPermission)
}

// Why tells why the exit status is unknown of a process that has ended and is not a child of this one.
func (h *Held) Why() string {
	switch _, _, err := exitStatus(h.fd); err {
	case nil:
		return "its parent has not waited for it"
	case unix.ESRCH:
		return "its parent does not wait for it"
	}
	return "the kernel tells it since Linux 6.15"
}

// Reaped returns a channel, always the same, that is closed when the parent has waited for the process, when Status
// will never tell, or after limit, which counts from the first call.
func (h *Held) Reaped(limit time.Duration) <-chan struct{} {
	isTold := func() bool { _, known, err := exitStatus(h.fd); return known || err != nil }
	return h.after(&h.reaped, isTold, 0, time.Now().Add(limit)) // POLLHUP need not be asked for
}

// after makes the channel at the first call; it is closed when await has returned.
func (h *Held) after(c *<-chan struct{}, over func() bool, events int16, until time.Time) <-chan struct{} {
	if *c == nil {
		done := make(chan struct{})
		*c = done
		h.users.Add(1)
		go func() {
			h.await(over, events, until)
			h.Close()
			close(done)
		}()
	}
	return *c
}

// Close lets go; of a child it does nothing, and nil has nothing. While Ended or Reaped wait the descriptor stays: no
// other file gets its number.
func (h *Held) Close() {
	if h != nil && h.fd >= 0 && h.users.Add(-1) < 0 {
		unix.Close(h.fd)
	}
}

// ForgetGroup forgets the process group once its process has ended and kill(2) finds no member: then the kernel may
// give the group's number to a stranger. It reports whether the group is forgotten; of nil it is not.
func (h *Held) ForgetGroup() (forgotten bool) {
	if h != nil && h.Group > 1 && h.Dead() && sys.Kill(-h.Group, 0) == unix.ESRCH {
		h.Group = 0
	}
	return h != nil && h.Group == 0
}

// Members are the living processes of the group, which may outlive its leader, without this process. A session whose
// leader is younger than h is a stranger's, with a recycled number: a leader is never younger than its members.
func (h *Held) Members() (map[int]Ticks, error) {
	if h.Group == 0 {
		return nil, nil
	}
	table, err := Table()
	found := map[int]Ticks{}
	if table[h.Session].Start > h.Start {
		return found, err
	}
	for pid, p := range table {
		isOthers := p.Parent == h.Shell && pid != h.PID || pid == os.Getpid()
		if p.Group == h.Group && p.Session == h.Session && !p.Dead() && p.Start >= h.Start && !isOthers {
			found[pid] = p.Start
		}
	}
	return found, err
}
