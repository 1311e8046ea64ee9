package pidfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// Verdict is what a PID file turns out to be, for who asks and does not start.
type Verdict uint8

const (
	Running    Verdict = iota // it names a process that runs and may be the one that was meant
	Stale                     // what it names has ended
	Recycled                  // its PID is another process's now
	Empty                     // it names nobody, and has no content at all
	Missing                   // there is no file
	Unreadable                // it cannot be read, or is no PID file
	Untrusted                 // somebody who may not signal the process could have written it
	Unsure                    // its PID may be another process's now: the clock was set since the boot
)

func (v Verdict) String() string {
	return [...]string{"running", "stale", "recycled", "empty", "missing", "unreadable", "untrusted", "unsure"}[v]
}

// Report is what is known of a PID file.
type Report struct {
	Path    string
	Verdict Verdict
	PID     int       // what the file names; 0: nothing, or it was not read
	Program string    // the name of the process with that PID; empty: there is none
	Since   time.Time // when that process started; zero: there is none
	Holder  int       // PID of the pidleash in charge, PID itself while no program runs; 0: none that can be seen
	Held    bool      // a pidleash holds the file: Holder, or somebody who cannot be seen from here
	Locker  string    // who else has locked a file that names no running process, and refuses every start by that; empty: nobody
	Reason  string    // why it is not Running
	Hint    string    // what to do about it; empty: nothing is known

	id     identity
	locked identity      // the inode that is locked if Held: id, or the one beside it
	owner  uint32        // the file's
	start  process.Ticks // of PID
}

// Inspect looks at anybody's PID file. It takes no lock and changes nothing. What it says was true at one
// moment; see Take.
//
// To root a file says nothing that its writers could not do themselves: it is Untrusted when group or others may
// write it, and when its owner may not signal the process that it names. Other users cannot do harm by it, kill(2).
func Inspect(path string) Report { return (&Inspector{view{single: true}}).Inspect(path) }

// Inspector inspects many files in turn, and reads once what the system tells of all. It is for one goroutine, and not
// for long.
type Inspector struct{ view view }

// Inspect is as the function of that name.
func (i *Inspector) Inspect(path string) Report {
	r := Report{Path: path}
	file, err := open(path)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR:
		return r.as(Missing, "no such file")
	default:
		e := openError(path, err)
		r.Hint = e.Hint
		return r.as(Unreadable, e.Text())
	}
	defer file.close()
	r.id, r.owner = file.id, file.stat.Uid
	if r = r.judge(file, &i.view); !r.Held && (r.Verdict == Stale || r.Verdict == Recycled || r.Verdict == Empty) {
		r.Locker = i.view.lockerOf(path, file)
	}
	return r
}

// lockerOf is who has locked the file or its path, for a start, as the errors of New name it. Another command that only
// asks has a shared lock for a moment, and does not count.
func (v *view) lockerOf(path string, file *content) string {
	for _, s := range []lockState{v.lockOf(file.fd, file.id, file.stat.Uid), v.pathLockOf(path)} {
		if s.holder != 0 && !isPidleash(s.holder) {
			return lockerText(s.holder)
		}
	}
	return ""
}

func (r Report) as(v Verdict, reason string) Report {
	r.Verdict, r.Reason = v, reason
	return r
}

func (r Report) judge(file *content, v *view) Report {
	r.PID = parsePID(file.text)
	trustless := os.Geteuid() == 0
	if mode := file.stat.Mode; trustless && mode&0o022 != 0 {
		return r.as(Untrusted, fmt.Sprintf("its mode is %04o: others than its owner can write it", mode&0o7777))
	}
	r.findHolder(file.fd, v)
	switch {
	case r.Held && r.Holder == 0:
		return r.as(Unreadable, "held by a process that cannot be seen from here")
	case r.Holder != 0 && isForeign(r.Holder):
		return r.as(Unreadable, fmt.Sprintf("its pidleash, PID %d, is in another PID namespace", r.Holder))
	case file.isNoPIDFile() && r.Holder == 0:
		return r.as(Unreadable, "is not a PID file")
	case blank(file.text):
		return r.as(Empty, "it is empty")
	case r.PID == 0:
		return r.as(Stale, "it names no PID")
	}
	p, verdict, reason := namedProcess(r.PID, file.written())
	if p.Comm != "" {
		r.Program, r.Since, r.start = p.Comm, startTime(p), p.Start
	}
	// A lock that is still held says more than clocks, which may have been set.
	if verdict != Running && !((verdict == Recycled || verdict == Unsure) && r.Holder != 0 && process.IsProcess(r.PID)) {
		return r.as(verdict, reason)
	}
	if !trustless || r.owner == 0 {
		return r
	}
	switch owner, err := process.OwnerOf(r.PID); {
	case err != nil:
		return r.as(Unreadable, fmt.Sprintf("PID %d: its user is unknown: %v", r.PID, err))
	case !owner.MayBeSignaledBy(r.owner):
		return r.as(Untrusted, fmt.Sprintf("user %d wrote it, and PID %d (%s) is user %d's", r.owner, r.PID, r.Program, owner.Real))
	}
	return r
}

// DiffersByClock reports that the file names this process, and that only the clock says otherwise.
func (r *Report) DiffersByClock(p *process.Held) bool {
	return (r.Verdict == Recycled || r.Verdict == Unsure) && r.PID == p.PID && r.start == p.Start && p.Start != 0
}

// findHolder finds the pidleash that has locked the file or the path. Daemons lock their own files, too.
func (r *Report) findHolder(fd int, v *view) {
	r.locked = r.id
	likely := v.likelyHolder(r.PID)
	s := v.pidleashOf(fd, r.id, r.owner, likely)
	if !s.held || s.holder != 0 && !isPidleash(s.holder) {
		beside, id := openPathLock(r.Path)
		if id != (identity{}) {
			defer unix.Close(beside)
			if of := v.pidleashOf(beside, id, ownerOf(r.Path), likely); of.held {
				r.locked, s = id, of
			}
		}
	}
	if s.holder == 0 || isPidleash(s.holder) {
		r.Holder, r.Held = s.holder, s.held
	}
}

// likelyHolder is the pidleash that has started the process with a PID, or that process itself; 0: neither is one. For
// one file of many the list of all locks is cheaper.
func (v *view) likelyHolder(pid int) int {
	if !v.single || pid == 0 || v.isForeign() {
		return 0
	}
	p, _ := process.Read(pid)
	for _, candidate := range []int{p.Parent, pid} {
		if candidate != 0 && isPidleash(candidate) {
			return candidate
		}
	}
	return 0
}

// isPidleash goes by the name: the binary may have been replaced since, and only root may look at others'
// files. If the binary was renamed, the one that asks has that name, too.
func isPidleash(pid int) bool {
	const commLimit = 15 // proc_pid_comm(5)
	own := filepath.Base(os.Args[0])
	p, err := process.Read(pid)
	if err != nil || p.Comm != "pidleash" && p.Comm != own[:min(len(own), commLimit)] {
		return false
	}
	// A user can start any program by that name, through a symbolic link, one that is setuid, too. But the
	// name of the binary itself is not the user's to choose.
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return true
	}
	binary := filepath.Base(exe) // with a suffix, as in "pidleash (deleted)", or with a version
	self, _ := os.Readlink("/proc/self/exe")
	return strings.HasPrefix(binary, "pidleash") || strings.HasPrefix(binary, own) || binary == filepath.Base(self)
}

// isForeign reports that the PIDs that this process writes mean others here.
func isForeign(pid int) bool {
	theirs, hidden := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid") // hidden: a user's who can do no harm
	ours, err := os.Readlink("/proc/self/ns/pid")
	return hidden == nil && err == nil && theirs != ours
}
