package pidfile

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
)

// Claim is the right to publish a PID at a path: a locked, still hidden file.
type Claim struct {
	Path, Temp  string // where the file shall appear, and where it is now, in the same directory
	Write       int    // descriptor for writing the empty temporary file, close-on-exec
	StaleReason string // why the file that was found at Path does not count; empty: there was none
	// Successor: a file of our own is at Path, and is to be exchanged for this one by RENAME_EXCHANGE of
	// renameat2(2), or where the file system lacks that, replaced by rename(2).
	Successor bool

	stamp time.Time // of the last change, see Stamp; zero: unknown
	lock  int       // read-only descriptor of the same inode, locked, close-on-exec
	id    identity
	stale *content // the stale file, locked; nil: there is none
}

// mode is the PID file's whatever the umask: everybody may ask who runs.
const mode = 0o644

// New claims the path, which must be absolute. It fails with code fault.Held when a program runs there.
// Nothing can be seen at the path before the PID is published, and a stale file stays until Clear.
//
// A file is stale, too, that names this process, one of own, or one that these descend from. A process in the
// background does not descend from its caller, and gives its PID as own.
func New(path string, own ...int) (*Claim, error) {
	c := newClaim(path)
	err := checkPathLock(path)
	if err == nil {
		c.stale, c.StaleReason, err = lockStale(path, own)
	}
	if err == nil {
		err = c.create(true)
	}
	if err == nil {
		err = checkPathLock(path)
	}
	if err != nil {
		c.Abandon()
		return nil, withPath(path, err)
	}
	removePathLock(path)
	return c, nil
}

func newClaim(path string) *Claim { return &Claim{Path: path, Write: -1, lock: -1} }

// newHidden is a claim with its file, of a path that nobody else can claim.
func newHidden(path string, locked bool) (*Claim, error) {
	c := newClaim(path)
	if err := c.create(locked); err != nil {
		c.Abandon()
		return nil, withPath(path, err)
	}
	return c, nil
}

// publishNew publishes pid where nobody else can claim the path. The claim is yet to become a File.
func publishNew(path string, pid int, locked bool) (*Claim, error) {
	c, err := newHidden(path, locked)
	if err != nil {
		return nil, err
	}
	if err := c.Publish(pid); err != nil {
		c.Abandon()
		return nil, err
	}
	return c, nil
}

// lockStale returns the stale file at the path, locked, so that of several starts one goes on; no file: nil.
// Anything else is an error.
func lockStale(path string, own []int) (file *content, reason string, err error) {
	for {
		switch file, err = open(path); err {
		case nil:
		case unix.ENOENT:
			return nil, "", nil
		default:
			return nil, "", openError(err)
		}
		if reason, err = lockIfStale(file, path, own); err == nil {
			return file, reason, nil
		}
		file.close()
		if err != errReplaced {
			return nil, "", err
		}
	}
}

// errReplaced: look again, the file is no longer the one at the path.
var errReplaced = errors.New("replaced meanwhile")

// lockIfStale decides on an open file: stale, and locked by us now; else still in use, or errReplaced.
func lockIfStale(file *content, path string, own []int) (reason string, err error) {
	pid, reason := livePID(file.text, file.written(), own)
	if pid != 0 {
		// Without touching the lock: a daemon may be about to take it itself.
		holder, locked := lockHolder(file.id)
		return "", heldError(pid, holder, locked)
	}
	named := parsePID(file.text)
	if named == 0 && file.stat.Size >= contentLimit {
		return "", &fault.Error{Problem: "is not a PID file", Hint: "remove it or name another path"}
	}
	if err = lock(file.fd); err == unix.EWOULDBLOCK {
		holder, _ := lockHolder(file.id)
		err = heldError(named, holder, true)
	}
	// In this order: whoever replaces a stale file unlinks it before unlocking it.
	if !isAt(path, file.id) {
		err = errReplaced
	}
	return reason, err
}

// hiddenSuffix is in the names of all hidden files of a process.
func hiddenSuffix(pid int) string { return ".pidleash-" + strconv.Itoa(pid) + "-" }

// create makes the hidden file, of a name that nobody else uses: a leftover of a crash must not stand in the way of
// the next start. It opens the file a second time, for reading: a descriptor for writing that stays open would be in
// the way of a remount.
func (c *Claim) create(locked bool) error {
	dir, base := filepath.Split(c.Path)
	temp, err := "", error(unix.EEXIST)
	for err == unix.EEXIST {
		suffix := hiddenSuffix(os.Getpid()) + strconv.FormatInt(time.Now().UnixNano(), 36)
		temp = dir + "." + base[:min(len(base), unix.NAME_MAX-len(".")-len(suffix))] + suffix
		c.Write, err = openNoFollow(temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	}
	if err != nil {
		return createError(filepath.Clean(dir), err)
	}
	c.Temp = temp
	if err := unix.Fchmod(c.Write, mode); err != nil {
		return &fault.Error{Problem: "cannot be made readable", Err: err}
	}
	hidden, err := open(temp)
	if err != nil {
		return &fault.Error{Problem: "cannot be opened", Err: err}
	}
	c.lock, c.id = hidden.fd, hidden.id
	if id, err := identityOfFD(c.Write); err != nil || id != c.id {
		return &fault.Error{Problem: "somebody else changes its directory", Err: err}
	}
	if locked {
		return lock(c.lock)
	}
	return nil
}

// Clear removes the stale file, if there was one. It comes last before the program is started, so that a
// start that fails earlier changes nothing.
func (c *Claim) Clear() error { return c.stale.clear(c.Path) }

// Abandon gives the claim up: the hidden file goes, a stale one stays. After Published it does nothing.
func (c *Claim) Abandon() {
	if c.Temp != "" {
		_ = unix.Unlink(c.Temp)
		c.Temp = ""
	}
	closeFD(&c.Write)
	closeFD(&c.lock)
	c.stale.close()
}

// Visible reports that the hidden file has been moved to Path.
func (c *Claim) Visible() bool { return isAt(c.Path, c.id) }

// Stamp returns the times that whoever writes the PID gives the file by utimensat(2). A later change by the
// program shows by them; the kernel's own times may be the same for some milliseconds.
func (c *Claim) Stamp() [2]unix.Timespec {
	// Whole microseconds are what every file system can keep that keeps more than seconds.
	c.stamp = time.Now().Truncate(time.Microsecond)
	return [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(c.stamp.UnixNano())}
}

// Published is called when the hidden file has been moved to Path with pid in it. The File has the claim's lock.
func (c *Claim) Published(pid int) *File {
	f := &File{path: c.Path, pid: pid, fd: c.lock, id: c.id, stamp: c.stamp, touched: time.Now()}
	c.lock, c.Temp = -1, ""
	c.Abandon()
	return f
}

// TakeBack undoes the claim of a launch that failed, whether or not its child has published. It is called
// before that child is reaped, while nobody else can have the PID. A Successor is for File.Succeed instead.
func (c *Claim) TakeBack(pid int) error {
	if !c.Visible() {
		c.Abandon()
		return nil
	}
	_, err := c.Published(pid).Remove()
	return err
}

// Publish claims the path and publishes pid, which counts as one of own, see New, with the errors of New and of writing.
func Publish(path string, pid int, own ...int) (*File, error) {
	return Claimed(path, func(c *Claim) (int, error) { return pid, c.Publish(pid) }, append([]int{pid}, own...)...)
}

// Claimed claims the path and calls launch, which calls Clear, has the PID written to Write and Temp moved to
// Path, and returns that PID. After ErrLostRace it does both again: whoever has won the race may be gone at
// the next look, or else New says who that is. Any other error is final. A launch that fails after its child
// has published undoes that by TakeBack. It need not abandon the claim.
func Claimed(path string, launch func(*Claim) (pid int, err error), own ...int) (*File, error) {
	for {
		c, err := New(path, own...)
		if err != nil {
			return nil, err
		}
		pid, err := launch(c)
		if err == nil {
			return c.Published(pid), nil
		}
		c.Abandon()
		if !errors.Is(err, ErrLostRace) {
			return nil, err
		}
	}
}

// Publish writes the PID and moves the file into place, where no child does it.
func (c *Claim) Publish(pid int) error {
	if err := c.Clear(); err != nil {
		return err
	}
	err := writePID(c.Write, pid)
	if err == nil {
		err = moveNew(c.Temp, c.Path)
	}
	if err != nil && err != ErrLostRace {
		return WriteError(c.Path, err)
	}
	return err
}

func writePID(fd, pid int) error {
	text := strconv.Itoa(pid) + "\n"
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n != len(text) {
		err = unix.ENOSPC
	}
	return err
}

// moveNew never replaces a file. Where renameat2(2) cannot promise that, link(2) can.
func moveNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if cannotMove(err) {
		if err = unix.Link(from, to); err == nil {
			_ = unix.Unlink(from)
		}
	}
	if err == unix.EEXIST {
		return ErrLostRace
	}
	return err
}

// cannotMove reports that the file system, the kernel or a sandbox has no renameat2(2) with flags. Who may not write
// to the directory is told so by the next call, too.
func cannotMove(err error) bool {
	return err == unix.EINVAL || err == unix.ENOSYS || err == unix.EPERM || err == unix.EACCES
}

// exchange swaps the names of two files. Where the file system cannot do that the first replaces the second.
func exchange(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if cannotMove(err) {
		err = unix.Rename(from, to)
	}
	return err
}
