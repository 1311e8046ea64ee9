package pidfile

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
	"pidleash/internal/sys"
)

// State is what is seen at the path of a PID file. The words are those of the documentation.
type State uint8

const (
	Present    State = iota // its own inode, naming the program
	Removed                 // nothing there
	Rewritten               // another inode that names the program: the program wrote it
	Replaced                // another inode with other content: somebody else's now
	Changed                 // its own inode, naming another PID or none
	Unfinished              // another inode, which somebody may be writing at this moment
	Unknown                 // the file system gives no answer
)

func (s State) String() string {
	return [...]string{"present", "removed", "rewritten", "replaced", "changed", "unfinished", "unknown"}[s]
}

// File is a published PID file. It is used by one goroutine.
type File struct {
	PID int // whom it stands for: set it when another process has written the file

	path     string
	at       process.Path       // the same, for Look, which allocates nothing: an idle wrapper looks for years
	content  [contentLimit]byte // room for Look
	fd       int                // holds the lock, and keeps the inode's number in use
	unlocked bool               // the program locks it, or may: leave that to it
	isFree   bool               // it is never locked, nor is one in its place: a PathLock keeps other starts away
	adopted  bool               // the program has written it
	id       identity
	stamp    time.Time // of the last change by pidleash; zero: unknown
	touched  time.Time

	beside *PathLock // instead of the lock, where a stranger has that; nil: none
}

// Look compares what is at the path with the file. The error explains Unknown and is nil otherwise.
func (f *File) Look() (State, error) {
	id, regular, err := f.found()
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR:
		return Removed, nil
	default:
		return Unknown, err
	}
	if id != f.id {
		if !regular {
			return Replaced, nil // to open a device or a fifo can do things
		}
		return f.lookAtOther()
	}
	switch n, err := sys.Pread(f.fd, f.content[:], 0); {
	case err != nil:
		return Unknown, err
	case parsePID(f.content[:n]) == f.PID:
		return Present, nil
	}
	return Changed, nil
}

// found is what is at the path, as lstat(2) has it. Filters may refuse statx(2), which is as new as Linux 4.11.
func (f *File) found() (id identity, regular bool, err error) {
	var st unix.Statx_t
	err = f.at.Statx(unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_INO, &st)
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.EACCES {
		var st unix.Stat_t
		err = sys.Lstat(f.path, &st)
		return identityOf(&st), st.Mode&unix.S_IFMT == unix.S_IFREG, err
	}
	return identity{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}, st.Mode&unix.S_IFMT == unix.S_IFREG, err
}

// lookAtOther tells whether the program wrote the inode that has taken the file's place.
func (f *File) lookAtOther() (State, error) {
	other, err := open(f.path)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR:
		return Removed, nil
	case unix.ELOOP, unix.EISDIR, unix.ENXIO, unix.EACCES, unix.EPERM:
		// No regular file by now, or one that may not be read: not ours.
		return Replaced, nil
	default:
		if _, refused := errors.AsType[*fault.Error](err); refused { // its directory has become somebody's link
			return Replaced, nil
		}
		return Unknown, err
	}
	defer other.close()
	switch {
	case f.isPrograms(other):
		return Rewritten, nil
	case unfinished(other.text, f.PID):
		return Unfinished, nil
	}
	return Replaced, nil
}

// isPrograms reports that the program has written another file: it names the program, and no other pidleash has locked
// it or the path. A pidleash in another PID namespace cannot be seen, and its program may have the same number.
func (f *File) isPrograms(other *content) bool {
	if parsePID(other.text) != f.PID {
		return false
	}
	v := new(view)
	s := v.pathLockOf(f.path) // first: a question for the file's own lock could be in the program's way
	if !s.held {
		s = v.pidleashOf(other.fd, other.id, other.stat.Uid, 0)
	}
	if s.held && s.holder == 0 {
		return hasLocked(f.PID, other.id, true)
	}
	return !s.held || s.holder == os.Getpid() || !isPidleash(s.holder)
}

// Adopt takes the file that the program has written as its own. If the program has locked it, it keeps the lock.
func (f *File) Adopt() error {
	file, err := open(f.path)
	if err != nil {
		return &fault.Error{Object: object(f.path), Problem: "rewritten by the program, cannot be read", Err: err}
	}
	if !f.isPrograms(file) { // the next look will tell
		file.close()
		return nil
	}
	f.close()
	f.fd, f.id, f.adopted = file.fd, file.id, true
	if f.unlocked {
		return nil
	}
	// Whoever waits for the file looks at it in the same moment, and has a shared lock meanwhile.
	switch s, err := lockPatiently(f.fd, f.id, file.stat.Uid); {
	case err == unix.EWOULDBLOCK && s.stranger != 0:
		f.lockBeside()
	case err == unix.EWOULDBLOCK:
		f.unlocked = true
	case err != nil:
		return withPath(f.path, err)
	}
	return nil
}

// lockBeside locks the path, because a stranger's lock is on the file. If that fails, the file goes without a lock.
func (f *File) lockBeside() {
	beside := &PathLock{Path: f.path, fd: -1}
	if beside.lock() == nil {
		f.beside = beside
	}
}

// MovedAway reports that a file which is Removed was renamed, not unlinked: its inode lives on under another name, or
// is back by now.
func (f *File) MovedAway() bool {
	var st unix.Stat_t
	return sys.Fstat(f.fd, &st) == nil && st.Nlink > 0
}

// Remove removes the file if it is still its own, releases the lock, and returns the state that it found. A
// file that is Replaced or Changed stays. One that is gone already is no error: systemd removes it, too.
func (f *File) Remove() (State, error) {
	state, err := f.Look()
	if content, failed := readContent(f.fd); state == Changed && failed == nil && unfinished(content, f.PID) {
		state = Present // somebody has emptied it, or begun to write it
	}
	switch state {
	case Present:
		err = takeAway(f.path, f.id)
	case Rewritten:
		err = f.removeOther()
	}
	f.close()
	return state, removalError(f.path, "cannot be removed", err)
}

// removeOther removes the inode that the program has put in the file's place.
func (f *File) removeOther() error {
	other, err := open(f.path)
	if err != nil {
		return nil // gone meanwhile, or somebody else's by now
	}
	defer other.close()
	if !f.isPrograms(other) {
		return nil
	}
	return takeAway(f.path, other.id)
}

func (f *File) close() {
	closeFD(&f.fd)
	_ = f.beside.Release() // the next start removes what stays
}

// touchInterval keeps the file younger than any sensible age limit.
const touchInterval = 24 * time.Hour

// Touch keeps systemd-tmpfiles(8) and the like from removing the file, which empty /tmp of what nobody has
// used for ten days. It may be called often and acts once a day. The time of the last change stays: it tells
// which processes the file can name.
func (f *File) Touch(now time.Time) error {
	if now.Sub(f.touched) < touchInterval {
		return nil
	}
	f.touched = now
	times := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}}
	return sys.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(f.fd), times, 0)
}

// NewExchange makes a claim for a file that will take this one's place in one step, see Claim.Exchanges. This file
// stays as it is. ErrRemoved: nothing is at the path, which rename(2) would not report.
func (f *File) NewExchange() (*Claim, error) {
	if _, err := identityAt(f.path); err == unix.ENOENT || err == unix.ENOTDIR {
		return nil, ErrRemoved
	}
	c, err := newFile(f.path, true, f.isFree)
	if err == nil {
		c.Exchanges = true
	}
	return c, err
}

// Exchanged makes f the file that the claim has published, which names pid. If the claim took the place of somebody
// else's file, that file gets its place back, and Look will tell.
func (f *File) Exchanged(c *Claim, pid int) {
	if id, err := identityAt(c.Temp); err == nil {
		if id != f.id {
			_ = exchange(c.Temp, c.Path)
		}
		_ = sys.Unlink(c.Temp) // the next start removes what stays
	}
	f.close()
	*f = *c.Published(pid)
}

// Name puts a file that names pid in the place of this one, in one step. If the file at the path is not its
// own any more it does nothing, and returns ErrRemoved or nil.
func (f *File) Name(pid int) error {
	if !isAt(f.path, f.id) {
		return nil
	}
	c, err := f.NewExchange()
	if err == nil {
		if err = writePID(c.Write, pid); err == nil {
			err = exchange(c.Temp, c.Path)
		}
		switch err {
		case nil:
			f.Exchanged(c, pid)
			return nil
		case unix.ENOENT:
			err = ErrRemoved
		default:
			err = &fault.Error{Object: object(f.path), Problem: "cannot be rewritten", Err: err}
		}
		c.Abandon()
	}
	if err != ErrRemoved && f.overwrite(pid) == nil {
		return nil
	}
	return err
}

// overwrite writes pid into the file itself, which needs no room and no right to its directory. What is left of a
// longer PID is empty lines, until it is cut off.
func (f *File) overwrite(pid int) error {
	fd, err := sys.Open(f.path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if id, err := identityOfFD(fd); err != nil || id != f.id {
		return ErrRemoved
	}
	old, err := readContent(f.fd)
	if err != nil {
		return err
	}
	text := strconv.Itoa(pid) + "\n"
	padded := text + strings.Repeat("\n", max(0, len(old)-len(text)))
	if n, err := sys.Pwrite(fd, []byte(padded), 0); err != nil || n != len(padded) {
		return errors.Join(unix.ENOSPC, err)
	}
	f.PID, f.stamp = pid, time.Time{}
	return sys.Ftruncate(fd, int64(len(text)))
}

// Restore is Name after the end of a program that may write the file itself. What it has written counts,
// although nobody may have seen it yet; if such a file is gone, the program has removed it at its end.
func (f *File) Restore(pid int) error {
	switch state, _ := f.Look(); {
	case state == Rewritten:
		if err := f.Adopt(); err != nil {
			return err
		}
	case state == Removed && f.IsProgramsOwn():
		own, err := publishNew(f.path, pid, f.isFree)
		if err == nil {
			f.close()
			*f = *own
		}
		return err
	}
	return f.Name(pid)
}

// IsProgramsOwn reports that the program has written the file, or into it, as nginx does: since pidleash has
// written it the time of its last change is another one. Where times are whole seconds nobody can tell.
func (f *File) IsProgramsOwn() bool {
	var st unix.Stat_t
	if f.adopted || f.stamp.IsZero() || sys.Fstat(f.fd, &st) != nil || st.Mtim.Nsec == 0 {
		return f.adopted
	}
	return st.Mtim.Nano() != f.stamp.UnixNano()
}
