//go:build bench

package bench

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
	"pidleash/integration_test/bench/page"
)

const (
	// signalsPerLife are sent one by one, each after the last has arrived.
	signalsPerLife = 10
	// rest lets a process fall asleep: nobody signals a program without a pause.
	rest = 2 * time.Millisecond
)

// live measures the start, the signals, and the end of a program that ends by
// itself.
func (c *contender) live(t *testing.T) {
	l := c.start(t)
	c.add(page.Start, l.first.at-l.began)
	if c.wrapper != nil {
		for range signalsPerLife {
			time.Sleep(rest)
			sent := now()
			l.kill(l.wrapper, syscall.SIGUSR1)
			c.add(page.Signal, l.report(syscall.SIGUSR1).at-sent)
		}
	}
	if c.pidleash != "" {
		c.add(page.Status, c.run(t, "status", c.pidFile))
	}
	time.Sleep(rest)
	l.kill(l.first.pid, syscall.SIGTERM)
	last := l.report(syscall.SIGTERM).at
	if end := l.wait() - last; c.wrapper != nil {
		c.add(page.End, end)
	}
}

// loseFile measures a removal. Its end is another one, and not counted.
func (c *contender) loseFile(t *testing.T) {
	l := c.start(t)
	l.awaitWatch()
	sent := now()
	bed.Must(t, os.Remove(c.pidFile))
	c.add(page.Removal, l.report(syscall.SIGTERM).at-sent)
	l.wait()
}

// beStopped measures the command stop, until it has returned.
func (c *contender) beStopped(t *testing.T) {
	l := c.start(t)
	l.awaitWatch()
	c.add(page.Stop, c.run(t, "stop", c.pidFile))
	l.report(syscall.SIGTERM)
	l.wait()
}

// run measures a command of pidleash, from before the spawn to its end. Its
// output goes where the messages go.
func (c *contender) run(t *testing.T, words ...string) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	argv := append([]string{c.pidleash}, words...)
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, c.stderr.Fd(), c.stderr.Fd()}}
	begin := now()
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	bed.Must(t, err)
	status := await(t, pid)
	took := now() - begin
	if status != 0 {
		t.Fatalf("%q: status %#x", argv, status)
	}
	return took
}

// goToBackground measures a start with -daemon.
func (c *contender) goToBackground(t *testing.T) {
	reader, err := os.OpenFile(c.fifo, os.O_RDWR, 0)
	bed.Must(t, err)
	defer reader.Close()
	l := &life{t: t, reports: reader}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	argv := c.command(c.probe)
	attr := &syscall.ProcAttr{Env: c.environ(), Files: []uintptr{0, 1, c.stderr.Fd()}}
	begin := now()
	l.wrapper, err = syscall.ForkExec(argv[0], argv, attr)
	bed.Must(t, err)
	l.awaitUp()
	c.add(page.Returns, now()-begin)
	l.first = l.report(0) // it is in the fifo
	c.add(page.Start, l.first.at-begin)
	bed.Must(t, os.Remove(c.pidFile))
	l.report(syscall.SIGTERM)
	c.awaitWatchdog(t)
}

// awaitUp returns when the caller has said that the program is up.
func (l *life) awaitUp() {
	l.t.Helper()
	if status := await(l.t, l.wrapper); status != 0 {
		l.t.Fatalf("the caller ended with the status %#x", status)
	}
}

// environ marks what stays in the background.
func (c *contender) environ() []string { return append(os.Environ(), string(c.mark)) }

// awaitWatchdog returns when nothing of a life in the background is left that
// could take the next one's time.
func (c *contender) awaitWatchdog(t *testing.T) {
	t.Helper()
	if c.fifo != "" {
		c.mark.ExpectNobody(t)
	}
}

// life is one wrapper with its program.
type life struct {
	t       *testing.T
	reports *os.File
	wrapper int
	began   time.Duration
	first   programReport
}

func (c *contender) start(t *testing.T) *life { return c.startProgram(t, c.probe) }

func (c *contender) startProgram(t *testing.T, program ...string) *life {
	// The thread that waits is the one that started: nothing moves in between.
	runtime.LockOSThread()
	reader, writer, err := os.Pipe()
	bed.Must(t, err)
	argv := c.command(program...)
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, c.stderr.Fd(), writer.Fd()}}
	begin := now()
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		t.Fatalf("%s: %v", argv[0], err)
	}
	writer.Close()
	l := &life{t: t, reports: reader, wrapper: pid, began: begin}
	l.first = l.report(0)
	return l
}

// awaitWatch returns when the wrapper, or what it has started for that, has an
// inotify watch, and had time to fall asleep over it.
func (l *life) awaitWatch() {
	l.t.Helper()
	bed.Await(l.t, "the file is watched", func() bool {
		for _, pid := range append(bed.Descendants(l.wrapper), l.wrapper) {
			infos, _ := filepath.Glob(bed.ProcFile(pid, "fdinfo/*"))
			for _, info := range infos {
				if text, _ := os.ReadFile(info); strings.Contains(string(text), "inotify wd:") {
					return true
				}
			}
		}
		return false
	})
	time.Sleep(rest)
}

// programReport is what the program writes.
type programReport struct {
	pid int
	at  time.Duration
}

func (l *life) report(kind syscall.Signal) programReport {
	l.t.Helper()
	var r struct{ Kind, PID, At int64 }
	if err := binary.Read(l.reports, binary.NativeEndian, &r); err != nil {
		l.t.Fatalf("no report of the program: %v", err)
	}
	if r.Kind != int64(kind) {
		l.t.Fatalf("a report of signal %d, want %d", r.Kind, kind)
	}
	return programReport{pid: int(r.PID), at: time.Duration(r.At)}
}

func (l *life) kill(pid int, sig syscall.Signal) {
	l.t.Helper()
	bed.Must(l.t, unix.Kill(pid, sig))
}

// wait returns when the wrapper was seen to have ended.
func (l *life) wait() time.Duration {
	defer runtime.UnlockOSThread()
	defer l.reports.Close()
	await(l.t, l.wrapper)
	return now()
}

func await(t *testing.T, pid int) (status unix.WaitStatus) {
	t.Helper()
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err == nil {
			return status
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

// now reads the clock that the program reads.
func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	return time.Duration(ts.Nano())
}
