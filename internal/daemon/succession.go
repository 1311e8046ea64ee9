package daemon

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
	"pidleash/internal/sys"
)

// A daemon that ends may be succeeded: nginx is upgraded by a second master, others execute themselves and go
// to the background once more, and a middle process of a double fork was never the daemon.

const (
	// filePatience is how long a daemon's own file may take to name the successor.
	filePatience = 2 * time.Second
	// unseenPatience is how long readings of /proc must show no process that could be the successor. One reading is no
	// snapshot: a daemon that goes to the background again forks and ends faster than /proc can be read.
	unseenPatience = 100 * time.Millisecond
	// guessPatience is how long the looks for a successor without a file may take at most.
	guessPatience = 3 * time.Second
	// middleLimit is how soon after it was found a middle process of a double fork has ended.
	middleLimit = 10 * time.Second
)

// succession is what a Finder knows of the daemon's predecessors and successors.
type succession struct {
	predecessors []*process.Held
	origin       origin    // where the daemon runs, if the keeper is no ancestor
	image        string    // the path that the daemon executes; empty: unknown
	found        time.Time // when the daemon was found
	ended        time.Time // when its end was first asked about; zero: it lives
	writer       time.Time // when somebody who may write the file was last seen, or ended
	wrote        bool      // the daemon has written a file of its own
	unnamed      time.Time // since when the file does not name the daemon; zero: it does
}

// origin is where a process runs.
type origin struct {
	user  uint32
	group []byte // proc_pid_cgroup(5)
	start process.Ticks
	dead  bool
}

// originOf is where pid runs; the zero value: unknown.
func originOf(pid int) (o origin) {
	dir := "/proc/" + strconv.Itoa(pid)
	var st unix.Stat_t
	p, err := process.Read(pid)
	if err != nil || sys.Stat(dir, &st) != nil {
		return o
	}
	o.user, o.start, o.dead = st.Uid, p.Start, p.Dead()
	o.group, _ = sys.ReadFile(dir+"/cgroup", 4096)
	return o
}

// bore reports a living process that may have come of the one that runs there.
func (o origin) bore(pid int) bool {
	if pid == os.Getpid() || len(o.group) == 0 {
		return false
	}
	its := originOf(pid)
	return !its.dead && its.start >= o.start && its.user == o.user && bytes.Equal(its.group, o.group)
}

// Follow makes a process the daemon.
func (f *Finder) Follow(h *process.Held, now time.Time) {
	if f.program != nil {
		f.predecessors = append(f.predecessors, f.program)
	}
	f.program, f.session, f.calm = h, h.Session, calm{}
	f.found, f.ended, f.image = now, time.Time{}, process.ImageOf(h.PID)
	if f.beside {
		if o := originOf(h.PID); len(o.group) > 0 { // otherwise it has ended again, and was where the last one was
			f.origin = o
		}
	}
	f.family.Note(h)
}

// Predecessors are the processes that were the daemon before.
func (f *Finder) Predecessors() []*process.Held { return f.predecessors }

// Wrote records that the daemon has written a PID file of its own.
func (f *Finder) Wrote() { f.wrote = true }

// hasFile reports that the daemon has a file of its own.
func (f *Finder) hasFile() bool { return f.decides || f.wrote }

// Note records the daemon's descendants, so that they can be recognised after the daemon's end. It releases the
// predecessors whose process groups are empty, except last, which the caller of Note still uses.
func (f *Finder) Note(last *process.Held) {
	f.predecessors = slices.DeleteFunc(f.predecessors, func(h *process.Held) bool {
		over := h.ForgetGroup() && h != last
		if over {
			h.Close()
		}
		return over
	})
	if f.beside {
		f.family.NoteBelow(f.program.PID)
	}
}

// Successor is the process that the daemon's file names in the daemon's place; 0: none.
func (f *Finder) Successor() int {
	pid := f.named()
	if pid == f.program.PID {
		return 0
	}
	return pid
}

// End is how a daemon has ended.
type End struct {
	Status    syscall.WaitStatus
	Known     bool // Status is known: of another process's child it comes later, or never
	Untouched bool // no signal was sent to it
	BeforeUp  bool // a caller waits: afterwards the service manager must not find the file of a dead process
}

// Next looks for the successor of a daemon that has ended, where its file names none, see Successor. 0 and more: it is
// too early to tell.
func (f *Finder) Next(now time.Time, e End) (pid int, more bool) {
	if f.ended.IsZero() {
		f.ended, f.writer = now, now
	}
	since := now.Sub(f.ended)
	left := f.Left()
	switch {
	case len(left) == 0 && f.family.IsChildless():
		return 0, false
	case len(left) == 0 && !f.hasFile():
		return 0, (!f.beside || e.BeforeUp) && since < filePatience // not from one reading of /proc
	case f.hasFile() && since < filePatience && (len(left) > 0 || f.mayBeWritten(now)):
		return 0, true
	case len(left) == 0 || since >= guessPatience:
		return 0, false
	}
	isMiddle := e.Status == 0 && e.Untouched && f.ended.Sub(f.found) < middleLimit
	if isMiddle && !e.Known && since < filePatience {
		return 0, true
	}
	return f.guess(now, left, isMiddle && e.Known)
}

// mayBeWritten reports whether a successor may still write its PID file: a process that could be the successor lives,
// or was seen within unseenPatience.
func (f *Finder) mayBeWritten(now time.Time) bool {
	if !f.beside {
		return true // not from one reading of /proc
	}
	table, _ := process.Table()
	for pid, p := range table {
		if p.Start >= f.origin.start && f.origin.bore(pid) {
			f.writer = now
			return true
		}
	}
	return now.Sub(f.writer) < unseenPatience
}

// guess chooses among those who are left. A middle process has left one behind. Otherwise it is the only one that is no
// worker. Where the keeper is no ancestor of theirs, somebody may be missing among them: nobody is chosen.
func (f *Finder) guess(now time.Time, left []int, middle bool) (pid int, more bool) {
	if middle {
		if top := tops(left); len(top) == 1 {
			return top[0], false
		}
	}
	if f.beside {
		return 0, false
	}
	chosen := tops(slices.DeleteFunc(slices.Clone(left), f.isWorker))
	if len(chosen) == 0 { // a successor that has just been forked is in the daemon's session, too, but is not asleep
		return 0, f.calm.lasts(withSessions(left), now) < unseenPatience || slices.ContainsFunc(left, isBusy)
	}
	unchanged := f.calm.lasts(withSessions(chosen), now)
	if len(chosen) > 1 || unchanged < f.enough(chosen[0]) {
		return 0, true
	}
	return chosen[0], false
}

// tops returns the processes whose parent is not among them: a successor may have workers of its own by now.
func tops(pids []int) []int {
	return slices.DeleteFunc(slices.Clone(pids), func(pid int) bool {
		p, err := process.Read(pid)
		return err == nil && slices.Contains(pids, p.Parent)
	})
}

// isWorker reports whether a process is in the daemon's session or group and has not executed the daemon's binary
// itself. A daemon that is upgraded executes its binary to start the successor, and only forks to start a worker.
func (f *Finder) isWorker(pid int) bool {
	p, err := process.Read(pid)
	if err != nil {
		return true // it has ended
	}
	isAnew := !p.Forked && f.image != "" && process.ImageOf(pid) == f.image
	return !isAnew && (p.Session == f.program.Session || p.Group == f.program.Group)
}

// Left are the living who came of the program, without the daemon, which is known.
func (f *Finder) Left() []int {
	all, _ := f.family.Descendants()
	delete(all, f.program.PID)
	return slices.Sorted(maps.Keys(all))
}

// IsMoving reports whether a successor, which was started for that, may still write the file that the daemon has
// renamed. since is when the file was first seen to be gone.
func (f *Finder) IsMoving(since, now time.Time, settle time.Duration) bool {
	isYoung := func(pid int) bool {
		p, err := process.Read(pid)
		return err == nil && process.BootTime().Add(p.Start.SinceBoot()).After(since.Add(-time.Second))
	}
	return now.Sub(since) < settle || slices.ContainsFunc(f.Left(), isYoung)
}

// LookAgain is when to look again at the daemon's own file, which a successor may be writing; zero: no need.
func (f *Finder) LookAgain(now time.Time) time.Time {
	if f.inFile() == f.program.PID {
		f.unnamed = time.Time{}
		return time.Time{}
	}
	if f.unnamed.IsZero() {
		f.unnamed = now
	}
	if now.Sub(f.unnamed) > movePatience {
		return time.Time{}
	}
	return now.Add(lookInterval)
}
