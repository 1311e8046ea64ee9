package wrapper

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// children tells when there is somebody to wait for. It does not wait itself: two
// that do would steal each other's statuses.
type children struct {
	ended  chan struct{} // a child has ended, or was stopped
	reaped chan struct{} // the answer: it was waited for
	more   chan struct{} // there may be children again
}

// watchChildren comes after each launch. From the first on it tells of the ends of
// all children that this process has and gets: the program, and orphans of its
// descendants. It takes the place of SIGCHLD, which would have to be caught before
// the program is started, and is one switch of threads slower.
func (l *loop) watchChildren() {
	if l.children == nil {
		l.children = &children{ended: make(chan struct{}), reaped: make(chan struct{}), more: make(chan struct{}, 1)}
		go l.children.watch()
		return
	}
	select {
	case l.children.more <- struct{}{}:
	default:
	}
}

// watchOrphans is for the time without a program: children of a process that has
// become pidleash may end, and as PID 1 others may fall to it that are no descendants,
// such as those of a command that was sent into the container.
func (l *loop) watchOrphans() {
	if os.Getpid() == 1 && l.orphaned == nil {
		l.orphaned = make(chan os.Signal, 1)
		signal.Notify(l.orphaned, syscall.SIGCHLD)
	}
	l.watchChildren()
}

// ends tells of an end; nil has none.
func (c *children) ends() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.ended
}

func (c *children) watch() {
	for {
		switch unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil) {
		case nil:
			c.ended <- struct{}{}
			<-c.reaped
		case unix.EINTR:
		default: // ECHILD: nobody can fall to us any more
			<-c.more
		}
	}
}

// reapBatch bounds how many children are reaped before other events get their
// turn.
const reapBatch = 512

// reap waits for every child that has ended, and hears of those that job control
// has stopped.
func (l *loop) reap() {
	for range reapBatch {
		pid := endedChild()
		if pid == 0 {
			break
		}
		if pid == l.pid {
			l.standInEarly()
		}
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(pid, &status, syscall.WNOHANG|syscall.WUNTRACED, nil); err == nil && pid != 0 {
			l.waited(pid, status)
		}
	}
	if l.machine.state == sweeping {
		l.happen(l.survey())
	}
	l.children.reaped <- struct{}{}
}

// endedChild is a child to wait for, 0 if there is none.
func endedChild() int {
	var info unix.Siginfo
	const what = unix.WEXITED | unix.WSTOPPED | unix.WNOWAIT | unix.WNOHANG
	for {
		if err := unix.Waitid(unix.P_ALL, 0, &info, what, nil); err != unix.EINTR {
			break
		}
	}
	// si_pid, sigaction(2), is 0 if there is none. It comes behind three ints, where a
	// pointer can stand.
	const word = unsafe.Sizeof(uintptr(0))
	const place = (3*unsafe.Sizeof(info.Signo) + word - 1) / word * word
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), place)))
}

func (l *loop) waited(pid int, status syscall.WaitStatus) {
	switch {
	case status.Stopped():
		if pid == l.pid {
			l.happen(event{kind: halted, signal: status.StopSignal()})
		}
	case pid != l.pid && pid != l.commandPID && l.machine.state == finding:
		l.orphan = &status // it may have been the daemon
	case pid == l.pid && l.hasSuccessor():
		// The daemon has ended because another one has taken its place.
	case pid == l.pid:
		l.pid, l.neighbour, l.readyMet = 0, nil, nil
		var key syscall.Signal
		if l.terminal != nil {
			l.terminal.noteEnd(status, l.sent)
			l.terminal.takeBack(pid)
			key = l.terminal.key
		}
		l.happen(event{kind: exited, status: status, signal: key})
	case pid == l.commandPID:
		l.commandPID = 0
		l.happen(event{kind: commandDone})
	}
}

// survey tells whether anything is left to wait for that came of the program.
func (l *loop) survey() event {
	if l.beside {
		if left, err := l.groupMembers(); err != nil || len(left) == 0 {
			return event{kind: emptied}
		}
		return event{kind: remaining}
	}
	if unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil) == unix.ECHILD {
		return event{kind: emptied}
	}
	left, err := descendants(os.Getpid(), l.strangers)
	if err == nil && len(left) == 0 && len(l.strangers) > 0 {
		return event{kind: emptied}
	}
	l.sweepNewcomers(left)
	return event{kind: remaining}
}

// sweepNewcomers gives descendants the signal that all others have had: they were
// being forked at that moment.
func (l *loop) sweepNewcomers(left map[int]process.Ticks) {
	if l.sweptBy == 0 {
		return
	}
	for pid, start := range left {
		if had, known := l.swept[pid]; known && had == start {
			continue
		}
		l.swept[pid] = start
		for _, a := range kills(l.sweptBy, toTree) {
			killExactly(pid, start, a.signal)
		}
	}
}
