// Package daemon finds the daemon that a program has become, and the process that succeeds that daemon.
//
// The started process forks and ends; its descendants become children of pidleash or of its starter, the
// subreaper. Where the daemon's own PID file is known, that file alone decides; otherwise the daemon is whoever
// the PID file names, or the only one that is left. That may be wrong, and is mended when the process ends.
//
// A list of children in /proc is no snapshot: it counts only when it has not changed for a while. The package
// sends no signal, reaps nothing, and writes no file.
package daemon

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
)

const (
	// aloneAsleep is how long a process must have been the only one to be the daemon, if it sleeps, or if it has come
	// out of a double fork: it is in a session that the middle process has made.
	aloneAsleep = 20 * time.Millisecond
	// aloneLeader is the same for one that leads its session: it may be the middle process of a double fork, which
	// takes its time.
	aloneLeader = time.Second
	// aloneBusy is the same for any other that is not asleep.
	aloneBusy = 500 * time.Millisecond
	// crowdPatience is how long several children must have been there before the search fails.
	crowdPatience = time.Second
	// nonePatience is how long /proc must show no child to be believed where the kernel cannot tell.
	nonePatience = time.Second
	// ParentPatience is how long the daemon's parent may live on with -daemon: the daemon then is not the service
	// manager's child.
	ParentPatience = 5 * time.Second
	// movePatience is how long a successor may take to write its file, and lookInterval the time between two
	// looks at that.
	movePatience = 30 * time.Second
	lookInterval = 20 * time.Millisecond
)

// ErrNotAlive says that the process that was found has ended, or is no descendant of the program. The next look may
// find another process.
var ErrNotAlive = errors.New("the daemon that its PID file names has ended")

// Finder knows the daemon and its predecessors.
type Finder struct {
	file    string          // where the daemon may write its PID; empty: nowhere
	follow  bool            // -follow names it
	decides bool            // that file alone decides: the program was told to write it
	beside  bool            // the daemon is to be the service manager's child
	family  *process.Family // what came of the program
	program *process.Held   // the daemon; nil: not known yet
	started int             // PID of the process that was started; 0: it has ended
	session int             // of that process, and then of the daemon

	calm  calm                // of the children
	own   calm                // of the started process, while the file names it
	born  time.Time           // when the daemon was first seen; zero: not yet
	early *syscall.WaitStatus // of the last descendant to end before the daemon was known

	succession
}

// calm is how long the same processes have been seen in the same sessions.
type calm struct {
	seen  []int
	since time.Time
}

// lasts notes what is seen now, and returns for how long nothing else was.
func (c *calm) lasts(seen []int, now time.Time) time.Duration {
	if c.since.IsZero() || !slices.Equal(c.seen, seen) {
		*c = calm{seen, now}
	}
	return now.Sub(c.since)
}

// NewFinder makes a Finder that does not know the daemon yet.
func NewFinder(p *plan.Plan, family *process.Family) *Finder {
	return &Finder{file: p.Followed(), follow: p.Follow != "", decides: p.WritesFile(), beside: p.Beside(), family: family}
}

// Started records the process that was started, which may have been waited for by now. Nil: it has ended.
func (f *Finder) Started(h *process.Held) {
	if f.started = 0; h != nil {
		f.started, f.session = h.PID, h.Session
	}
}

// IsStarted reports that a living process is the one that was started.
func (f *Finder) IsStarted(pid int) bool { return pid == f.started }

// NoteEnd notes the end of a process: if the daemon is not known yet, it may have been the daemon.
func (f *Finder) NoteEnd(status syscall.WaitStatus) {
	if f.program == nil {
		f.early = &status
	}
}

// Code is the exit code of a daemon that ended before it was known; 0: none did.
func (f *Finder) Code() int {
	if f.program != nil || f.early == nil {
		return 0
	}
	return plan.ExitCode(*f.early)
}

// Known reports that the daemon has been found. The questions about successors are for then.
func (f *Finder) Known() bool { return f.program != nil }

// Look looks for the daemon. It returns 0 and no error while it is too early to decide.
func (f *Finder) Look(now time.Time) (int, error) {
	pid, err := f.find(now)
	if pid == 0 || err != nil {
		f.born = time.Time{}
		return 0, err
	}
	if f.born.IsZero() {
		f.born = now
	}
	if f.beside && f.Parent(pid) != 0 && now.Sub(f.born) < ParentPatience {
		return 0, nil
	}
	return pid, nil
}

// Parent is the process of the program that is still the daemon's parent; 0: none is.
func (f *Finder) Parent(pid int) int {
	p, err := process.Read(pid)
	if err != nil || !f.family.Has(p.Parent) {
		return 0
	}
	return p.Parent
}

func (f *Finder) find(now time.Time) (int, error) {
	if pid := f.named(); pid != 0 && (pid != f.started || f.own.lasts([]int{pid}, now) >= aloneLeader) {
		return pid, nil
	}
	if f.started != 0 {
		return 0, nil
	}
	children, err := f.family.Children()
	if err != nil {
		return 0, err
	}
	unchanged := f.calm.lasts(withSessions(children), now)
	switch {
	case len(children) == 0 && !f.family.IsChildless() && unchanged < nonePatience:
		return 0, nil
	case len(children) == 0 && f.early != nil:
		return 0, fmt.Errorf("has left a daemon behind that %s before it was known", plan.Describe(*f.early))
	case len(children) == 0:
		return 0, errors.New("has ended and has left no daemon behind")
	case f.decides || unchanged == 0:
		return 0, nil
	case len(children) > 1 && unchanged < crowdPatience:
		return 0, nil
	case len(children) > 1:
		return 0, &fault.Error{
			Problem: fmt.Sprintf("has left %d processes behind, PIDs %v: which is the daemon is not clear", len(children), children),
			Hint:    "-follow FILE, its own PID file",
		}
	case unchanged < f.enough(children[0]):
		return 0, nil
	}
	return children[0], nil
}

// named is the process of the program that the file names; 0: none. While the started process lives only a
// file counts that it was told to write: another one may be left over from what it starts.
func (f *Finder) named() int {
	if f.file == "" || f.started != 0 && !f.decides {
		return 0
	}
	pid := f.inFile()
	if pid == 0 || !f.CameOfProgram(pid) {
		return 0
	}
	return pid
}

// inFile is whom the file names; 0: nobody. Only a file of -follow may be behind a symbolic link.
func (f *Finder) inFile() int {
	if f.follow {
		return pidfile.NamedBehind(f.file)
	}
	return pidfile.Named(f.file)
}

// withSessions is the processes and their sessions.
func withSessions(pids []int) []int {
	all := slices.Clone(pids)
	for _, pid := range pids {
		session, _ := unix.Getsid(pid)
		all = append(all, session)
	}
	return all
}

// enough is how long a process must have been the only one to be believed.
func (f *Finder) enough(pid int) time.Duration {
	switch session, _ := unix.Getsid(pid); {
	case session == pid:
		return aloneLeader
	case session == f.session && isBusy(pid):
		return aloneBusy
	}
	return aloneAsleep
}

// isBusy reports whether a process is not asleep. One that has ended counts as busy: the next look will not find it.
func isBusy(pid int) bool {
	p, err := process.Read(pid)
	return err != nil || p.State != 'S'
}

// CameOfProgram reports whether pid is a living process of the program's. Where the keeper is no ancestor, that
// is also one that is in the daemon's control group, of its user, and younger.
func (f *Finder) CameOfProgram(pid int) bool {
	return f.family.Has(pid) || f.origin.bore(pid)
}
