package pidfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errLocked reports that another open file description holds the lock.
var errLocked = errors.New("locked by another process")

// lock takes the exclusive flock(2) on fd, or fails with errLocked at once.
func lock(fd int) error {
	_, err := retry(func() (int, error) { return 0, unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	switch err {
	case nil:
		return nil
	case unix.EWOULDBLOCK:
		return errLocked
	case unix.ENOLCK, unix.EOPNOTSUPP, unix.ENOSYS, unix.EBADF:
		// EBADF: NFS turns flock into a lock that needs a writable descriptor.
		return &Error{Problem: "its file system cannot lock", Err: err, Hint: "choose a local directory such as /run"}
	}
	return fmt.Errorf("flock: %w", err)
}

// relock makes this process the one that /proc/locks names as the holder of a lock
// that it has inherited, flock(2): the one who took it may have ended. For a moment
// nobody holds it. That lets nobody in: at a start the process that the file names
// counts before the lock.
func relock(fd int) error {
	for _, how := range []int{unix.LOCK_SH, unix.LOCK_EX} {
		if _, err := retry(func() (int, error) { return 0, unix.Flock(fd, how) }); err != nil {
			return err
		}
	}
	return nil
}

// lockHolder returns the PID of the process that holds a lock on the inode, 0
// when nobody does or it cannot be seen from here (another PID namespace).
// It reads /proc/locks: to ask by locking would make the asker a holder.
//
// The kernel hands the list out in pieces of a page at most, and what comes and
// goes meanwhile shifts the rest: a lock can be missed, though hardly twice.
func lockHolder(id identity) int {
	for range 5 {
		locks, err := readLocks()
		if err != nil {
			return 0
		}
		if pid := holderIn(locks, id); pid != 0 {
			return pid
		}
	}
	return 0
}

// readLocks takes pieces as large as they come; os.ReadFile begins with 512
// bytes.
func readLocks() ([]byte, error) {
	f, err := os.Open("/proc/locks")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []byte
	piece := make([]byte, 1<<16)
	for {
		n, err := f.Read(piece)
		all = append(all, piece[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// holderIn finds the holder in the text of /proc/locks, see proc_locks(5). Some
// file systems (btrfs, overlay) show another device there than in stat(2): then
// the inode's number decides, if it is not ambiguous.
func holderIn(locks []byte, id identity) int {
	dev := fmt.Sprintf("%02x:%02x", unix.Major(id.dev), unix.Minor(id.dev))
	ino := strconv.FormatUint(id.ino, 10)
	sameInode, candidates := 0, 0
	for line := range bytes.Lines(locks) {
		// "1: FLOCK  ADVISORY  WRITE 812 fd:01:1234 0 EOF"; waiters have "->".
		f := strings.Fields(string(line))
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		cut := strings.LastIndexByte(f[5], ':')
		if cut < 0 || f[5][cut+1:] != ino {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		if err != nil || pid <= 0 {
			continue
		}
		if f[5][:cut] == dev {
			return pid
		}
		sameInode, candidates = pid, candidates+1
	}
	if candidates == 1 {
		return sameInode
	}
	return 0
}
