// Package reserve has all there that stopping a program will need, before the program is. A program can use up the
// processes of its user and of its control group, and Go ends a process that gets no thread when it wants one, or no
// descriptors for its poller: newosproc in runtime/os_linux.go, netpollinit in runtime/netpoll_epoll.go.
//
// It does not promise memory, nor what the whole system may run out of later.
package reserve

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/sys"
)

// descriptors are as many as are open at the same time and are opened later: of inotify four, of Go's poller two, files
// of -stdout and -stderr, the latter twice, a held process, two PID files and a directory, two names in /proc.
const descriptors = 15

// Descriptors looks whether so many are free, and opens Go's poller, when it is called for the first time. An error
// names the call that was refused; then no timer may be set, and no file polled.
var Descriptors = sync.OnceValue(func() error {
	if err := probe(); err != nil {
		return err
	}
	time.AfterFunc(time.Hour, func() {}).Stop() // the first timer opens it
	return nil
})

func probe() error {
	var free []int
	defer func() {
		for _, fd := range free {
			unix.Close(fd)
		}
	}()
	for len(free) < descriptors {
		call, fd, err := "fcntl(2)", 0, error(nil)
		switch len(free) {
		case 0:
			call = "epoll_create1(2)"
			fd, err = sys.EpollCreate1(unix.EPOLL_CLOEXEC)
		case 1:
			call = "eventfd2(2)"
			fd, err = sys.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		default:
			fd, err = sys.FcntlInt(uintptr(free[0]), unix.F_DUPFD_CLOEXEC, 0)
		}
		if err != nil {
			return lack(call, err)
		}
		free = append(free, fd)
		if len(free) == 2 {
			if err := sys.EpollCtl(free[0], unix.EPOLL_CTL_ADD, free[1], &unix.EpollEvent{}); err != nil {
				return lack("epoll_ctl(2)", err)
			}
		}
	}
	return nil
}

// Calls asks for those that nothing can stand in for when a program is to be stopped and waited for. Of this process
// itself they tell nothing, and do nothing.
func Calls() error {
	self := os.Getpid()
	_, wait4 := sys.Wait4(self, nil, unix.WNOHANG)
	for _, c := range []struct {
		name      string
		err, want error
	}{
		{"kill(2)", sys.Kill(self, 0), nil},
		{"waitid(2)", sys.Waitid(unix.P_PID, self, nil, unix.WEXITED|unix.WNOHANG), unix.ECHILD},
		{"wait4(2)", wait4, unix.ECHILD},
	} {
		if c.err != c.want {
			return lack(c.name, c.err)
		}
	}
	return nil
}

// Right is refused where this process may become a user, and then may not signal that user's processes, kill(2): to
// some containers setuid(2) is left alone.
func Right(user uint32) error {
	real, effective, _ := unix.Getresuid()
	if user == uint32(real) || user == uint32(effective) {
		return nil
	}
	var sets [2]unix.CapUserData
	err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0])
	if err != nil || sets[0].Effective&(1<<unix.CAP_SETUID|1<<unix.CAP_KILL) != 1<<unix.CAP_SETUID {
		return nil
	}
	problem := fmt.Sprintf("pidleash could not signal a program of user %d", user)
	return &fault.Error{Object: "CAP_KILL", Problem: problem, Hint: "let pidleash have it, or leave -user out"}
}

func lack(call string, err error) error {
	switch err {
	case unix.EMFILE:
		problem := fmt.Sprintf("pidleash needs %d more", descriptors)
		return &fault.Error{Object: "open files", Problem: problem, Err: err, Hint: "ulimit -n, or LimitNOFILE= in a unit"}
	case unix.ENFILE:
		return &fault.Error{Object: "open files", Problem: "the system has none left", Err: err, Hint: "sysctl fs.file-max"}
	}
	return &fault.Error{Object: call, Problem: "is needed, and was refused", Err: err, Hint: "allow it in the sandbox"}
}

// What may be in the kernel or run at the same time, and so have a thread each.
const (
	runners = 2 // that run Go code
	// Always: the loop, its Reaper, the queue of messages, and package notify or the link to a caller. Whoever has
	// nothing to run waits in the poller.
	waiters = 4
)

// Threads has as many exist as are ever needed beside those of os/signal, which must exist before, with more goroutines
// that wait in the kernel beside those that every run has. It returns when they do.
//
// Idle threads are never given back, and a goroutine that is locked to its thread keeps it from all others: so many of
// them at the same time have so many threads.
func Threads(more int) {
	runtime.GOMAXPROCS(min(runners, runtime.GOMAXPROCS(0))) // and the runtime does not raise it by itself any more
	n := int32(runners + waiters + more)
	var here atomic.Int32
	all := make(chan struct{})
	join := func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if here.Add(1) == n {
			close(all)
		}
		<-all
	}
	for range n - 1 {
		go join()
	}
	join()
}
