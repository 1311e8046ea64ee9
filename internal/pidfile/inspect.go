package pidfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
)

// Verdict is what a PID file turns out to be, for who asks and does not start.
type Verdict uint8

const (
	// Running: it names a process that runs and may be the one that was meant.
	Running Verdict = iota
	// Stale: what it names has ended, or it names none.
	Stale
	// Recycled: its PID is another process's now.
	Recycled
	// Empty: it names nobody, and has no content at all.
	Empty
	// Missing: there is no file.
	Missing
	// Unreadable: it cannot be read, or is no file to read a PID from.
	Unreadable
	// Untrusted: somebody who may not signal the process could have written it.
	Untrusted
)

func (v Verdict) String() string {
	return [...]string{"running", "stale", "recycled", "empty", "missing", "unreadable", "untrusted"}[v]
}

// Report is what can be told of a PID file.
type Report struct {
	Path    string
	Verdict Verdict
	// PID is what the file names; 0: nothing, or it was not read.
	PID int
	// Program is the name of the process with that PID; empty: there is none.
	Program string
	// Since is when that process started; zero: there is none.
	Since time.Time
	// Holder is the PID of the pidleash in charge, which is PID itself while no
	// program runs; 0: there is none.
	Holder int
	// Reason says why it is not Running.
	Reason string

	id     identity
	locked identity      // the inode that Holder has locked: id, or the one beside it
	owner  uint32        // the file's
	start  process.Ticks // of PID
}

// Inspect looks at the PID file of whoever wrote it. It takes no lock and changes
// nothing. What it says was true at one moment; see Take.
//
// To root a file says nothing that its writers could not do themselves: it is
// Untrusted when group or others may write it, and when its owner may not signal
// the process that it names. Other users cannot do harm by it, kill(2).
func Inspect(path string) Report {
	r := Report{Path: path}
	fd, err := openNoFollow(path)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR:
		return r.as(Missing, "no such file")
	default:
		var e *fault.Error
		errors.As(openError(err), &e)
		return r.as(Unreadable, e.Text())
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return r.as(Unreadable, err.Error())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return r.as(Unreadable, "is not a regular file")
	}
	content, err := readContent(fd)
	if err != nil {
		return r.as(Unreadable, err.Error())
	}
	r.id, r.owner = identityOf(&st), st.Uid
	return r.judge(content, &st)
}

func (r Report) as(v Verdict, reason string) Report {
	r.Verdict, r.Reason = v, reason
	return r
}

func (r Report) judge(content []byte, st *unix.Stat_t) Report {
	r.PID = parsePID(content)
	trustless := os.Geteuid() == 0
	if trustless && st.Mode&0o022 != 0 {
		return r.as(Untrusted, fmt.Sprintf("its mode is %04o: others than its owner can write it", st.Mode&0o7777))
	}
	r.findHolder()
	switch {
	case blank(content):
		return r.as(Empty, "it is empty")
	case r.PID == 0:
		return r.as(Stale, "it names no PID")
	}
	if process.IsForeign() {
		return r.as(Unreadable, "/proc is that of another PID namespace")
	}
	if r.Holder != 0 && isForeign(r.Holder) {
		return r.as(Unreadable, fmt.Sprintf("its pidleash, PID %d, is in another PID namespace", r.Holder))
	}
	p, verdict, reason := namedProcess(r.PID, time.Unix(st.Mtim.Unix()))
	if p.Comm != "" {
		r.Program, r.Since, r.start = p.Comm, p.StartTime(), p.Start
	}
	// A lock that is still held says more than clocks, which may have been set.
	if verdict == Recycled && r.Holder != 0 && process.IsProcess(r.PID) {
		verdict = Running
	}
	if verdict != Running {
		return r.as(verdict, reason)
	}
	if trustless && st.Uid != 0 {
		owner, err := process.OwnerOf(r.PID)
		switch {
		case err != nil:
			return r.as(Unreadable, fmt.Sprintf("PID %d: whose it is cannot be told: %v", r.PID, err))
		case !owner.MayBeSignaledBy(st.Uid):
			return r.as(Untrusted, fmt.Sprintf("user %d wrote it, and PID %d (%s) is user %d's", st.Uid, r.PID, r.Program, owner.Real))
		}
	}
	return r
}

// findHolder finds the pidleash that has locked or reserved the file.
func (r *Report) findHolder() {
	r.locked = r.id
	if r.Holder = r.trustedHolder(); r.Holder != 0 {
		return
	}
	if id, err := reservation(r.Path); err == nil {
		r.locked = id
		r.Holder = r.trustedHolder()
	}
}

// trustedHolder returns the PID of who has the lock. Daemons lock their own files, too,
// and who can read a file can lock it: so it must be one to trust.
func (r *Report) trustedHolder() int {
	if holder := lockHolder(r.locked); holder != 0 && r.trusts(holder) {
		return holder
	}
	return 0
}

// trusts reports a pidleash that is root's or the file's owner's.
func (r *Report) trusts(pid int) bool {
	if !isPidleash(pid) {
		return false
	}
	owner, err := process.OwnerOf(pid)
	return err == nil && (owner.Real == 0 || owner.MayBeSignaledBy(r.owner))
}

// isPidleash goes by the name: the binary may have been replaced by a newer one
// since, and only root may look at others' files. Who has renamed the binary asks
// with the same.
func isPidleash(pid int) bool {
	p, err := process.Read(pid)
	if err != nil {
		return false
	}
	const commLimit = 15 // proc_pid_comm(5)
	own := filepath.Base(os.Args[0])
	if p.Comm != "pidleash" && p.Comm != own[:min(len(own), commLimit)] {
		return false
	}
	// Whoever starts a program chooses that name, by a symbolic link: for one that is
	// setuid, too. The binary's own is not his, where that may be looked at.
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return true
	}
	binary := filepath.Base(exe) // with a suffix, as in "pidleash (deleted)", or with a version
	self, err := os.Readlink("/proc/self/exe")
	return strings.HasPrefix(binary, "pidleash") || strings.HasPrefix(binary, own) ||
		err == nil && binary == filepath.Base(self)
}

// isForeign reports that the PIDs that this process writes mean others here.
func isForeign(pid int) bool {
	theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	if err != nil {
		return false // another user's, who can do no harm
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && theirs != ours
}

// Hold is a PID file with the processes that it stands for, which no other process
// can take the place of.
type Hold struct {
	Report
	// Program is nil unless the file is Running.
	Program *process.Handle
	// Holder is the pidleash in charge, which may outlive Program; nil: there is none.
	Holder *process.Handle

	// pins keep the inodes from being recycled: what has their number is they.
	pins []int
}

// takeTries is how often Take looks at a file that changes under its eyes.
const takeTries = 100

// Take inspects the file and takes hold of what it stands for. It fails only by
// its verdict. The caller closes it.
func Take(path string) *Hold {
	for range takeTries {
		if h := take(path); h != nil {
			return h
		}
	}
	return &Hold{Report: Report{Path: path}.as(Unreadable, "it keeps changing")}
}

// take is nil when the file did not stand still.
func take(path string) *Hold {
	h := &Hold{Report: Inspect(path)}
	if err := h.hold(); err != nil {
		h.Close()
		if errors.Is(err, unix.ENOSYS) {
			return &Hold{Report: h.Report.as(Unreadable, "to hold a process needs pidfd_open(2), Linux 5.3")}
		}
		return nil
	}
	// With the descriptors open: if the file says the same now, it is about these.
	if !h.sameAs(Inspect(path)) {
		h.Close()
		return nil
	}
	return h
}

// sameAs compares all but what is reckoned from clocks and names.
func (r Report) sameAs(other Report) bool {
	return r.Verdict == other.Verdict && r.PID == other.PID && r.start == other.start &&
		r.Holder == other.Holder && r.id == other.id && r.locked == other.locked
}

func (h *Hold) hold() (err error) {
	for _, path := range []string{h.Path, lockPath(h.Path)} {
		// Without a right to the file, and without an effect on a device.
		if fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
			h.pins = append(h.pins, fd)
		}
	}
	if h.Verdict == Running {
		if h.Program, err = process.Hold(h.PID); err != nil {
			return err
		}
		if h.Program.Start != h.start {
			return unix.ESRCH
		}
	}
	if h.Report.Holder != 0 {
		h.Holder, err = process.Hold(h.Report.Holder)
	}
	return err
}

// Inherited is asked when Holder has ended. It takes hold of the pidleash that is in
// charge now, as the watchdog of a launcher; false: there is none.
func (h *Hold) Inherited(isWatchdog func(pid int) bool) bool {
	if h.Holder == nil {
		return false
	}
	pid := h.heir(isWatchdog)
	if pid == 0 {
		return false
	}
	heir, err := process.Hold(pid)
	if err != nil {
		return false // it has ended, too
	}
	// With the descriptor open, as in Take.
	if h.heir(isWatchdog) != pid {
		heir.Close()
		return false
	}
	h.Holder.Close()
	h.Holder, h.Report.Holder = heir, pid
	return true
}

// heir has the lock, or has given it back and keeps the file open to the end.
func (h *Hold) heir(isWatchdog func(pid int) bool) int {
	if pid := h.trustedHolder(); pid != 0 && pid != h.Holder.PID {
		return pid
	}
	table, err := process.Table()
	if err != nil {
		return 0
	}
	for pid, p := range table {
		if !p.Dead() && h.trusts(pid) && isWatchdog(pid) && len(openings(pid, h.id)) > 0 {
			return pid
		}
	}
	return 0
}

// Close lets go of the processes.
func (h *Hold) Close() {
	h.Program.Close()
	h.Holder.Close()
	for _, fd := range h.pins {
		unix.Close(fd)
	}
	h.pins = nil
}

// Remove removes the file, if it is still the one that was inspected.
func (h *Hold) Remove() error {
	// In a directory that cannot be exchanged for another one in between.
	dir, name := filepath.Split(h.Path)
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // gone, with the file
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || identityOf(&st) != h.id {
		return nil
	}
	if err := unix.Unlinkat(at, name, 0); err != nil && err != unix.ENOENT {
		return &fault.Error{Object: object(h.Path), Problem: "cannot be removed", Err: err}
	}
	return nil
}
