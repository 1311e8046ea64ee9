package pidfile

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// State is what is seen at the path of a PID file. The words are those of the
// documentation.
type State uint8

const (
	// Present: its own inode, naming the program.
	Present State = iota
	// Removed: nothing there.
	Removed
	// Rewritten: another inode that names the program; the program wrote it.
	Rewritten
	// Replaced: another inode with other content: somebody else's now.
	Replaced
	// Changed: its own inode, naming another PID or none.
	Changed
	// Unfinished: another inode, which somebody may be writing at this moment.
	Unfinished
	// Unknown: the file system gives no answer.
	Unknown
)

func (s State) String() string {
	return [...]string{"present", "removed", "rewritten", "replaced", "changed", "unfinished", "unknown"}[s]
}

// File is a published PID file. It is used by one goroutine.
type File struct {
	path    string
	pid     int
	lock    int // -1 when the file carries the program's own lock
	id      identity
	touched time.Time
}

// Path returns the file's path.
func (f *File) Path() string { return f.path }

// Look compares what is at the path with the file. The error explains Unknown
// and is nil otherwise.
func (f *File) Look() (State, error) {
	var st unix.Stat_t
	switch err := unix.Lstat(f.path, &st); err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR:
		return Removed, nil
	default:
		return Unknown, err
	}
	if identityOf(&st) != f.id {
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return Replaced, nil // to open a device or a fifo can do things
		}
		return f.lookAtOther()
	}
	content, err := f.content()
	switch {
	case err != nil:
		return Unknown, err
	case parsePID(content) == f.pid:
		return Present, nil
	}
	return Changed, nil
}

// content reads the file that is known to be its own.
func (f *File) content() ([]byte, error) {
	if f.lock >= 0 {
		return readContent(f.lock)
	}
	fd, err := openNoFollow(f.path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readContent(fd)
}

// lookAtOther tells whether the program wrote the inode that has taken the
// file's place.
func (f *File) lookAtOther() (State, error) {
	fd, err := openNoFollow(f.path)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR:
		return Removed, nil
	case unix.ELOOP, unix.ENXIO, unix.EACCES, unix.EPERM:
		// A link or a socket by now, or a file that may not be read: not ours.
		return Replaced, nil
	default:
		return Unknown, err
	}
	defer unix.Close(fd)
	content, err := readContent(fd)
	switch {
	case err == unix.EISDIR:
		return Replaced, nil
	case err != nil:
		return Unknown, err
	case parsePID(content) == f.pid:
		return Rewritten, nil
	case unfinished(content, f.pid):
		return Unfinished, nil
	}
	return Replaced, nil
}

// Adopt takes the file that the program has written as its own. When the
// program holds a lock on it, the program keeps it.
func (f *File) Adopt() error {
	fd, err := openNoFollow(f.path)
	if err != nil {
		return &Error{Path: f.path, Problem: "rewritten by the program, cannot be opened", Err: err}
	}
	id, err := identityOfFD(fd)
	if err != nil {
		unix.Close(fd)
		return &Error{Path: f.path, Problem: "rewritten by the program, cannot be looked at", Err: err}
	}
	f.release()
	f.id = id
	if err := lock(fd); err != nil {
		unix.Close(fd)
		if errors.Is(err, errLocked) {
			return nil
		}
		return withPath(f.path, err)
	}
	f.lock = fd
	return nil
}

// Remove removes the file if it is still its own, and releases the lock. It
// returns the state that it found; a file that is Replaced or Changed is left
// there. A file that is gone already is no error: systemd
// removes it too.
func (f *File) Remove() (State, error) {
	state, err := f.Look()
	if state == Changed && f.namesNobody() {
		state = Present
	}
	if state == Present || state == Rewritten {
		if err = unix.Unlink(f.path); err == unix.ENOENT {
			err = nil
		}
	}
	f.release()
	if err != nil {
		return state, &Error{Path: f.path, Problem: "cannot be removed", Err: err}
	}
	return state, nil
}

// namesNobody reports that somebody has emptied the file, or begun to write it.
func (f *File) namesNobody() bool {
	content, err := f.content()
	return err == nil && unfinished(content, f.pid)
}

func (f *File) release() {
	if f.lock >= 0 {
		unix.Close(f.lock)
		f.lock = -1
	}
}

// touchInterval keeps the file younger than any sensible age limit.
const touchInterval = 24 * time.Hour

// Touch keeps systemd-tmpfiles(8) and the like, which empty /tmp of what nobody
// has used for ten days, from removing the file. It may be called often and
// acts once a day. The time of the last change stays: it tells which processes
// the file can name.
func (f *File) Touch(now time.Time) error {
	if f.lock < 0 || now.Sub(f.touched) < touchInterval {
		return nil
	}
	f.touched = now
	times := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(f.lock), times, 0)
}

// userID is the effective user's number, for hints.
func userID() string { return strconv.Itoa(os.Geteuid()) }
