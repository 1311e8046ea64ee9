// Package watch tells its owner when to look at a path again. It knows nothing about processes, nor about
// what the path means.
//
// A Watch sends hints into its owner's channel, which several watches may share: a hint means "look at all of
// them". Sending never blocks: a hint that waits to be received absorbs later ones. The channel needs a
// capacity of at least 1.
//
// inotify(7) merges events, loses them when a queue is full, and sends none when a parent directory is
// renamed or mounted over. So a hint says only that something may have changed: look at the path and decide
// by what is there. A hint also comes every SlowPoll, and every FastPoll where there are no events: inotify
// exhausted, a network file system, a file directly in "/".
//
// If nothing is at the path, the nearest existing directory above it is watched; Renew moves the watch when
// something has appeared.
//
// A hint may come without a cause, and several causes may share one hint.
package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rjeczalik/notify"
	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// The time between two hints.
const (
	SlowPoll = 5 * time.Second // when events are on
	FastPoll = time.Second     // when they are not
)

// mask is for the file, not its directory: other files in a busy directory cause no hints. ATTRIB reports an
// unlink even while the file is open somewhere; DELETE_SELF comes only when the last descriptor is closed,
// inotify(7). CLOSE_WRITE reports new content.
const mask = notify.InAttrib | notify.InDeleteSelf | notify.InMoveSelf | notify.InCloseWrite

// arrivals is for a directory where the next part of the path is missing.
const arrivals = notify.InCreate | notify.InMovedTo | notify.InDeleteSelf | notify.InMoveSelf

// Watch watches one path, with one goroutine. Its methods belong to one goroutine, its owner's.
type Watch struct {
	path    string
	at      place
	hint    chan<- struct{}
	events  chan notify.EventInfo
	err     error
	stopped bool

	// Both are unbuffered: once a send returns, run is not sending a hint.
	reset chan time.Duration
	stop  chan struct{}
}

// New starts to watch the path, which must be absolute. It sends the first hint at once: the path may have
// changed before the watch began.
func New(path string, hint chan<- struct{}) *Watch {
	w := &Watch{path: path, hint: hint, events: make(chan notify.EventInfo, 1)}
	w.reset, w.stop = make(chan time.Duration), make(chan struct{})
	w.err = w.watch()
	w.send()
	go w.run(w.interval())
	return w
}

// Err is why there are no events and hints come every FastPoll; nil: there are events.
func (w *Watch) Err() error { return w.err }

// Renew moves the watch to what is at the path now, or is nearest to it. It reports whether that has changed:
// then it also sends a hint, as something may have happened in between.
func (w *Watch) Renew() bool {
	before, failed := w.at, w.err != nil
	if w.stopped || !failed && nearest(w.path) == before {
		return false
	}
	notify.Stop(w.events)
	w.err = w.watch()
	if w.at == before && (w.err != nil) == failed {
		return false
	}
	w.reset <- w.interval()
	w.send()
	return true
}

// Stop ends the watch: no more hints are sent, and every method does nothing. An earlier hint may still be in
// the channel.
//
// Call it before the file is removed: a process that exits with a live inotify watch spends 6 to 18 ms in the
// kernel. The inotify descriptor stays open for the same reason.
func (w *Watch) Stop() {
	if w.stopped {
		return
	}
	w.stopped = true
	notify.Stop(w.events)
	w.stop <- struct{}{}
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
		w.send()
	}
}

// send sends a hint, unless one is already waiting.
func (w *Watch) send() {
	select {
	case w.hint <- struct{}{}:
	default:
	}
}

// place is what is watched. The birth time tells an inode from a later one with the same number.
type place struct {
	path     string
	dev, ino uint64
	born     unix.StatxTimestamp // zero on file systems without birth times
}

// nearest is the path itself, or the nearest existing directory above it.
func nearest(path string) place {
	for p := path; ; p = filepath.Dir(p) {
		var st unix.Statx_t
		err := sys.Statx(unix.AT_FDCWD, p, 0, unix.STATX_INO|unix.STATX_BTIME, &st)
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

// lowestFree returns the n lowest unused descriptor numbers, which the next opens will get, open(2).
func lowestFree(n int) []int {
	var free []int
	for fd := 0; len(free) < n; fd++ {
		if _, err := sys.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			free = append(free, fd)
		}
	}
	return free
}

// setCloseOnExec keeps package notify's descriptors out of programs. notify v0.9.3 opens its epoll descriptor
// and its pipe without the flag, and one byte written to that pipe would silently end all watching.
func setCloseOnExec(fds []int) {
	for _, fd := range fds {
		unix.CloseOnExec(fd) // no effect on one that is still unused
	}
}
