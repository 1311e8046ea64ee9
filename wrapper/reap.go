package wrapper

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// children tells when there is somebody to wait for. It does not wait itself: two
// that do would steal each other's statuses.
type children struct {
	ended  chan struct{} // a child has ended
	reaped chan struct{} // the answer: no ended child is left
}

// watchChildren needs at least one child, and tells of the ends of all that this
// process has and gets: the program, and orphans of its descendants. It is
// over when there is none left. It takes the place of SIGCHLD, which would
// have to be caught before the program is started, and is one switch of threads
// slower.
func watchChildren() *children {
	c := &children{ended: make(chan struct{}), reaped: make(chan struct{})}
	go c.watch()
	return c
}

func (c *children) watch() {
	for {
		switch unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil) {
		case nil:
			c.ended <- struct{}{}
			<-c.reaped
		case unix.EINTR:
		default: // ECHILD: nobody can fall to us any more
			return
		}
	}
}

// reapBatch bounds how many children are reaped before other events get their
// turn.
const reapBatch = 512

// reap waits for every child that has ended.
func (l *loop) reap() {
	defer func() { l.children.reaped <- struct{}{} }()
	for range reapBatch {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil || pid == 0: // ECHILD, or nobody has ended
			return
		case pid == l.pid:
			l.pid = 0
			l.happen(event{kind: exited, status: status})
			return
		}
	}
}
