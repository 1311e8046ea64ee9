package pidfile

import (
	"errors"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
	"pidleash/internal/safeopen"
	"pidleash/internal/sys"
)

// Claim is the right to publish a PID at a path: a locked file that nobody sees yet.
type Claim struct {
	Path, Temp  string // where the file shall appear, and where it is now, in the same directory
	Write       int    // descriptor for writing the empty file, close-on-exec
	Unnamed     bool   // it has no name yet, open(2), O_TMPFILE: Temp is Write's in /proc, for linkat(2)
	StaleReason string // why the file that was found at Path does not count; empty: there was none
	// Exchanges says that this file takes the place of one of our own at Path: by RENAME_EXCHANGE of renameat2(2), or by
	// rename(2) where the file system lacks that.
	Exchanges bool
	// AbsentLock is the file of a PathLock that must not be there once this file has its name: somebody may have locked
	// the path since New has looked, before there was a file to see. Empty: nobody can have locked it.
	AbsentLock string

	stamp  time.Time // of the last change, see Stamp; zero: unknown
	lock   int       // read-only descriptor of the same inode, locked unless isFree, close-on-exec
	isFree bool      // it is not locked: a PathLock keeps other starts away
	id     identity
	stale  *content // the stale file, locked; nil: there is none

	beside *PathLock // keeps other starts away where nobody can lock the stale file; nil: none
}

// mode is the PID file's whatever the umask: everybody may ask who runs.
const mode = 0o644

// New claims the path, which must be absolute; named: with a file that has a hidden name. It fails with code fault.Held
// when a program runs there. Nobody can see the new file before the PID is published. A stale file stays until Clear.
//
// A file is stale, too, that names this process, one of own, or one that these descend from. A process in the
// background does not descend from its caller, and gives its PID as own. If the clock was set since the boot, a process
// may or may not be the one that the file means: then the file is stale unless that executes a program of own.
func New(path string, named bool, own ...Own) (*Claim, error) {
	c := newClaim(path)
	left := hasHidden(path)
	err := checkPathLock(path)
	if err == nil {
		c.stale, c.StaleReason, err = lockStale(path, own)
	}
	if err == nil && c.stale.isStrange() {
		err = c.lockBeside(own)
	}
	if err == nil {
		err = c.create(named)
	}
	if err == nil && c.beside == nil {
		err = checkPathLock(path)
	}
	if err != nil {
		c.Abandon()
		return nil, withPath(path, err)
	}
	if c.beside == nil && removePathLock(path) || c.stale != nil || left {
		removeHidden(path, own)
	}
	if c.beside == nil && !isPathLockLeft(path) {
		c.AbsentLock = lockPath(path)
	}
	return c, nil
}

// lockBeside locks the path, because a stranger's lock is on the stale file. That file is looked at again then.
func (c *Claim) lockBeside(own []Own) (err error) {
	c.stale.close()
	c.stale = nil
	if c.beside, err = Reserve(c.Path, own...); err == nil {
		c.stale, c.beside.stale = c.beside.stale, nil
	}
	return err
}

func newClaim(path string) *Claim { return &Claim{Path: path, Write: -1, lock: -1} }

// newFile is a claim with its file, of a path that nobody else can claim.
func newFile(path string, named, isFree bool) (*Claim, error) {
	c := newClaim(path)
	c.isFree = isFree
	if err := c.create(named); err != nil {
		c.Abandon()
		return nil, withPath(path, err)
	}
	return c, nil
}

// publishNew publishes pid where nobody else can claim the path.
func publishNew(path string, pid int, isFree bool) (*File, error) {
	for named := false; ; named = true {
		c, err := newFile(path, named, isFree)
		if err != nil {
			return nil, err
		}
		if err = c.Publish(pid); err == nil {
			return c.Published(pid), nil
		}
		c.Abandon()
		if !errors.Is(err, ErrNotLinked) {
			return nil, err
		}
	}
}

// lockStale returns the stale file at the path, locked, so that of several starts one goes on; no file: nil.
// Anything else is an error.
func lockStale(path string, own []Own) (file *content, reason string, err error) {
	for {
		switch file, err = open(path); err {
		case nil:
		case unix.ENOENT:
			return nil, "", nil
		default:
			return nil, "", openError(path, err)
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

// lockIfStale decides on an open file: stale, and locked by us now, see content.take; else still in use, or
// errReplaced.
func lockIfStale(file *content, path string, own []Own) (reason string, err error) {
	named := parsePID(file.text)
	pid, reason := livePID(file.text, file.written(), own)
	if pid != 0 || file.isNoPIDFile() || file.hasMore() {
		// Without touching the lock: a daemon may be about to take it itself, and a file that is not replaced is not ours.
		if s := lockOf(file.fd, file.id, file.stat.Uid); pid != 0 || s.held {
			return "", heldError(named, s)
		}
		return "", notReplaced(file, reason)
	}
	err = file.take()
	// In this order: whoever replaces a stale file unlinks it before unlocking it.
	if !isAt(path, file.id) {
		err = errReplaced
	}
	return reason, err
}

// create makes the file: without a name where that is possible, so that a SIGKILL leaves nothing, or with a hidden
// one.
func (c *Claim) create(named bool) (err error) {
	c.Unnamed = !named && c.openUnnamed()
	if !c.Unnamed {
		err = c.openHidden()
	}
	if err == nil {
		if err = sys.Fchmod(c.Write, mode); err != nil {
			return &fault.Error{Problem: "cannot be made readable", Err: err}
		}
	}
	if err != nil || c.isFree {
		return err
	}
	if err = lock(c.lock); err == nil && (c.Unnamed || isAt(c.Temp, c.id)) {
		return nil
	}
	if err != nil && (err != unix.EWOULDBLOCK || c.Unnamed) { // nobody else can have one without a name
		return err
	}
	// Another start took it for a leftover, between its creation and its lock.
	c.drop()
	return c.create(named)
}

// openUnnamed opens a file without a name, for writing and for reading: a descriptor for writing that stays open
// would be in the way of a remount. Where linkat(2) could not name it, it reports false: without /proc, and on
// overlay.
func (c *Claim) openUnnamed() bool {
	dir, _ := filepath.Split(c.Path)
	var st unix.Stat_t
	if sys.Stat(dir+".", &st) != nil {
		return false
	}
	fd, err := safeopen.Open(dir+".", unix.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return false
	}
	c.Write, c.Temp = fd, "/proc/self/fd/"+strconv.Itoa(fd)
	c.lock, _ = sys.Open(c.Temp, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	id, err := identityOfFD(fd)
	again, failed := identityOfFD(c.lock)
	if err != nil || failed != nil || id != again || id.dev != uint64(st.Dev) {
		c.drop()
		return false
	}
	c.id = id
	return true
}

// openHidden opens a file with a hidden name, likewise.
func (c *Claim) openHidden() error {
	dir, base := filepath.Split(c.Path)
	temp, err := dir+firstHidden(base), error(nil)
	for {
		c.Write, err = safeopen.Open(temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
		if err != unix.EEXIST {
			break
		}
		temp = dir + hiddenName(base)
	}
	if err != nil {
		return createError(c.Path, err)
	}
	c.Temp = temp
	if c.id, err = identityOfFD(c.Write); err != nil {
		return &fault.Error{Problem: "cannot be looked at", Err: err}
	}
	hidden, err := open(temp)
	if err != nil {
		return &fault.Error{Problem: "cannot be opened", Err: err}
	}
	c.lock = hidden.fd
	if hidden.id != c.id {
		return &fault.Error{Problem: "somebody else changes its directory"}
	}
	return nil
}

// drop lets go of the file.
func (c *Claim) drop() {
	if c.Temp != "" && !c.Unnamed && isAt(c.Temp, c.id) { // else another start has taken it for a leftover
		_ = sys.Unlink(c.Temp) // the next start removes what stays
	}
	c.Temp = ""
	closeFD(&c.Write)
	closeFD(&c.lock)
}

// Clear removes the stale file, if there was one. It comes last before the program is started, so that a
// start that fails earlier changes nothing.
func (c *Claim) Clear() error { return c.stale.clear(c.Path) }

// Abandon gives the claim up: its file goes, a stale one stays. After Published it does nothing.
func (c *Claim) Abandon() {
	c.drop()
	c.stale.close()
	_ = c.beside.Release() // the next start removes what stays
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
	f := &File{path: c.Path, at: process.At(c.Path), PID: pid, fd: c.lock, id: c.id, stamp: c.stamp, touched: time.Now()}
	f.isFree, f.unlocked = c.isFree, c.isFree
	c.lock, c.Temp = -1, ""
	c.Abandon()
	return f
}

// Retract undoes the claim of a launch that failed, whether or not its child has published. It is called
// before that child is reaped, while nobody else can have the PID. One that Exchanges is for File.Exchanged instead.
func (c *Claim) Retract(pid int) error {
	if !c.Visible() {
		c.Abandon()
		return nil
	}
	_, err := c.Published(pid).Remove()
	return err
}

// Publish claims the path and publishes pid, which counts as one of own, see New, with the errors of New and of
// writing.
func Publish(path string, pid int, own ...Own) (*File, error) {
	return Claimed(path, func(c *Claim) (int, error) { return pid, c.Publish(pid) }, append([]Own{{PID: pid}}, own...)...)
}

// Claimed claims the path and calls launch, which calls Clear, has the PID written to Write and Temp moved to
// Path, and returns that PID. After ErrLostRace it does both again: whoever has won the race may be gone at
// the next look, or else New says who that is. After ErrNotLinked it does so with a named file. Any other error is
// final. A launch that fails after its child has published undoes that by Retract. It need not abandon the claim.
func Claimed(path string, launch func(*Claim) (pid int, err error), own ...Own) (*File, error) {
	for named := false; ; {
		c, err := New(path, named, own...)
		if err != nil {
			return nil, err
		}
		pid, err := launch(c)
		if err == nil {
			return c.Published(pid), nil
		}
		c.Abandon()
		named = named || errors.Is(err, ErrNotLinked)
		if !errors.Is(err, ErrLostRace) && !errors.Is(err, ErrNotLinked) {
			return nil, err
		}
	}
}

// Publish writes the PID and gives the file its name, where no child does it.
func (c *Claim) Publish(pid int) error {
	if err := c.Clear(); err != nil {
		return err
	}
	err := writePID(c.Write, pid)
	if err == nil {
		err = c.appear()
	}
	if err != nil {
		return c.PublishError(err)
	}
	if c.AbsentLock != "" && sys.Access(c.AbsentLock, unix.F_OK) == nil {
		if err := c.Retract(pid); err != nil {
			return err
		}
		return ErrLostRace
	}
	return nil
}

// appear gives the file its name, and replaces no other one.
func (c *Claim) appear() error {
	if c.Unnamed {
		return sys.Linkat(unix.AT_FDCWD, c.Temp, unix.AT_FDCWD, c.Path, unix.AT_SYMLINK_FOLLOW)
	}
	return moveNew(unix.AT_FDCWD, c.Temp, c.Path)
}

// PublishError is why the file has not got its name: ErrLostRace, ErrRemoved, ErrNotLinked, or a *fault.Error.
func (c *Claim) PublishError(err error) error {
	switch {
	case err == unix.EEXIST:
		return ErrLostRace
	case c.Unnamed:
		return ErrNotLinked
	case err == unix.ENOENT && c.Exchanges:
		return ErrRemoved
	}
	e := &fault.Error{Object: object(c.Path), Problem: "cannot be written", Err: err}
	switch err {
	case unix.ENOSPC, unix.EDQUOT:
		e.Hint = "make room in " + filepath.Dir(c.Path)
	case unix.EFBIG:
		e.Hint = "ulimit -f, or LimitFSIZE= in a unit"
	}
	return e
}

func writePID(fd, pid int) error {
	text := strconv.Itoa(pid) + "\n"
	n, err := sys.Write(fd, []byte(text))
	if err == nil && n != len(text) {
		err = unix.ENOSPC
	}
	return err
}

// exchange swaps the names of two files. Where the file system cannot do that the first replaces the second.
func exchange(from, to string) error {
	err := sys.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if lacksFlags(err) {
		err = sys.Rename(from, to)
	}
	return err
}
