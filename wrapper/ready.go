package wrapper

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// readiness waits for the condition.
type readiness struct {
	met  chan error    // once: nil, or why it never will be
	stop chan struct{} // closed when nobody wants to know any more
	logs []*logFile
	pipe [2]*os.File // for plan.ReadyFD: what is read here, and what the program writes to
}

// prepare comes before the start of the program.
func prepareReady(r *plan.Ready, logs []*logFile) (*readiness, error) {
	if r.Kind == plan.ReadyFD && isSocketOfManager(r.FD) {
		return nil, &fault.Error{Object: fmt.Sprintf("-ready fd:%d", r.FD), Problem: "the service manager has passed a socket there", Hint: "a higher number"}
	}
	w := &readiness{met: make(chan error, 1), stop: make(chan struct{}), logs: logs}
	if r.Kind == plan.ReadyFD {
		return w, w.openPipe()
	}
	return w, nil
}

// isSocketOfManager reports a descriptor of sd_listen_fds(3).
func isSocketOfManager(fd int) bool {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	return err == nil && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) && fd < plan.FirstFD+n
}

// openPipe makes a reader that close can interrupt: of a program that has ended,
// descendants may still hold the other end.
func (w *readiness) openPipe() error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	_ = unix.SetNonblock(pipe[0], true) // of this end only
	for i, fd := range pipe {
		w.pipe[i] = os.NewFile(uintptr(fd), "ready")
	}
	return nil
}

// close ends the waiting.
func (w *readiness) close() {
	if w == nil {
		return
	}
	close(w.stop)
	if w.pipe[0] != nil {
		w.pipe[0].Close()
	}
	w.launched()
}

// launched closes what only the program may hold: its end of the pipe.
func (w *readiness) launched() {
	if w != nil && w.pipe[1] != nil {
		w.pipe[1].Close()
		w.pipe[1] = nil
	}
}

// await begins to wait for it. The notify condition comes through the relay.
func awaitReady(r *plan.Ready, w *readiness) {
	switch r.Kind {
	case plan.ReadyExec:
		w.met <- nil
	case plan.ReadyAfter:
		time.AfterFunc(r.After, func() { w.met <- nil })
	case plan.ReadyFD:
		go func() { w.met <- w.awaitNewline(r.FD) }()
	case plan.ReadyLog:
		go w.awaitLog(r.Match)
	}
}

// endPatience is how long a program that closes its descriptors may take to end: then
// that is what there is to tell.
const endPatience = 200 * time.Millisecond

// awaitNewline reads what the program writes to its descriptor fd.
func (w *readiness) awaitNewline(fd int) error {
	buf := make([]byte, 512)
	for {
		n, err := w.pipe[0].Read(buf)
		switch {
		case err != nil:
			select {
			case <-time.After(endPatience):
			case <-w.stop:
			}
			return fmt.Errorf("closed descriptor %d without writing a newline", fd)
		case bytes.IndexByte(buf[:n], '\n') >= 0:
			return nil
		}
	}
}

// logInterval is the time between two looks at a log. Its file may not exist yet,
// and may be another one in a moment: there is little that inotify could add.
const logInterval = 20 * time.Millisecond

func (w *readiness) awaitLog(match *regexp.Regexp) {
	ticker := time.NewTicker(logInterval)
	defer ticker.Stop()
	for {
		for _, log := range w.logs {
			if log.has(match) {
				w.met <- nil
				return
			}
		}
		select {
		case <-ticker.C:
		case <-w.stop:
			return
		}
	}
}

// logFile is a file that the program writes to, and where its end was before.
type logFile struct {
	path   string
	inode  uint64
	offset int64
}

// noteLog remembers the present end of a file, which need not exist.
func noteLog(path string) *logFile {
	log := &logFile{path: path}
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil {
		log.inode, log.offset = st.Ino, st.Size
	}
	return log
}

// noteLogs is for those of the paths that are not empty.
func noteLogs(paths []string) []*logFile {
	var logs []*logFile
	for _, path := range paths {
		if path != "" {
			logs = append(logs, noteLog(path))
		}
	}
	return logs
}

// maxNews is how much of a log is read at a time.
const maxNews = 1 << 20

// news returns what is new in the file, at most maxNews of it. A file that was
// truncated or replaced is new as a whole.
func (l *logFile) news() []byte {
	f, err := os.OpenFile(l.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if st.Ino != l.inode || st.Size < l.offset {
		l.inode, l.offset = st.Ino, 0
	}
	data, _ := io.ReadAll(io.NewSectionReader(f, l.offset, maxNews))
	return data
}

// has reports a new line that matches; nil: that there is anything new.
func (l *logFile) has(match *regexp.Regexp) bool {
	data := l.news()
	if match == nil {
		return len(data) > 0
	}
	for {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			if len(data) >= maxNews { // a line without end
				l.offset += int64(len(data))
			}
			return false
		}
		if match.Match(line) {
			return true
		}
		l.offset += int64(len(line)) + 1
		data = rest
	}
}

// lastWords are the last lines that were written since the note, for one line of
// a message: at most three, each of them short.
func (l *logFile) lastWords() string {
	const most, longest = 3, 200
	var st unix.Stat_t
	if unix.Stat(l.path, &st) == nil && st.Ino == l.inode {
		l.offset = max(l.offset, st.Size-(most+1)*4096)
	}
	lines := bytes.Split(bytes.TrimSpace(l.news()), []byte("\n"))
	var words []string
	for _, line := range lines[max(0, len(lines)-most):] {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			words = append(words, strconv.Quote(string(line[:min(len(line), longest)])))
		}
	}
	return strings.Join(words, " ")
}
