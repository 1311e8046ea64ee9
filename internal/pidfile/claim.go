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
	// Path is where the file shall appear, Temp where it is now, in the same
	// directory.
	Path, Temp string
	// Write is a descriptor for writing the empty temporary file, close-on-exec.
	Write int
	// StaleReason says why the file that was found at Path does not count. Empty:
	// there was none.
	StaleReason string
	// Successor: a file of our own is at Path, and is to be exchanged for this one by
	// RENAME_EXCHANGE of renameat2(2). Where that is not to be had, by rename(2).
	Successor bool

	stamp time.Time // of the last change by who publishes the PID; zero: unknown

	lock  int // read-only descriptor of the same inode, locked, close-on-exec
	id    identity
	stale int // locked descriptor of the stale file, or -1
}

// mode is the PID file's whatever the umask: everybody may ask who runs.
const mode = 0o644

// New claims the path, which must be absolute. It fails with a *fault.Error,
// of which IsHeld tells that a program runs there. Nothing can be seen at the path
// before the PID is published, and a stale file stays until Clear.
func New(path string) (*Claim, error) {
	if err := checkReserved(path); err != nil {
		return nil, err
	}
	stale, reason, err := takeStale(path)
	if err != nil {
		return nil, withPath(path, err)
	}
	c := newClaim(path)
	c.StaleReason, c.stale = reason, stale
	err = c.createTemp()
	if err == nil {
		err = checkReserved(path)
	}
	if err != nil {
		c.Abandon()
		return nil, withPath(path, err)
	}
	return c, nil
}

// newClaim has nothing open yet.
func newClaim(path string) *Claim { return &Claim{Path: path, Write: -1, lock: -1, stale: -1} }

// newHidden is a claim with its file, of a path that nobody else can claim.
func newHidden(path string) (*Claim, error) {
	c := newClaim(path)
	if err := c.createTemp(); err != nil {
		c.Abandon()
		return nil, withPath(path, err)
	}
	return c, nil
}

// takeStale looks at what is at the path. No file: -1. A stale one: a locked
// descriptor, so that of several starts one goes on. Anything else: an error.
func takeStale(path string) (fd int, reason string, err error) {
	for {
		fd, err := openNoFollow(path)
		if err == unix.ENOENT {
			return -1, "", nil
		}
		if err != nil {
			return -1, "", openError(err)
		}
		reason, again, err := judge(fd, path)
		if err == nil && !again {
			return fd, reason, nil
		}
		unix.Close(fd)
		if err != nil {
			return -1, "", err
		}
	}
}

func openError(err error) error {
	switch err {
	case unix.ELOOP:
		return &fault.Error{Problem: "is a symbolic link", Hint: "name the file that it points to"}
	case unix.ENOTDIR:
		return &fault.Error{Problem: "its directory is not a directory"}
	case unix.EACCES:
		return &fault.Error{Problem: "cannot be read", Err: err}
	case unix.ENXIO:
		return &fault.Error{Problem: "is not a regular file"}
	}
	return &fault.Error{Problem: "cannot be opened", Err: err}
}

// judge decides on an open file: stale (and locked by us now), still in use (an
// error), or no longer the one at the path (again).
func judge(fd int, path string) (reason string, again bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", false, &fault.Error{Problem: "cannot be looked at", Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return "", false, &fault.Error{Problem: "is a directory", Hint: "name a file in it"}
	default:
		return "", false, &fault.Error{Problem: "is not a regular file"}
	}
	content, err := readContent(fd)
	if err != nil {
		return "", false, &fault.Error{Problem: "cannot be read", Err: err}
	}
	pid, reason := livePID(content, time.Unix(st.Mtim.Unix()))
	if pid != 0 {
		// Without touching the lock: a daemon may be about to take it itself.
		holder := lockHolder(identityOf(&st))
		if holder == 0 {
			holder = reservedBy(path)
		}
		return "", false, heldError(pid, holder, holder != 0)
	}
	if parsePID(content) == 0 && st.Size >= contentLimit {
		return "", false, &fault.Error{Problem: "is not a PID file", Hint: "remove it or name another path"}
	}
	switch err := lock(fd); {
	case errors.Is(err, errLocked):
		// In this order: who replaces a stale file unlinks it before it unlocks it.
		held := heldError(parsePID(content), lockHolder(identityOf(&st)), true)
		if isAt(path, identityOf(&st)) {
			return "", false, held
		}
		return "", true, nil
	case err != nil:
		return "", false, err
	}
	// The one who held the lock until now may have removed the file.
	return reason, !isAt(path, identityOf(&st)), nil
}

// isAt reports that the inode is what the path leads to.
func isAt(path string, id identity) bool {
	at, err := identityAt(path)
	return err == nil && at == id
}

func identityAt(path string) (identity, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return identityOf(&st), err
}

// createTemp makes the hidden file, readable for everybody, and locks it.
func (c *Claim) createTemp() error {
	if err := c.openTemp(); err != nil {
		return err
	}
	if err := unix.Fchmod(c.Write, mode); err != nil {
		return &fault.Error{Problem: "cannot be made readable", Err: err}
	}
	var err error
	if c.id, err = identityOfFD(c.Write); err != nil {
		return &fault.Error{Problem: "cannot be looked at", Err: err}
	}
	if c.lock, err = openNoFollow(c.Temp); err != nil {
		return &fault.Error{Problem: "cannot be opened", Err: err}
	}
	if id, err := identityOfFD(c.lock); err != nil || id != c.id {
		return &fault.Error{Problem: "somebody else changes its directory", Err: err}
	}
	return lock(c.lock)
}

// openTemp creates a file of a name that nobody else uses: a leftover of a
// crash must not stand in the way of the next start.
func (c *Claim) openTemp() error {
	dir, base := filepath.Split(c.Path)
	for {
		suffix := ".pidleash-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
		c.Temp = dir + "." + base[:min(len(base), unix.NAME_MAX-len(".")-len(suffix))] + suffix
		fd, err := retry(func() (int, error) {
			return unix.Open(c.Temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		})
		switch err {
		case nil:
			c.Write = fd
			return nil
		case unix.EEXIST:
			continue
		}
		c.Temp = ""
		return createError(filepath.Clean(dir), err)
	}
}

func createError(dir string, err error) error {
	e := &fault.Error{Problem: "cannot be created in " + dir, Err: err}
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		return &fault.Error{Problem: "no directory " + dir, Hint: "create it, or RuntimeDirectory= in a unit"}
	case unix.EACCES, unix.EPERM:
		e.Hint = "choose a directory that user " + userID() + " may write"
	case unix.EROFS:
		e.Hint = "choose a directory that can be written, such as /run"
	case unix.ENOSPC, unix.EDQUOT:
		e.Hint = "make room there"
	}
	return e
}

// Clear removes the stale file, if there was one. It is the last step before
// the program is started, so that a start that fails earlier changes nothing.
func (c *Claim) Clear() error {
	if c.stale < 0 {
		return nil
	}
	var err error
	if id, idErr := identityOfFD(c.stale); idErr == nil && isAt(c.Path, id) {
		err = unix.Unlink(c.Path)
	}
	unix.Close(c.stale)
	c.stale = -1
	if err != nil && err != unix.ENOENT {
		return &fault.Error{Object: object(c.Path), Problem: "is stale and cannot be removed", Err: err}
	}
	return nil
}

// Abandon gives the claim back: the hidden file goes, a stale one stays.
func (c *Claim) Abandon() {
	if c.Temp != "" {
		_ = unix.Unlink(c.Temp)
	}
	for _, fd := range []*int{&c.Write, &c.lock, &c.stale} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// Published is called when the hidden file has been moved to Path with pid in
// it. It takes over the claim's lock.
func (c *Claim) Published(pid int) *File {
	unix.Close(c.Write)
	c.Write = -1
	return &File{path: c.Path, pid: pid, fd: c.lock, id: c.id, stamp: c.stamp, touched: time.Now()}
}

// Stamp returns the times of last access and change that who writes the PID has to give
// the file, as utimensat(2) takes them: by them a program shows that writes into the
// file later. The kernel's own times may be the same for some milliseconds.
func (c *Claim) Stamp() [2]unix.Timespec {
	// Whole microseconds are what every file system can keep that keeps more than
	// seconds.
	c.stamp = time.Now().Truncate(time.Microsecond)
	return [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(c.stamp.UnixNano())}
}

// ErrLostRace says that since the claim somebody else has published a file at the
// path.
var ErrLostRace = errors.New("another start was faster")

// Publish writes the PID and moves the file into place, where no child does it. On
// ErrLostRace the claim is void, after every other error too.
func (c *Claim) Publish(pid int) (*File, error) {
	err := c.Clear()
	if err == nil {
		if err = writePID(c.Write, pid); err == nil {
			err = moveNew(c.Temp, c.Path)
		}
		if err != nil && err != ErrLostRace {
			err = WriteError(c.Path, err)
		}
	}
	if err != nil {
		c.Abandon()
		return nil, err
	}
	return c.Published(pid), nil
}

// WriteError says why a PID file cannot be written.
func WriteError(path string, err error) *fault.Error {
	e := &fault.Error{Object: object(path), Problem: "cannot be written", Err: err}
	if err == unix.ENOSPC || err == unix.EDQUOT {
		e.Hint = "make room in " + filepath.Dir(path)
	}
	return e
}

func writePID(fd, pid int) error {
	text := strconv.Itoa(pid) + "\n"
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n != len(text) {
		err = unix.ENOSPC
	}
	return err
}

// moveNew never replaces a file. Where renameat2(2) cannot promise that, link(2)
// can.
func moveNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		if err = unix.Link(from, to); err == nil {
			_ = unix.Unlink(from)
		}
	}
	if err == unix.EEXIST {
		return ErrLostRace
	}
	return err
}

// Visible reports that the hidden file has been moved to Path.
func (c *Claim) Visible() bool { return isAt(c.Path, c.id) }
