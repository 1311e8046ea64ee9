package pidfile

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
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
	path     string
	pid      int
	fd       int  // keeps the inode from being recycled, and holds the lock
	unlocked bool // the program locks it, or may: leave that to it
	adopted  bool // the program has written it
	id       identity
	stamp    time.Time // of the last change by pidleash; zero: unknown
	touched  time.Time
}

// Inherit is the file that another process has published or adopted, with the
// descriptor that it has passed on, see FD. A lock comes with it.
func Inherit(path string, pid, fd int, unlocked bool) (*File, error) {
	id, err := identityOfFD(fd)
	if err != nil {
		return nil, &fault.Error{Object: object(path), Problem: "cannot be taken over", Err: err}
	}
	return &File{path: path, pid: pid, fd: fd, unlocked: unlocked, id: id, touched: time.Now()}, nil
}

// Path returns the file's path.
func (f *File) Path() string { return f.path }

// FD is the descriptor to pass on to who takes the file over.
func (f *File) FD() int { return f.fd }

// Unlocked reports that the file is the daemon's to lock.
func (f *File) Unlocked() bool { return f.unlocked }

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
func (f *File) content() ([]byte, error) { return readContent(f.fd) }

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
		return &fault.Error{Object: object(f.path), Problem: "rewritten by the program, cannot be opened", Err: err}
	}
	id, err := identityOfFD(fd)
	if err != nil {
		unix.Close(fd)
		return &fault.Error{Object: object(f.path), Problem: "rewritten by the program, cannot be looked at", Err: err}
	}
	f.release()
	f.fd, f.id, f.adopted = fd, id, true
	if f.unlocked {
		return nil
	}
	switch err := lock(fd); {
	case errors.Is(err, errLocked):
		f.unlocked = true
	case err != nil:
		return withPath(f.path, err)
	}
	return nil
}

// Named returns the PID that the PID file at path names now: 0 when there is none,
// or none to be had.
func Named(path string) int {
	fd, err := openNoFollow(path)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	content, err := readContent(fd)
	if err != nil {
		return 0
	}
	return parsePID(content)
}

// SetPID makes the file stand for another process, which has written it.
func (f *File) SetPID(pid int) { f.pid = pid }

// MovedAway reports that the file's own inode lives on under another name: it was
// renamed, not unlinked.
func (f *File) MovedAway() bool {
	var st unix.Stat_t
	return unix.Fstat(f.fd, &st) == nil && st.Nlink > 0 && !isAt(f.path, f.id)
}

// ErrRemoved says that the file that was to be exchanged is not at the path any more.
var ErrRemoved = errors.New("the file has been removed")

// Successor is a claim for a file that is to take this one's place in one step, see
// Claim.Successor. Nothing is done to this one. ErrRemoved: there is nothing at the
// path, as the exchange would find, too, but not where it is done by rename(2).
func (f *File) Successor() (*Claim, error) {
	if _, err := identityAt(f.path); err == unix.ENOENT || err == unix.ENOTDIR {
		return nil, ErrRemoved
	}
	c, err := newHidden(f.path)
	if err == nil {
		c.Successor = true
	}
	return c, err
}

// Succeed makes the file what the claim has published with pid in it. If somebody
// else's file was at the path by then, that one has its place again, as Look will
// tell.
func (f *File) Succeed(c *Claim, pid int) {
	if id, err := identityAt(c.Temp); err == nil {
		if id != f.id {
			_ = exchange(c.Temp, c.Path)
		}
		_ = unix.Unlink(c.Temp)
	}
	f.release()
	*f = *c.Published(pid)
}

// Replace puts a file that names pid in the place of this one, in one step. When the
// file at the path is not its own any more it is ErrRemoved or nil, and nothing is
// done.
func (f *File) Replace(pid int) error {
	if !isAt(f.path, f.id) {
		return nil
	}
	c, err := f.Successor()
	if err != nil {
		if err == ErrRemoved || f.overwrite(pid) != nil {
			return err
		}
		return nil
	}
	if err = writePID(c.Write, pid); err == nil {
		err = exchange(c.Temp, c.Path)
	}
	if err != nil {
		c.Abandon()
		switch {
		case err == unix.ENOENT:
			return ErrRemoved
		case f.overwrite(pid) == nil:
			return nil
		}
		return &fault.Error{Object: object(f.path), Problem: "cannot be rewritten", Err: err}
	}
	f.Succeed(c, pid)
	return nil
}

// overwrite writes pid into the file itself, which needs no room and no right to its
// directory. Whatever is left of a longer PID is empty lines, until it is cut off.
func (f *File) overwrite(pid int) error {
	fd, err := unix.Open(f.path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	id, err := identityOfFD(fd)
	if err != nil || id != f.id {
		return errors.Join(ErrRemoved, err)
	}
	old, err := f.content()
	if err != nil {
		return err
	}
	text := strconv.Itoa(pid) + "\n"
	padding := strings.Repeat("\n", max(0, len(old)-len(text)))
	if n, err := unix.Pwrite(fd, []byte(text+padding), 0); err != nil || n != len(text)+len(padding) {
		return errors.Join(unix.ENOSPC, err)
	}
	f.pid, f.stamp = pid, time.Time{}
	return unix.Ftruncate(fd, int64(len(text)))
}

// Restore is Replace after the end of a program that may write the file itself: what
// it has written counts, although nobody may have seen it yet, and such a file that is
// gone was removed by the program at its end.
func (f *File) Restore(pid int) error {
	switch state, _ := f.Look(); {
	case state == Rewritten:
		if err := f.Adopt(); err != nil {
			return err
		}
	case state == Removed && (f.adopted || f.writtenInto()):
		return f.publishAgain(pid)
	}
	return f.Replace(pid)
}

// publishAgain puts a file that names pid where there is none.
func (f *File) publishAgain(pid int) error {
	c, err := newHidden(f.path)
	if err != nil {
		return err
	}
	next, err := c.Publish(pid)
	if err == nil {
		f.release()
		*f = *next
	}
	return err
}

// writtenInto reports that somebody has written into the file since pidleash has, as
// nginx does. Where times are whole seconds nobody can tell.
func (f *File) writtenInto() bool {
	var st unix.Stat_t
	if f.stamp.IsZero() || unix.Fstat(f.fd, &st) != nil || st.Mtim.Nsec == 0 {
		return false
	}
	return st.Mtim.Nano() != f.stamp.UnixNano()
}

// exchange gives each of two files the other's name. Where the file system cannot do
// that the first replaces the second.
func exchange(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		err = unix.Rename(from, to)
	}
	return err
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
		return state, &fault.Error{Object: object(f.path), Problem: "cannot be removed", Err: err}
	}
	return state, nil
}

// namesNobody reports that somebody has emptied the file, or begun to write it.
func (f *File) namesNobody() bool {
	content, err := f.content()
	return err == nil && unfinished(content, f.pid)
}

func (f *File) release() {
	if f.fd >= 0 {
		unix.Close(f.fd)
		f.fd = -1
	}
}

// touchInterval keeps the file younger than any sensible age limit.
const touchInterval = 24 * time.Hour

// Touch keeps systemd-tmpfiles(8) and the like, which empty /tmp of what nobody
// has used for ten days, from removing the file. It may be called often and
// acts once a day. The time of the last change stays: it tells which processes
// the file can name.
func (f *File) Touch(now time.Time) error {
	if now.Sub(f.touched) < touchInterval {
		return nil
	}
	f.touched = now
	times := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(f.fd), times, 0)
}

// userID is the effective user's number, for hints.
func userID() string { return strconv.Itoa(os.Geteuid()) }
