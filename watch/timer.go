package watch

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timer ticks at the multiples of a period since the boot, so that the wrappers of a machine wake up together. It is
// one of the kernel's, timerfd_create(2), in Go's poller. After one of Go's own the runtime's monitor, which sleeps for
// 20 µs at a time, and the poller, which counts in milliseconds, take turns until it is due: that is three times as
// many switches. Go's serves where there are too few descriptors, or where the call is refused.
type timer struct {
	fd   int
	file *os.File // of fd; nil: there is none
	go_  *time.Ticker
	end  chan struct{} // closed at the end of go_
	buf  [8]byte
}

// spare is how many descriptors a timer leaves to what cannot be done without them.
const spare = 32

func newTimer(period time.Duration) *timer {
	t := &timer{fd: -1}
	if t.open(); t.file != nil && t.set(period) != nil {
		t.file.Close()
		t.file = nil
	}
	if t.file == nil {
		t.go_, t.end = time.NewTicker(period), make(chan struct{})
	}
	return t
}

func (t *timer) open() {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return
	}
	var limit unix.Rlimit
	file := os.NewFile(uintptr(fd), "timerfd")
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || uint64(fd)+spare > limit.Cur || file.SetReadDeadline(time.Time{}) != nil {
		file.Close() // the last: Go's poller does not take it
		return
	}
	t.fd, t.file = fd, file
}

// set changes the period. The times are valid: it fails only where a sandbox refuses the call.
func (t *timer) set(period time.Duration) error {
	if t.file == nil {
		t.go_.Reset(period)
		return nil
	}
	next := unix.NsecToTimespec((now()/period.Nanoseconds() + 1) * period.Nanoseconds())
	spec := unix.ItimerSpec{Interval: unix.NsecToTimespec(period.Nanoseconds()), Value: next}
	return unix.TimerfdSettime(t.fd, unix.TFD_TIMER_ABSTIME, &spec, nil)
}

// wait returns at the next tick; false: it was stopped.
func (t *timer) wait() bool {
	if t.file != nil {
		_, err := t.file.Read(t.buf[:])
		if err != nil && !errors.Is(err, os.ErrClosed) {
			time.Sleep(FastPoll) // it tells nothing, and somebody has to look
			return true
		}
		return err == nil
	}
	select {
	case <-t.go_.C:
		return true
	case <-t.end:
		return false
	}
}

func (t *timer) stop() {
	if t.file != nil {
		t.file.Close()
		return
	}
	t.go_.Stop()
	close(t.end)
}

// now is the time since the boot in nanoseconds, CLOCK_MONOTONIC.
func now() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
