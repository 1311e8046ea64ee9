package pidfile

import (
	"errors"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
	"pidleash/internal/safeopen"
)

// PathLock is the right to a path whose file the program may write itself. Some programs refuse to start when
// there is a file, or a lock on it: so there is neither before the daemon is known, nor a lock afterwards. A
// lock on a file beside it, ".NAME.lock", keeps other starts away.
type PathLock struct {
	Path        string // of the PID file
	StaleReason string // why the file that was found at Path does not count; empty: there was none

	own   []Own // see New
	fd    int   // locked descriptor of the file beside it; -1: none
	id    identity
	stale *content // the stale file, locked; nil: there is none
}

// lockMode is for nobody else: whoever can open a file can lock it.
const lockMode = 0o600

func lockPath(path string) string {
	dir, base := filepath.Split(path)
	return dir + "." + base + ".lock"
}

// checkPathLock is an error when somebody has locked the path who may speak for its file.
func checkPathLock(path string) error {
	for end := time.Now().Add(unseenPatience); ; time.Sleep(time.Millisecond) {
		s := new(view).pathLockOf(path)
		if !s.held {
			return nil
		}
		// One who can be seen may be about to let go in our favour, see Claim.lockBeside.
		if time.Now().After(end) {
			return heldError(Named(path), s)
		}
	}
}

// isPathLockLeft reports that the lock's file is there, and that nobody who may speak for the path holds the lock. It
// waits a moment, because a start makes the file before it locks it.
func isPathLockLeft(path string) bool {
	for end := time.Now().Add(unseenPatience); ; time.Sleep(time.Millisecond) {
		_, none := identityAt(lockPath(path))
		if none != nil {
			return false
		}
		if s := new(view).pathLockOf(path); s.held || s.stranger != 0 || time.Now().After(end) {
			return !s.held
		}
	}
}

// Reserve locks the path, which must be absolute; own and the errors are those of New.
func Reserve(path string, own ...Own) (*PathLock, error) {
	l := &PathLock{Path: path, own: own, fd: -1}
	_, none := identityAt(lockPath(path))
	left := hasHidden(path)
	// In this order: whoever claims the path by New looks for the lock once more when its own file can be seen.
	err := l.lock()
	if err == nil {
		l.stale, l.StaleReason, err = l.lockStale()
	}
	if err != nil {
		_ = l.Release()
		return nil, withPath(path, err)
	}
	if none == nil || l.stale != nil || left {
		removeHidden(path, own)
	}
	return l, nil
}

// lockStale is the package's, but a file that has more than a PID is left to the daemon, which may know it.
func (l *PathLock) lockStale() (file *content, reason string, err error) {
	if file, reason, err = lockStale(l.Path, l.own); errors.Is(err, errMore) {
		return nil, "", nil
	}
	return file, reason, err
}

// lock makes the file and locks it. Whoever held it until now may have removed it.
func (l *PathLock) lock() error {
	path := lockPath(l.Path)
	for {
		fd, err := safeopen.Open(path, unix.O_RDONLY|unix.O_CREAT, lockMode)
		if err != nil {
			return createError(l.Path, err)
		}
		id, err := identityOfFD(fd)
		var s lockState
		if err == nil {
			s, err = lockPatiently(fd, id, ownerOf(l.Path))
		}
		switch {
		case err != unix.EWOULDBLOCK:
		case s.stranger == 0 || s.held:
			err = heldError(Named(l.Path), lockState{holder: s.holder, held: true})
		default:
			err = &fault.Error{Problem: path + " is locked by another user", Hint: "remove that, or choose a directory of your own"}
		}
		if err == nil && isAt(path, id) {
			l.fd, l.id = fd, id
			return nil
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
}

// Clear removes the stale file, right before the program is started. One that was published meanwhile is an error.
func (l *PathLock) Clear() error {
	if err := l.stale.clear(l.Path); err != nil {
		return err
	}
	file, _, err := l.lockStale()
	if err != nil {
		return withPath(l.Path, err)
	}
	file.close() // as stale as the one before
	return nil
}

// Publish makes the file at the path that of the daemon: the one that it has written, or else one of ours. A
// file that is removed right after that is no error: the next look finds it so. ErrLostRace: a file is there
// that does not name the daemon yet, and may be about to.
func (l *PathLock) Publish(pid int) (f *File, err error) {
	if Named(l.Path) == pid {
		f = &File{path: l.Path, at: process.At(l.Path), PID: pid, fd: -1, isFree: true, unlocked: true}
		err = f.Adopt()
	} else {
		f, err = publishNew(l.Path, pid, true)
	}
	if err != nil {
		return nil, err
	}
	if state, _ := f.Look(); state != Present && state != Removed {
		f.close()
		return nil, ErrLostRace
	}
	return f, nil
}

// Release unlocks the path; nil has nothing to unlock.
func (l *PathLock) Release() (err error) {
	if l == nil {
		return nil
	}
	l.stale.close()
	if l.fd >= 0 {
		err = takeAway(lockPath(l.Path), l.id)
	}
	closeFD(&l.fd)
	if err != nil {
		return &fault.Error{Object: object(l.Path), Problem: "its lock cannot be removed", Err: err}
	}
	return nil
}
