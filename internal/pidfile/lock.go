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

	"pidleash/internal/fault"
	"pidleash/internal/process"
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
		return &fault.Error{Problem: "its file system cannot lock", Err: err, Hint: "choose a local directory such as /run"}
	}
	return fmt.Errorf("flock: %w", err)
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
		pid, sure := holderIn(locks, id)
		if pid != 0 && !sure && isMounted(id.dev) {
			continue // the list would show that device
		}
		if pid != 0 && !hasOpen(pid, id) {
			// Who took it has left it to another: a launcher that has ended, a sidecar's
			// that has become the program.
			if heir := heirOf(id); heir != 0 {
				return heir
			}
			if !sure {
				continue // it is about a file with that number elsewhere
			}
		}
		if pid != 0 {
			return pid
		}
	}
	return 0
}

// hasOpen reports that a process has the inode open, or may have: only its user and
// root may look.
func hasOpen(pid int, id identity) bool {
	if p, err := process.Read(pid); err == nil && p.Dead() {
		return false // a zombie
	}
	if _, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd"); err != nil {
		return exists(pid)
	}
	return len(openings(pid, id)) > 0
}

// openings are the descriptors with which a process has the inode open, as far as they
// can be seen.
func openings(pid int, id identity) (fds []string) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	entries, _ := os.ReadDir(dir)
	for _, fd := range entries {
		var st unix.Stat_t
		if unix.Stat(dir+fd.Name(), &st) == nil && identityOf(&st) == id {
			fds = append(fds, fd.Name())
		}
	}
	return fds
}

// heirOf finds the process that has the inode open with a lock, by what
// proc_pid_fdinfo(5) tells; 0: none that may be looked into.
func heirOf(id identity) int {
	table, err := process.Table()
	if err != nil {
		return 0
	}
	for pid := range table {
		for _, fd := range openings(pid, id) {
			info, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/fdinfo/" + fd)
			if err == nil && bytes.Contains(info, []byte("FLOCK")) {
				return pid
			}
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

// isMounted reports the device of a mounted file system. What stat(2) shows instead on
// others (btrfs, overlay) is none.
func isMounted(dev uint64) bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && bytes.Contains(mounts, fmt.Appendf(nil, " %d:%d ", unix.Major(dev), unix.Minor(dev)))
}

// holderIn finds the holder in the text of /proc/locks, see proc_locks(5). Some
// file systems (btrfs, overlay) show another device there than in stat(2): then
// the inode's number decides, if it is not ambiguous, and that is not sure.
func holderIn(locks []byte, id identity) (pid int, sure bool) {
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
			return pid, true
		}
		sameInode, candidates = pid, candidates+1
	}
	if candidates == 1 {
		return sameInode, false
	}
	return 0, false
}
