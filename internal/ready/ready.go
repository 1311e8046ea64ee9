// Package ready reports when a program is up, as -ready asks: at once, after a while, by sd_notify(3), by a newline
// on a descriptor, by what it writes to its logs, or by a connection that it accepts. The command of -ready is the
// loop's, which alone waits for children.
//
// Call Prepare before the launch, Launched and Await after it. C then delivers once, unless Close comes first. The
// package does not watch for the program's end: call Close then.
package ready

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/internal/safeopen"
	"pidleash/internal/sys"
)

// Waiter waits for one start of the program. Its methods belong to one goroutine.
type Waiter struct {
	ready       *plan.Ready
	logs        []*Log
	met         chan error     // gets one element: the result
	c           <-chan error   // met; nil: closed
	stop        chan struct{}  // closed by Close
	notify      sync.WaitGroup // the goroutine that reads Await's channel
	read, write *os.File       // the pipe of plan.ReadyFD
}

// Prepare makes a Waiter, which has copies of the logs.
func Prepare(r *plan.Ready, logs []*Log) (w *Waiter, err error) {
	w = &Waiter{ready: r, met: make(chan error, 1), stop: make(chan struct{})}
	for _, l := range logs {
		w.logs = append(w.logs, new(*l))
	}
	w.c = w.met
	if r.Kind == plan.ReadyLog && len(logs) == 0 {
		return nil, &fault.Error{Object: "-ready log", Problem: "neither -stdout nor -stderr is a regular file", Hint: "-ready-file FILE"}
	}
	if r.Kind != plan.ReadyFD {
		return w, nil
	}
	object := fmt.Sprintf("-ready fd:%d", r.FD)
	if isSocketOfManager(r.FD) {
		return nil, &fault.Error{Object: object, Problem: "the service manager has passed a socket there", Hint: "a higher number"}
	}
	// A pipe of package os: Close interrupts its reader, while descendants may hold the other end for long.
	if w.read, w.write, err = os.Pipe(); err != nil {
		return nil, &fault.Error{Object: object, Problem: "cannot make a pipe", Err: err}
	}
	return w, nil
}

// isSocketOfManager reports whether fd is a socket from the service manager, sd_listen_fds(3).
func isSocketOfManager(fd int) bool {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	return err == nil && fd < plan.FirstFD+n && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid())
}

// Inherit is the program's end of the pipe, and its descriptor number there; not after Launched.
func (w *Waiter) Inherit() (fd, to int, ok bool) {
	if w == nil || w.write == nil {
		return 0, 0, false
	}
	return int(w.write.Fd()), w.ready.FD, true // Fd makes it blocking
}

// Launched closes the program's end of the pipe here.
func (w *Waiter) Launched() {
	if w != nil && w.write != nil {
		w.write.Close()
		w.write = nil
	}
}

// Await begins to wait. notified delivers the result for plan.ReadyNotify.
func (w *Waiter) Await(notified <-chan error) {
	switch w.ready.Kind {
	case plan.ReadyExec:
		w.met <- nil
	case plan.ReadyAfter:
		time.AfterFunc(w.ready.After, func() { w.met <- nil })
	case plan.ReadyNotify:
		w.notify.Go(func() {
			select {
			case err := <-notified:
				w.met <- err
			case <-w.stop:
			}
		})
	case plan.ReadyFD:
		go w.awaitNewline()
	case plan.ReadyLog:
		go w.poll(func() bool { return slices.ContainsFunc(w.logs, func(l *Log) bool { return l.has(w.ready.Match) }) })
	case plan.ReadyTCP:
		go w.poll(func() bool { return slices.ContainsFunc(w.ready.Addresses, accepts) })
	}
}

// C delivers once: nil, or why the program will never be up.
func (w *Waiter) C() <-chan error {
	if w == nil {
		return nil
	}
	return w.c
}

// Close ends the waiting.
func (w *Waiter) Close() {
	if w == nil || w.c == nil {
		return
	}
	w.c = nil
	close(w.stop)
	w.notify.Wait() // returns at once; later notifications are for the next start
	w.read.Close()  // may be nil
	w.Launched()
}

// endPatience is how long a program that closes its descriptor may take to end: its end says more.
const endPatience = 200 * time.Millisecond

func (w *Waiter) awaitNewline() {
	in, err := bufio.NewReader(w.read), bufio.ErrBufferFull
	for err == bufio.ErrBufferFull {
		_, err = in.ReadSlice('\n')
	}
	if err == nil {
		w.met <- nil
		return
	}
	closed := fmt.Sprintf("closed descriptor %d without writing a newline", w.ready.FD)
	time.AfterFunc(endPatience, func() { w.met <- &fault.Error{Problem: closed} })
}

// poll asks again and again. A log may not exist yet, and may be replaced: inotify would add little; nothing tells of
// a socket that somebody listens at.
func (w *Waiter) poll(isUp func() bool) {
	for !isUp() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-w.stop:
			return
		}
	}
	w.met <- nil
}

// Log is a file that the program writes to, and where the file ended before.
type Log struct {
	Path   string
	file   *os.File // the program's own output, whatever is at the path; nil: opened at each look, it may be replaced
	inode  uint64
	offset int64
	before string // what the file has before offset, up to beforeLimit; another text: it was written anew
}

// beforeLimit is enough to tell two lines of a log apart, if they begin with the time.
const beforeLimit = 128

// Note records where the files end now. They need not exist.
func Note(paths ...string) (logs []*Log) {
	for _, path := range paths {
		f := openByName(path) // no file: all that comes is new
		logs = append(logs, noted(path, f))
		f.Close()
	}
	return logs
}

// NoteOpen is Note of a file that is open, and the Log's own from then on; nil is none, and has no Log.
func NoteOpen(path string, f *os.File) (logs []*Log) {
	if f == nil {
		return nil
	}
	l := noted(path, f)
	l.file = f
	return []*Log{l}
}

func noted(path string, f *os.File) *Log {
	var st unix.Stat_t
	_ = sys.Fstat(int(f.Fd()), &st)
	l := &Log{Path: path, inode: st.Ino, offset: st.Size}
	l.before = l.reread(f, min(st.Size, beforeLimit))
	return l
}

// reread returns what the file has now in the length bytes before offset.
func (l *Log) reread(f *os.File, length int64) string {
	text := make([]byte, length)
	n, _ := f.ReadAt(text, l.offset-length)
	return string(text[:n])
}

// openByName is nil if the file cannot be opened.
func openByName(path string) *os.File {
	fd, err := safeopen.Follow(path, unix.O_RDONLY)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), path)
}

// Close closes the logs that NoteOpen has made. Copies of them have nothing new from then on.
func Close(logs []*Log) {
	for _, l := range logs {
		l.file.Close() // may be nil
	}
}

// maxNews is how much of a log is read at a time.
const maxNews = 1 << 20

// news returns what is new within the last bytes of the file, at most maxNews. A truncated or replaced file is new as
// a whole.
func (l *Log) news(last int64) []byte {
	f := l.file
	if f == nil {
		f = openByName(l.Path)
		defer f.Close()
	}
	var st unix.Stat_t // if f is nil, Fstat fails
	if sys.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if st.Ino != l.inode || l.before != l.reread(f, int64(len(l.before))) {
		l.inode, l.offset, l.before = st.Ino, 0, ""
	}
	l.offset = max(l.offset, st.Size-last)
	data, _ := io.ReadAll(io.NewSectionReader(f, l.offset, maxNews))
	return data
}

// has reports whether a new line matches, or, with nil, whether anything is new.
func (l *Log) has(match *regexp.Regexp) bool {
	data := l.news(math.MaxInt64)
	if match == nil {
		return len(data) > 0
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	for line := range bytes.Lines(data[:end]) {
		if match.Match(line[:len(line)-1]) {
			return true
		}
	}
	if end == 0 && len(data) == maxNews { // a line longer than maxNews
		end = maxNews
	}
	if end > 0 {
		l.offset += int64(end)
		l.before = string(data[max(0, end-beforeLimit):end])
	}
	return false
}

// LastWords quotes the last lines written since Note for a message: at most three, each cut to 200 bytes.
func (l *Log) LastWords() string {
	const most, longest = 3, 200
	log := *l
	var words []string
	for line := range bytes.Lines(log.news((most + 1) * 4096)) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			words = append(words, strconv.Quote(string(line[:min(len(line), longest)])))
		}
	}
	return strings.Join(words[max(0, len(words)-most):], " ")
}
