package pidfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// File systems such as ext4 give the number of an inode to the next file at once.
func TestHoldRemovesNoLaterFile(t *testing.T) {
	path := in(t, "p.pid")
	pid := program(t)
	write(t, path, line(pid))
	h := Take(path)
	defer h.Close()
	if h.Verdict != Running {
		t.Fatalf("%v: %s", h.Verdict, h.Reason)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, line(pid))
	if err := h.Remove(); err != nil {
		t.Error(err)
	}
	if got := read(t, path); got != string(line(pid)) {
		t.Errorf("the file has %q", got)
	}
}

func TestHoldRemoves(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, line(program(t)))
	h := Take(path)
	defer h.Close()
	for range 2 {
		if err := h.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file: %v", err)
	}
}

func TestTake(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	f := published(t, path, pid)
	h := Take(path)
	defer h.Close()
	if h.Verdict != Running || h.Program == nil || h.Program.PID != pid || h.Holder == nil || h.Holder.PID != os.Getpid() {
		t.Errorf("%+v, want both processes", h)
	}
	f.close()
	h = Take(path)
	defer h.Close()
	if h.Program == nil || h.Holder != nil {
		t.Errorf("%+v, want the program alone", h)
	}
	for name, content := range map[string][]byte{"dead": line(deadPID(t)), "zombie": line(zombie(t)), "empty": nil} {
		write(t, path, content)
		h = Take(path)
		defer h.Close()
		if h.Verdict == Running || h.Program != nil || h.Holder != nil {
			t.Errorf("%s: %+v, want nobody", name, h)
		}
	}
	must(t, os.Remove(path))
	h = Take(path)
	defer h.Close()
	if h.Verdict != Missing {
		t.Errorf("%+v, want it missing", h)
	}
}

// However often the file changes meanwhile, what is held is what it names.
func TestTakeWhileItChanges(t *testing.T) {
	path := in(t, "p.pid")
	pids := []int{program(t), program(t)}
	writeOver(t, path, line(pids[0]))
	changed := make(chan int)
	looks := looksAt(t, path)
	go func() {
		n := 0
		for looks.next() {
			// Not at each: a try has two, and is to succeed now and then.
			if n++; n%3 == 0 {
				writeOver(t, path, line(pids[n/3%2]))
			}
		}
		changed <- n
	}()
	for range 100 {
		h := Take(path)
		if h.Verdict == Running && (h.Program == nil || h.Program.PID != h.PID || pinned(t, h) != h.PID) {
			t.Errorf("%+v holds %+v, and the file names %d", h.Report, h.Program, pinned(t, h))
		}
		h.Close()
	}
	looks.close()
	t.Logf("%d looks", <-changed)
}

// A file that is written in place meanwhile keeps its inode. What it named before is not what is held.
func TestTakeOfAFileWrittenInPlace(t *testing.T) {
	setClock(t, 0)
	path, before, after := in(t, "p.pid"), program(t), program(t)
	write(t, path, line(before))
	now, looks := wallClock.now, 0
	wallClock.now = func() time.Time { // asked for when the content has been read
		if looks++; looks == 1 {
			write(t, path, line(after))
		}
		return now()
	}
	h := Take(path)
	defer h.Close()
	if h.PID != after || h.Program == nil || h.Program.PID != after {
		t.Errorf("%+v holds %+v, and the file names %d", h.Report, h.Program, after)
	}
}

// pinned is what the file names that the hold keeps open.
func pinned(t *testing.T, h *Hold) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", h.pins[0]))
	must(t, err)
	return parsePID(text)
}

// looks tells of each time that a file is opened.
type looks struct {
	events *os.File
	name   string
	buf    []byte
}

func looksAt(t *testing.T, path string) *looks {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	l := &looks{events: os.NewFile(uintptr(fd), "inotify"), name: filepath.Base(path)}
	t.Cleanup(l.close)
	// Of the directory, as the file is often replaced; with the end of each look, so that
	// the kernel does not make one event of two.
	_, err = unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_OPEN|unix.IN_CLOSE_NOWRITE)
	must(t, err)
	return l
}

// next waits for the next look; false: it is closed.
func (l *looks) next() bool {
	for {
		for len(l.buf) >= unix.SizeofInotifyEvent {
			mask := binary.NativeEndian.Uint32(l.buf[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(l.buf[12:]))
			name := string(bytes.TrimRight(l.buf[unix.SizeofInotifyEvent:end], "\x00"))
			l.buf = l.buf[end:]
			if mask&unix.IN_OPEN != 0 && name == l.name {
				return true
			}
		}
		l.buf = make([]byte, 4096)
		n, err := l.events.Read(l.buf)
		if err != nil {
			return false
		}
		l.buf = l.buf[:n]
	}
}

func (l *looks) close() { l.events.Close() }

// Only the file that was looked at is removed.
func TestHoldRemove(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, line(deadPID(t)))
	h := Take(path)
	defer h.Close()
	writeOver(t, path, []byte("another\n"))
	must(t, h.Remove())
	if got := read(t, path); got != "another\n" {
		t.Errorf("it has %q", got)
	}
	h = Take(path)
	defer h.Close()
	must(t, h.Remove())
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("it is not removed: %v", err)
	}
	must(t, h.Remove())
}

// A PID that became another process's between the look and the opening.
func TestHoldRefusesRecycledPID(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, line(program(t)))
	h := &Hold{Report: Inspect(path)}
	defer func() { h.Close() }()
	h.start--
	if err := h.hold(); err != unix.ESRCH {
		t.Errorf("got %v, want ESRCH", err)
	}
}

// A file that has another one's number by now is not the one that was inspected.
func TestHoldPinsWhatWasInspected(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, line(program(t)))
	h := &Hold{Report: Inspect(path)}
	defer func() { h.Close() }()
	writeOver(t, path, line(h.PID))
	if err := h.hold(); err != unix.ESTALE {
		t.Errorf("got %v, want ESTALE", err)
	}
}

// What a file says of another inode, process or holder is not the same.
func TestReportSameAs(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	write(t, path, line(pid))
	before := Inspect(path)
	if !before.sameAs(Inspect(path)) {
		t.Error("an untouched file differs")
	}
	for name, change := range map[string]func(){
		"another inode":   func() { writeOver(t, path, line(pid)) },
		"another process": func() { write(t, path, line(program(t))) },
		"another holder":  func() { lockFile(t, path) },
		"none":            func() { must(t, os.Remove(path)) },
	} {
		must(t, os.RemoveAll(path))
		write(t, path, line(pid))
		before := Inspect(path)
		change()
		if before.sameAs(Inspect(path)) {
			t.Errorf("%s: it is taken for the same", name)
		}
	}
}
