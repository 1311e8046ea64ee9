package pidfile

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
)

// Reservation is the right to a path whose file the program may write itself. It
// may look for a file, or lock it: so nothing of ours is there, and no lock on it,
// before and after. Other starts are kept away by a lock on a file beside it,
// ".NAME.lock".
type Reservation struct {
	// Path is that of the PID file.
	Path string
	// StaleReason says why the file that was found at Path does not count. Empty:
	// there was none.
	StaleReason string

	fd   int // locked descriptor of the file beside it
	id   identity
	find *Claim // has the stale file
}

// lockMode is for nobody else: who can open a file can lock it.
const lockMode = 0o600

func lockPath(path string) string {
	dir, base := filepath.Split(path)
	return dir + "." + base + ".lock"
}

// reservedBy returns the PID of who has reserved the path, 0 for nobody.
func reservedBy(path string) int {
	id, err := reservation(path)
	if err != nil {
		return 0
	}
	return lockHolder(id)
}

// reservation is the file that a reservation of the path has locked.
func reservation(path string) (identity, error) {
	var st unix.Stat_t
	err := unix.Lstat(lockPath(path), &st)
	return identityOf(&st), err
}

// checkReserved is an error when somebody has reserved the path.
func checkReserved(path string) error {
	if holder := reservedBy(path); holder != 0 {
		return withPath(path, heldError(Named(path), holder, true))
	}
	return nil
}

// Reserve claims the path, which must be absolute, with the errors of New.
func Reserve(path string) (*Reservation, error) {
	r := &Reservation{Path: path, fd: -1, find: newClaim(path)}
	// In this order: who claims the path in the other way looks for the lock when his
	// file is prepared, and again before he publishes it.
	err := r.lock()
	if err == nil {
		r.find.stale, r.StaleReason, err = takeStale(path)
	}
	if err != nil {
		r.Release()
		return nil, withPath(path, err)
	}
	return r, nil
}

// InheritReservation is one that another process has made, see FD.
func InheritReservation(path string, fd int) (*Reservation, error) {
	id, err := identityOfFD(fd)
	if err != nil {
		return nil, &fault.Error{Object: object(path), Problem: "cannot be taken over", Err: err}
	}
	return &Reservation{Path: path, fd: fd, id: id, find: newClaim(path)}, nil
}

// FD is the descriptor to pass on to who takes the reservation over.
func (r *Reservation) FD() int { return r.fd }

// lock makes the file and locks it. Who held it until now may have removed it.
func (r *Reservation) lock() error {
	path := lockPath(r.Path)
	for {
		fd, err := retry(func() (int, error) {
			return unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, lockMode)
		})
		if err != nil {
			return createError(filepath.Dir(r.Path), err)
		}
		id, err := identityOfFD(fd)
		if err == nil {
			err = lock(fd)
		}
		switch {
		case errors.Is(err, errLocked):
			unix.Close(fd)
			return heldError(Named(r.Path), lockHolder(id), true)
		case err != nil:
			unix.Close(fd)
			return err
		case isAt(path, id):
			r.fd, r.id = fd, id
			return nil
		}
		unix.Close(fd)
	}
}

// Clear removes the stale file, if there was one, right before the program is
// started. A file that somebody has published meanwhile is an error.
func (r *Reservation) Clear() error {
	if err := r.find.Clear(); err != nil {
		return err
	}
	fd, _, err := takeStale(r.Path)
	if err != nil {
		return withPath(r.Path, err)
	}
	if fd >= 0 {
		unix.Close(fd) // as stale as the one before
	}
	return nil
}

// Take makes the file at the path that of the daemon: the one that it has written,
// or else one of ours. ErrLostRace says that there is a file that does not name it
// yet: it may be about to.
func (r *Reservation) Take(pid int) (*File, error) {
	if Named(r.Path) == pid {
		return r.adopt(pid)
	}
	c := newClaim(r.Path)
	if err := c.openTemp(); err != nil {
		return nil, withPath(r.Path, err)
	}
	err := unix.Fchmod(c.Write, mode)
	if err == nil {
		err = writePID(c.Write, pid)
	}
	if err == nil {
		err = moveNew(c.Temp, c.Path)
	}
	if err == nil {
		c.Temp = ""
	}
	c.Abandon()
	switch {
	case errors.Is(err, ErrLostRace):
		return nil, err
	case err != nil:
		return nil, WriteError(r.Path, err)
	}
	return r.adopt(pid)
}

func (r *Reservation) adopt(pid int) (*File, error) {
	f := &File{path: r.Path, pid: pid, fd: -1, unlocked: true}
	if err := f.Adopt(); err != nil {
		return nil, err
	}
	if state, _ := f.Look(); state != Present {
		f.release()
		return nil, ErrLostRace
	}
	return f, nil
}

// Discard removes what the program has left at the path, if that names nobody who
// runs.
func (r *Reservation) Discard() {
	if r == nil {
		return
	}
	if fd, _, err := takeStale(r.Path); err == nil && fd >= 0 {
		r.find.stale = fd
		_ = r.find.Clear()
	}
}

// Release gives the path free; nil has nothing to give.
func (r *Reservation) Release() {
	if r == nil {
		return
	}
	r.find.Abandon()
	if r.fd < 0 {
		return
	}
	if path := lockPath(r.Path); isAt(path, r.id) {
		_ = unix.Unlink(path)
	}
	unix.Close(r.fd)
	r.fd = -1
}
