package pidfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
	"pidleash/internal/safeopen"
	"pidleash/internal/sys"
)

// lock takes the exclusive flock(2) on fd, or fails with EWOULDBLOCK at once: another description holds it.
func lock(fd int) error {
	switch err := flock(fd, unix.LOCK_EX); err {
	case nil, unix.EWOULDBLOCK:
		return err
	case unix.ENOLCK, unix.EOPNOTSUPP, unix.ENOSYS, unix.EBADF:
		// EBADF: NFS turns flock into a lock that needs a writable descriptor.
		return &fault.Error{Problem: "its file system cannot lock", Err: err, Hint: "choose a local directory such as /run"}
	default:
		return fmt.Errorf("flock: %w", err)
	}
}

// flock never waits.
func flock(fd, how int) error { return sys.Flock(fd, how|unix.LOCK_NB) }

// unseenPatience is how long a pidleash asks again for a lock whose holder cannot be seen, or that is a shared one:
// whoever asks whether a file is locked has that for a moment, see lockOf.
const unseenPatience = 100 * time.Millisecond

// take locks a stale file for a start. It is no error if a stranger has locked it, or if somebody unseen shares the
// lock, which no pidleash does. Then the file is strange and not locked, and the caller locks the path instead.
func (c *content) take() error {
	s, err := lockPatiently(c.fd, c.id, c.stat.Uid)
	if err == unix.EWOULDBLOCK && s.held {
		return heldError(parsePID(c.text), s)
	}
	c.strange = err == unix.EWOULDBLOCK
	if c.strange {
		return nil
	}
	return err
}

// lockPatiently fails with EWOULDBLOCK, and tells who has the lock, as soon as that can be seen. It waits for a shared
// lock, which a process that only asks, such as pidleash status, holds for a moment.
func lockPatiently(fd int, id identity, owner uint32) (s lockState, err error) {
	const leastTries = 3 // on a busy machine the time can pass between two of them
	end := time.Now().Add(unseenPatience)
	for try := 1; ; try++ {
		if err = lock(fd); err != unix.EWOULDBLOCK {
			return lockState{}, err
		}
		s = lockOf(fd, id, owner)
		isSeen := s.holder != 0 || s.stranger != 0
		if isSeen && isLockedByOther(fd) || try >= leastTries && time.Now().After(end) {
			return s, err
		}
		time.Sleep(time.Millisecond)
	}
}

// lockState is who has locked an inode, as far as that counts for its file.
type lockState struct {
	holder   int  // PID of one who may speak for the file; 0: there is none, or it cannot be seen from here
	held     bool // by the holder, or by somebody who cannot be seen
	stranger int  // PID of one who may not speak for it: the lock says nothing, but it is in the way; 0: none was seen
}

// view is what /proc says about the locks of the system. It is read once, for one file or for many in turn, and may be
// out of date. So a lock that it names is checked against its taker's descriptors, and the lock itself is asked about
// one that it does not name.
type view struct {
	single  bool      // it is for one file
	locks   lockTable // nil: not read
	foreign bool      // /proc is that of another PID namespace
	asked   bool      // whether foreign is known
}

// lockOf is view.lockOf at this moment.
func lockOf(fd int, id identity, owner uint32) lockState { return new(view).lockOf(fd, id, owner) }

// lockOf tells who has the lock of an inode, of which fd is a descriptor, or -1. Anybody can lock a file that he can
// read: a lock counts if it is root's or that of the file's owner, or if its holder cannot be seen. proc_locks(5) names
// the process that has taken the lock. It names nobody who is in another PID namespace, it may not be readable, and
// the taker may have ended while another process, which has inherited the descriptor, keeps the lock: `exec 9<FILE;
// flock 9` in a script. Then the lock itself is asked. That makes the asker a holder for a moment, so it comes last.
func (v *view) lockOf(fd int, id identity, owner uint32) (s lockState) {
	if fd < 0 {
		v.locks = nil // what has changed since cannot be asked
	}
	// The kernel hands /proc/locks out by the page, and what comes and goes shifts the rest: a lock can be missed,
	// though hardly twice.
	for tries := 0; tries < 3; {
		isOld := v.locks != nil
		takers, ended := v.takersOf(id)
		if s = judgeLockers(takers, owner); s != (lockState{}) {
			return s
		}
		refused := isLockedByOther(fd)
		if !refused && !ended {
			return s
		}
		v.locks = nil
		if isOld { // it is no try: what it says may have changed
			continue
		}
		if s = judgeLockers(v.lockersOf(id), owner); s != (lockState{}) || !refused && fd >= 0 {
			return s
		}
		tries++
	}
	return lockState{held: true}
}

// pathLockOf tells who has locked the path of a PID file.
func (v *view) pathLockOf(path string) lockState {
	fd, id := openPathLock(path)
	if id == (identity{}) {
		return lockState{}
	}
	defer unix.Close(fd)
	return v.lockOf(fd, id, ownerOf(path))
}

// openPathLock opens the file that is locked for a path. fd is -1 if that file may not be read; id is zero if there is
// no such file.
func openPathLock(path string) (fd int, id identity) {
	beside := lockPath(path)
	if _, err := identityAt(beside); err == unix.ENOENT {
		return -1, identity{}
	}
	fd, err := safeopen.Open(beside, unix.O_RDONLY, 0)
	if err != nil {
		id, _ = identityAt(beside)
		return -1, id
	}
	if id, err = identityOfFD(fd); err != nil {
		unix.Close(fd)
	}
	return fd, id
}

// ownerOf is the user who may speak for a path: the file's owner, or while there is none the directory's.
func ownerOf(path string) uint32 {
	var st unix.Stat_t
	if sys.Lstat(path, &st) != nil && sys.Stat(filepath.Dir(path), &st) != nil {
		return 0
	}
	return st.Uid
}

// isForeign is process.IsForeign, asked once.
func (v *view) isForeign() bool {
	if !v.asked {
		v.foreign, v.asked = process.IsForeign(), true
	}
	return v.foreign
}

// takersOf lists who has taken the lock and still has it; ended: there was one who has not.
func (v *view) takersOf(id identity) (pids []int, ended bool) {
	if v.isForeign() {
		return nil, false // it shows the PIDs of another namespace
	}
	if v.locks == nil {
		v.locks = readLocks()
	}
	takers, sure := v.locks.takersOf(id)
	if takers == nil || !sure && isMounted(id.dev) { // the list would show that device
		return nil, false
	}
	for _, pid := range takers {
		if hasLocked(pid, id, true) {
			pids = append(pids, pid)
		} else {
			ended = sure // else the lock is on another file with that number
		}
	}
	return pids, ended
}

// judgeLockers tells what the locks of these processes say.
func judgeLockers(pids []int, owner uint32) (s lockState) {
	for _, pid := range pids {
		switch user, err := process.OwnerOf(pid); {
		case err != nil && !exists(pid):
		case err != nil:
			s.held = true
		case user.Real == 0 || user.MayBeSignaledBy(owner):
			return lockState{holder: pid, held: true}
		default:
			s.stranger = pid
		}
	}
	return s
}

// lockersOf looks for those who have the lock among all processes that can be seen.
func (v *view) lockersOf(id identity) (pids []int) {
	if v.isForeign() {
		return nil
	}
	table, _ := process.Table()
	for pid := range table {
		if hasLocked(pid, id, false) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// pidleashOf is lockOf for a caller that only asks which pidleash has the lock, and reads the list of all locks less
// often. likely is the process that probably has the lock; 0: none is known.
func (v *view) pidleashOf(fd int, id identity, owner uint32, likely int) lockState {
	if likely != 0 && hasLocked(likely, id, false) {
		if s := judgeLockers([]int{likely}, owner); s.holder != 0 {
			return s
		}
	}
	if fd >= 0 && share(fd) == nil { // every pidleash has an exclusive lock
		return lockState{}
	}
	return v.lockOf(fd, id, owner)
}

// isLockedByOther reports whether another process holds an exclusive lock, as every pidleash does. Without a descriptor
// it is false: nobody can tell.
func isLockedByOther(fd int) bool { return share(fd) == unix.EWOULDBLOCK }

// share takes a shared lock, and releases it at once. The error is that of flock(2). EWOULDBLOCK: another process holds
// an exclusive lock.
func share(fd int) error {
	err := flock(fd, unix.LOCK_SH)
	if err == nil {
		_ = sys.Flock(fd, unix.LOCK_UN) // it is ours
	}
	return err
}

// hasLocked reports that a process has a locked descriptor of the inode, proc_pid_fdinfo(5); unknown is the answer
// where only its user and root may look.
func hasLocked(pid int, id identity, unknown bool) bool {
	if p, err := process.Read(pid); err == nil && p.Dead() {
		return false // a zombie
	}
	dir := fmt.Sprintf("/proc/%d/", pid)
	entries, err := os.ReadDir(dir + "fd")
	if err != nil {
		return unknown && exists(pid)
	}
	return slices.ContainsFunc(entries, func(fd os.DirEntry) bool {
		var st unix.Stat_t
		if sys.Stat(dir+"fd/"+fd.Name(), &st) != nil || identityOf(&st) != id {
			return false
		}
		info, err := sys.ReadFile(dir+"fdinfo/"+fd.Name(), 4096)
		return err != nil || bytes.Contains(info, []byte("FLOCK"))
	})
}

// lockTable has the takers of flock(2) locks in the list of proc_locks(5), by the inode's number.
type lockTable map[uint64][]taker

type taker struct {
	device string // as "fd:01"
	pid    int
}

// readLocks takes pieces as large as they come. Empty: it cannot be read. To open the list can take milliseconds: the
// kernel waits until no processor changes a lock.
func readLocks() lockTable {
	locks, _ := sys.ReadFile("/proc/locks", 1<<16)
	return parseLocks(locks)
}

func parseLocks(text []byte) lockTable {
	table := lockTable{}
	for line := range bytes.Lines(text) {
		// "1: FLOCK ADVISORY WRITE 812 fd:01:1234 0 EOF"; waiters have "->".
		f := strings.Fields(string(line))
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		i := strings.LastIndexByte(f[5], ':')
		ino, err := strconv.ParseUint(f[5][i+1:], 10, 64)
		if pid, wrong := strconv.Atoi(f[4]); i > 0 && err == nil && wrong == nil && pid > 0 {
			table[ino] = append(table[ino], taker{f[5][:i], pid})
		}
	}
	return table
}

// isMounted reports the device of a mounted file system. What btrfs and overlay show in stat(2) is none.
func isMounted(dev uint64) bool {
	mounts, err := sys.ReadFile("/proc/self/mountinfo", 1<<14)
	return err == nil && bytes.Contains(mounts, fmt.Appendf(nil, " %d:%d ", unix.Major(dev), unix.Minor(dev)))
}

// takersOf finds who has taken the inode's lock. Some file systems (btrfs, overlay) show another device there than in
// stat(2): then the inode's number decides, if it is not ambiguous, and that is not sure.
func (t lockTable) takersOf(id identity) (pids []int, sure bool) {
	own := fmt.Sprintf("%02x:%02x", unix.Major(id.dev), unix.Minor(id.dev))
	byDevice := map[string][]int{}
	for _, k := range t[id.ino] {
		byDevice[k.device] = append(byDevice[k.device], k.pid)
	}
	if pids = byDevice[own]; pids != nil {
		return pids, true
	}
	for _, pids = range byDevice {
		if len(byDevice) == 1 {
			return pids, false
		}
	}
	return nil, false
}
