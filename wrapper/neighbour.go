package wrapper

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// neighbour is a program that is not this process's child: the watchdog beside it
// holds it by a pidfd, which always means the same process.
type neighbour struct {
	*process.Handle
	group   int           // its process group, 0 when it shares that with who started it
	session int           // its session
	ended   chan struct{} // closed when it has ended; nil: somebody has taken note of that
}

// openNeighbour is for a process that cannot be recycled meanwhile.
func openNeighbour(pid int) (*neighbour, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, pidfdError(err)
	}
	group, _ := unix.Getpgid(pid)
	return newNeighbour(pid, fd, group), nil
}

func pidfdError(err error) error {
	if err == unix.ENOSYS {
		return errors.New("a watchdog beside the program needs pidfd_open(2), Linux 5.3")
	}
	return fmt.Errorf("pidfd: %w", err)
}

func newNeighbour(pid, fd, group int) *neighbour {
	n := &neighbour{Handle: process.HandleOf(pid, fd), group: group, ended: make(chan struct{})}
	n.session, _ = unix.Getsid(pid)
	go func(ended chan<- struct{}) {
		n.Wait(time.Time{})
		close(ended)
	}(n.ended)
	return n
}

// ends tells of the end; nil has none.
func (n *neighbour) ends() <-chan struct{} {
	if n == nil {
		return nil
	}
	return n.ended
}

// reapLimit is how long the parent of a program that has ended may take to wait for
// it.
const reapLimit = time.Second

// status is how it has ended; ok is false where the kernel does not tell
// (PIDFD_INFO_EXIT of ioctl_pidfd(2), Linux 6.15). It does when the parent has
// waited for the program, which a pidfd reports as POLLHUP.
func (n *neighbour) status() (status syscall.WaitStatus, ok bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	for until := time.Now().Add(reapLimit); ; {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n.FD()), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
		// ESRCH: gone, and nothing was kept.
		if errno != 0 && errno != unix.EINTR {
			return 0, false
		}
		if info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return syscall.WaitStatus(info.Exit_code), true
		}
		left := time.Until(until)
		if left <= 0 || info.Supported_mask != 0 && info.Supported_mask&unix.PIDFD_INFO_EXIT == 0 {
			return 0, false
		}
		info.Mask = unix.PIDFD_INFO_EXIT
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(n.FD())}}, int(left.Milliseconds())+1)
	}
}

// groupMembers are the living processes of the groups of the program and of those
// that have handed over to it.
func (l *loop) groupMembers() (map[int]process.Ticks, error) {
	all, err := l.neighbour.members()
	if err != nil {
		return nil, err
	}
	for _, n := range l.former {
		members, err := n.members()
		if err != nil {
			return nil, err
		}
		maps.Copy(all, members)
	}
	return all, nil
}

// members are the living processes of its group, which outlives it. The number of
// a group can be recycled, together with that of its session it is not.
func (n *neighbour) members() (map[int]process.Ticks, error) {
	found := map[int]process.Ticks{}
	if n.group == 0 {
		return found, nil
	}
	table, err := process.Table()
	if err != nil {
		return nil, err
	}
	for pid, p := range table {
		if p.Dead() || p.Start < n.Start || pid == os.Getpid() {
			continue
		}
		if group, err := unix.Getpgid(pid); err != nil || group != n.group {
			continue
		}
		if session, err := unix.Getsid(pid); err == nil && session == n.session {
			found[pid] = p.Start
		}
	}
	return found, nil
}
