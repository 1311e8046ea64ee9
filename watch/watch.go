// Package watch tells when it is time to look at a path again. It knows nothing
// of processes, nor of what the path means.
//
// An event is only a hint: events are merged, lost when a queue is full, and
// never come for a parent directory that is renamed or mounted over. Whoever
// gets a hint looks at the path and decides by what is there. So that nothing
// is missed for long, a hint comes every SlowPoll in any case, and every
// FastPoll where no events can be had: inotify exhausted, a network file
// system, a file directly in "/".
//
// Where nothing is at the path, the directory that is nearest to it is watched: that
// something has come nearer is a hint, too, and Renew goes there.
//
// It does not promise that a hint has a cause, nor one hint for each cause.
package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rjeczalik/notify"
	"golang.org/x/sys/unix"
)

const (
	// SlowPoll is the time between two hints when events are on.
	SlowPoll = 5 * time.Second
	// FastPoll is the same when they are not.
	FastPoll = time.Second
)

// mask is for the file, not its directory: neighbours in a busy directory then
// wake nobody, and ATTRIB tells of an unlink even while the file is open
// somewhere (DELETE_SELF comes only when the last descriptor is closed). CLOSE_WRITE
// tells of another content.
const mask = notify.InAttrib | notify.InDeleteSelf | notify.InMoveSelf | notify.InCloseWrite

// arrivals is for a directory in which something is missing.
const arrivals = notify.InCreate | notify.InMovedTo | notify.InDeleteSelf | notify.InMoveSelf

// Watch watches one path. Its methods belong to one goroutine.
type Watch struct {
	path   string
	at     place
	hints  chan struct{}
	events chan notify.EventInfo
	reset  chan time.Duration
	stop   chan struct{}
	err    error
}

// New starts to watch the path, which must be absolute. The first hint is there
// at once, so that nothing falls between the creation of the file and the
// watch.
func New(path string) *Watch {
	w := &Watch{
		path:   path,
		hints:  make(chan struct{}, 1),
		events: make(chan notify.EventInfo, 1),
		reset:  make(chan time.Duration),
		stop:   make(chan struct{}),
	}
	w.err = w.watch()
	w.hint()
	go w.run(w.interval())
	return w
}

// Hints carries one element when it is time to look.
func (w *Watch) Hints() <-chan struct{} { return w.hints }

// Err says why there are no events and the path is polled every FastPoll; nil:
// there are.
func (w *Watch) Err() error { return w.err }

// Renew watches what is at the path now, or is nearest to it. It reports whether that
// is another than before: then a hint follows, and something may have happened in
// between.
func (w *Watch) Renew() bool {
	before, failed := w.at, w.err != nil
	if !failed && nearest(w.path) == before {
		return false
	}
	notify.Stop(w.events)
	w.err = w.watch()
	if w.at == before && (w.err != nil) == failed {
		return false
	}
	w.reset <- w.interval()
	w.hint()
	return true
}

// Stop ends the watch. It must come before the file is removed: a process that
// exits with a live inotify watch spends 6 to 18 ms in the kernel. The inotify
// descriptor stays open for the same reason.
func (w *Watch) Stop() {
	notify.Stop(w.events)
	close(w.stop)
}

func (w *Watch) interval() time.Duration {
	if w.err != nil {
		return FastPoll
	}
	return SlowPoll
}

func (w *Watch) run(interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-w.events:
		case <-ticker.C:
		case interval := <-w.reset:
			ticker.Reset(interval)
			continue
		case <-w.stop:
			return
		}
		w.hint()
	}
}

func (w *Watch) hint() {
	select {
	case w.hints <- struct{}{}:
	default: // one is waiting already
	}
}

// place is what is watched: an inode that has its number since it was made.
type place struct {
	path     string
	dev, ino uint64
	born     unix.StatxTimestamp // zero on file systems that do not know
}

// nearest is the path itself, or the nearest directory above it that exists.
func nearest(path string) place {
	for p := path; ; p = filepath.Dir(p) {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, p, 0, unix.STATX_INO|unix.STATX_BTIME, &st)
		if err == nil {
			return place{p, unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, st.Btime}
		}
		if p == filepath.Dir(p) {
			return place{path: p}
		}
	}
}

func (w *Watch) watch() error {
	w.at = nearest(w.path)
	path, events := w.at.path, mask
	if path != w.path {
		events = arrivals
	}
	switch {
	case filepath.Dir(path) == "/" && (path == w.path || path == "/"):
		return fmt.Errorf(`inotify is not used for %s, directly in "/"`, path)
	case strings.HasSuffix(path, "..."):
		return errors.New(`inotify is not used for a name that ends in "..."`)
	}
	free := lowestFree(16)
	err := notify.Watch(path, w.events, events)
	setCloseOnExec(free)
	switch {
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("no inotify instance left (fs.inotify.max_user_instances): %w", err)
	case errors.Is(err, unix.ENOSPC):
		return errors.New("no inotify watch left (fs.inotify.max_user_watches)")
	}
	return err
}

// lowestFree returns the n lowest descriptor numbers that are not in use: those
// that the next opens get, open(2).
func lowestFree(n int) []int {
	var free []int
	for fd := 0; len(free) < n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			free = append(free, fd)
		}
	}
	return free
}

// setCloseOnExec hides what package notify opened from every program started
// from now on. Its epoll descriptor and its pipe are opened without the flag
// (v0.9.3), and one byte written to that pipe would silently end all watching.
func setCloseOnExec(fds []int) {
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			unix.CloseOnExec(fd)
		}
	}
}
