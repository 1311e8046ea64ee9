// Package watch tells its owner when to look at a path again. It knows nothing about processes, nor about
// what the path means.
//
// A Watch sends hints into its owner's channel, which several watches may share: a hint means "look at all of
// them". Sending never blocks: a hint that waits to be received absorbs later ones. The channel needs a
// capacity of at least 1.
//
// inotify(7) merges events, loses them when a queue is full, and sends none when a parent directory is
// renamed or mounted over. So a hint says only that something may have changed: look at the path and decide
// by what is there. A hint also comes every SlowPoll. Where there are no events (inotify exhausted, a file directly
// in "/") the path itself is looked at every FastPoll, and a hint comes if it leads to something else than before.
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

	"pidleash/internal/process"
	"pidleash/internal/sys"
)

const (
	SlowPoll = 5 * time.Second // the time between two hints
	FastPoll = time.Second     // and between two looks of the watch itself, where there are no events
)

// mask is for the file, not its directory: other files in a busy directory cause no hints. ATTRIB reports an
// unlink even while the file is open somewhere; DELETE_SELF comes only when the last descriptor is closed,
// inotify(7). CLOSE_WRITE reports new content.
const mask = notify.InAttrib | notify.InDeleteSelf | notify.InMoveSelf | notify.InCloseWrite

// arrivals is for a directory where the next part of the path is missing.
const arrivals = notify.InCreate | notify.InMovedTo | notify.InDeleteSelf | notify.InMoveSelf

// Watch watches one path, with two goroutines. Its methods belong to one goroutine, its owner's.
type Watch struct {
	path    string
	own     process.Path // the same, for looks that allocate nothing
	at      place
	hint    chan<- struct{}
	events  chan notify.EventInfo
	timer   *timer
	err     error
	stopped bool

	// Both are unbuffered: once a send or a receipt returns, no hint is being sent.
	stop chan struct{}
	done chan struct{}
}

// New starts to watch the path, which must be absolute. It sends the first hint at once: the path may have
// changed before the watch began.
func New(path string, hint chan<- struct{}) *Watch {
	w := &Watch{path: path, own: process.At(path), hint: hint, events: make(chan notify.EventInfo, 1)}
	w.stop, w.done = make(chan struct{}), make(chan struct{})
	w.err = w.watch()
	w.timer = newTimer(w.period())
	go w.tick(see(w.own))
	go w.relay()
	w.send()
	return w
}

// Err is why there are no events and the path is looked at every FastPoll; nil: there are events.
func (w *Watch) Err() error { return w.err }

// Renew moves the watch to what is at the path now, or is nearest to it. It reports whether that has changed:
// then it also sends a hint, as something may have happened in between.
func (w *Watch) Renew() bool {
	before, failed := w.at, w.err != nil
	if w.stopped || !failed && w.nearest() == before {
		return false
	}
	notify.Stop(w.events)
	w.err = w.watch()
	if w.at == before && (w.err != nil) == failed {
		return false
	}
	_ = w.timer.set(w.period()) // else it stays what it was
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
	w.timer.stop()
	<-w.done
}

func (w *Watch) period() time.Duration {
	if w.err != nil {
		return FastPoll
	}
	return SlowPoll
}

// relay makes hints of events.
func (w *Watch) relay() {
	for {
		select {
		case <-w.events:
			w.send()
		case <-w.stop:
			return
		}
	}
}

// tick sends a hint in each SlowPoll, and whenever the path leads to something else than it did. That is looked at
// here: a hint wakes its owner, and with it another thread or two. seen is from before the first hint.
func (w *Watch) tick(seen sight) {
	defer close(w.done)
	for last := int64(0); w.timer.wait(); {
		at, slow := see(w.own), now()/SlowPoll.Nanoseconds()
		if at != seen || slow != last {
			w.send()
		}
		seen, last = at, slow
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

// sight is what a path leads to, and when that was changed last. Its place has no path.
type sight struct {
	place
	changed unix.StatxTimestamp
	err     error
}

func see(path process.Path) (s sight) {
	var st unix.Statx_t
	s.err = path.Statx(0, unix.STATX_INO|unix.STATX_CTIME|unix.STATX_BTIME, &st)
	s.place = place{"", unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, st.Btime}
	s.changed = st.Ctime
	return s
}

// nearest is the path itself, or the nearest existing directory above it.
func (w *Watch) nearest() place {
	for p, at := w.path, w.own; ; at = process.At(p) {
		if s := see(at); s.err == nil {
			s.path = p
			return s.place
		}
		if p == "/" {
			return place{path: p}
		}
		p = filepath.Dir(p)
	}
}

func (w *Watch) watch() error {
	w.at = w.nearest()
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
