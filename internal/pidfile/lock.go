package pidfile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
)

// lock takes the exclusive flock(2) on fd, or fails with EWOULDBLOCK at once: another description holds it.
func lock(fd int) error {
	var err error = unix.EINTR
	for err == unix.EINTR { // as in package safeopen
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	switch err {
	case nil, unix.EWOULDBLOCK:
		return err
	case unix.ENOLCK, unix.EOPNOTSUPP, unix.ENOSYS, unix.EBADF:
		// EBADF: NFS turns flock into a lock that needs a writable descriptor.
		return &fault.Error{Problem: "its file system cannot lock", Err: err, Hint: "choose a local directory such as /run"}
	}
	return fmt.Errorf("flock: %w", err)
}

// lockHolder tells of a lock on the inode: the PID of the process that has taken it, 0 when that has ended
// and another one, which has inherited the descriptor, keeps the lock: `exec 9<FILE; flock 9` in a script. A
// lock of another PID namespace cannot be seen. It reads /proc/locks, as to ask by locking would make the
// asker a holder. The kernel hands that out by the page, and what comes and goes shifts the rest: a lock can
// be missed, though hardly twice.
func lockHolder(id identity) (pid int, locked bool) {
	for range 5 {
		switch pid, sure := holderIn(readLocks(), id); {
		case pid == 0, !sure && isMounted(id.dev): // the list would show that device
		case hasOpen(pid, id):
			return pid, true
		case sure:
			return 0, true
		} // else the lock is on another file with that number
	}
	return 0, false
}

// hasOpen reports that a process has the inode open, or may have: only its user and root may look.
func hasOpen(pid int, id identity) bool {
	if p, err := process.Read(pid); err == nil && p.Dead() {
		return false // a zombie
	}
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return exists(pid)
	}
	return slices.ContainsFunc(entries, func(fd os.DirEntry) bool {
		var st unix.Stat_t
		return unix.Stat(dir+fd.Name(), &st) == nil && identityOf(&st) == id
	})
}

// readLocks takes pieces as large as they come; os.ReadFile begins with 512 bytes. Nil: it cannot be read.
func readLocks() []byte {
	f, _ := os.Open("/proc/locks")
	defer f.Close()
	locks, _ := io.ReadAll(bufio.NewReaderSize(f, 1<<16)) // fails if f is nil
	return locks
}

// isMounted reports the device of a mounted file system. What btrfs and overlay show in stat(2) is none.
func isMounted(dev uint64) bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && bytes.Contains(mounts, fmt.Appendf(nil, " %d:%d ", unix.Major(dev), unix.Minor(dev)))
}

// holderIn finds the holder in the text of proc_locks(5). Some file systems (btrfs, overlay) show another device
// there than in stat(2): then the inode's number decides, if it is not ambiguous, and that is not sure.
func holderIn(locks []byte, id identity) (pid int, sure bool) {
	dev := fmt.Sprintf("%02x:%02x", unix.Major(id.dev), unix.Minor(id.dev))
	ino := strconv.FormatUint(id.ino, 10)
	sameInode, candidates := 0, 0
	for line := range bytes.Lines(locks) {
		// "1: FLOCK ADVISORY WRITE 812 fd:01:1234 0 EOF"; waiters have "->".
		f := strings.Fields(string(line))
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		device, found := strings.CutSuffix(f[5], ":"+ino)
		pid, err := strconv.Atoi(f[4])
		switch {
		case !found || err != nil || pid <= 0:
		case device == dev:
			return pid, true
		default:
			sameInode, candidates = pid, candidates+1
		}
	}
	if candidates != 1 {
		return 0, false
	}
	return sameInode, false
}
