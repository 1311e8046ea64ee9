package process

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// Reaper tells when there is a child to wait for, or an orphan that has fallen to this process. SIGCHLD would have to
// be caught before the launch, and is one switch of threads slower. It does not wait itself: two that do would steal
// each other's statuses. One goroutine answers C by Next and Wait, child by child, and then by Done.
type Reaper struct {
	ended  chan struct{}  // a child has ended, or was stopped
	reaped chan struct{}  // the answer: it was waited for
	more   chan os.Signal // there may be children again
}

// NewReaper does not start anything yet.
func NewReaper() *Reaper { return &Reaper{nil, make(chan struct{}), make(chan os.Signal, 1)} }

// Watch comes after each launch.
func (r *Reaper) Watch() {
	if r.ended == nil {
		r.ended = make(chan struct{})
		go r.watch()
	}
	select {
	case r.more <- syscall.SIGCHLD:
	default:
	}
}

// WatchOrphans is for the time without a program. Earlier children may end, and others than descendants may fall to
// PID 1, as of a command that was sent into the container.
func (r *Reaper) WatchOrphans() {
	if os.Getpid() == 1 {
		signal.Notify(r.more, syscall.SIGCHLD)
	}
	r.Watch()
}

// C delivers when somebody is to be waited for. Nil before the first Watch.
func (r *Reaper) C() <-chan struct{} { return r.ended }

func (r *Reaper) watch() {
	for {
		if _, err := peek(unix.P_ALL, 0, unix.WEXITED|unix.WSTOPPED); err != nil {
			<-r.more // ECHILD: nobody can fall to this process, except to PID 1
			continue
		}
		r.ended <- struct{}{}
		<-r.reaped
	}
}

// Next is a child that has ended or was stopped, and was not waited for; 0: none.
func (r *Reaper) Next() (pid int) {
	pid, _ = peek(unix.P_ALL, 0, unix.WEXITED|unix.WSTOPPED|unix.WNOHANG)
	return pid
}

// Wait waits for a child that Next has named; false: there is nothing to tell of it.
func (r *Reaper) Wait(pid int) (status syscall.WaitStatus, ok bool) {
	got, err := sys.Wait4(pid, &status, syscall.WNOHANG|syscall.WUNTRACED)
	return status, err == nil && got != 0
}

// Done goes on watching: after the last Next, once for each delivery of C.
func (r *Reaper) Done() { r.reaped <- struct{}{} }

// noChildren is what the kernel says: there is no child, living or not.
func noChildren() bool {
	_, err := peek(unix.P_ALL, 0, unix.WEXITED|unix.WNOHANG)
	return err == unix.ECHILD
}
