package cli

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/fault"
	"pidleash/internal/sdnotify"
	"pidleash/internal/sys"
)

// Messages. Silent when all is well. One line each: "pidleash: " first, lower case, no full stop, the object named,
// "; hint: " when the remedy is known. In the journal the priority comes in front, sd-daemon(3).

const (
	defaultLogLevel = "warn"
	// logQueue is how many messages may wait for a reader of standard error.
	logQueue = 256
	// logPatience is how long the end of pidleash waits for a reader who does not read.
	logPatience = time.Second
)

// log is the logger and the queue behind it. Whoever logs is never delayed by a reader of standard error who has
// stopped reading.
type log struct {
	hclog.Logger
	queue   chan logged // nil before the first message
	dropped atomic.Int64
	bytes   atomic.Int64  // that were written
	written chan struct{} // closed when the queue is closed and empty
	text    bool
	journal bool
	flushed bool
}

// logged is a line to write, or a descriptor to become standard error.
type logged struct {
	line     []byte
	redirect bool
	fd       int
}

func newLog(level string, json bool) *log {
	l := &log{text: !json, journal: sdnotify.IsJournal(2)}
	l.Logger = hclog.New(&hclog.LoggerOptions{
		Name:        "pidleash",
		Level:       hclog.LevelFromString(level),
		Output:      l,
		JSONFormat:  json,
		DisableTime: !json,
	})
	return l
}

// Write queues a message without a level; hclog uses LevelWrite.
func (l *log) Write(p []byte) (int, error) { return l.LevelWrite(hclog.Info, p) }

// LevelWrite queues a line, or drops and counts it when the queue is full. hclog calls it under a lock of its own.
func (l *log) LevelWrite(level hclog.Level, p []byte) (int, error) {
	if l.queue == nil {
		l.queue, l.written = make(chan logged, logQueue), make(chan struct{})
		go l.write()
	}
	select {
	case l.queue <- logged{line: l.format(level, p)}:
	default:
		l.dropped.Add(1)
	}
	return len(p), nil
}

// format makes one line of our form from hclog's "[WARN]  pidleash: text".
func (l *log) format(level hclog.Level, p []byte) []byte {
	line := strings.TrimRight(string(p), "\n")
	if l.text {
		if _, rest, ok := strings.Cut(line, "] "); ok {
			line = strings.TrimLeft(rest, " ")
		}
		line = fault.Visible(line)
	} else {
		line = fault.Escaped(line)
	}
	if l.journal {
		line = fmt.Sprintf("<%d>%s", priority(level), line)
	}
	return []byte(line + "\n")
}

// priority is that of syslog(3).
func priority(level hclog.Level) int {
	switch level {
	case hclog.Error:
		return 3
	case hclog.Warn:
		return 4
	case hclog.Info:
		return 6
	}
	return 7
}

// write is the goroutine that owns standard error.
func (l *log) write() {
	defer close(l.written)
	// A background process that writes to a terminal with TOSTOP set would be sent SIGTTOU; a thread that blocks it
	// just writes, tty_ioctl(4).
	runtime.LockOSThread()
	var set unix.Sigset_t
	atstart.Store(set.Val[:], 1<<(syscall.SIGTTOU-1))
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil)
	for next := range l.queue {
		l.writeAll(next.line)
		if next.redirect {
			_ = sys.Dup3(next.fd, 2, 0)
			unix.Close(next.fd)
		}
		if n := l.dropped.Swap(0); n > 0 {
			l.writeAll(fmt.Appendf(nil, "pidleash: %d messages lost: standard error was not read\n", n))
		}
	}
}

// writeAll waits for a standard error that somebody has made non-blocking; the flag belongs to the program too and is
// left alone.
func (l *log) writeAll(p []byte) {
	for len(p) > 0 {
		n, err := sys.Write(2, p)
		switch err {
		case nil:
			p = p[n:]
			l.bytes.Add(int64(n))
		case unix.EAGAIN:
			_, _ = sys.Poll([]unix.PollFd{{Fd: 2, Events: unix.POLLOUT}}, -1)
		default:
			return // there is nowhere to report it
		}
	}
}

// Redirect makes fd standard error, once what was logged so far is written. Nobody waits for that: a reader of standard
// error may have stopped reading. The caller may close fd at once.
func (l *log) Redirect(fd int) {
	if l.queue != nil && !l.flushed {
		if own, err := sys.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			select {
			case l.queue <- logged{redirect: true, fd: own}:
				return
			default:
				unix.Close(own)
			}
		}
	}
	_ = sys.Dup3(fd, 2, 0)
}

// flush waits until everything is written, but not for ever. No message may follow.
func (l *log) flush() {
	if l.queue == nil || l.flushed {
		return
	}
	l.flushed = true
	close(l.queue)
	for before := int64(-1); l.bytes.Load() != before; { // somebody reads
		before = l.bytes.Load()
		select {
		case <-l.written:
			return
		case <-passed(logPatience):
		}
	}
}

// passed is time.After without Go's poller: one of the messages is that the poller could not be opened.
func passed(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		for left := unix.NsecToTimespec(d.Nanoseconds()); unix.Nanosleep(&left, &left) == unix.EINTR; {
		}
		close(c)
	}()
	return c
}
