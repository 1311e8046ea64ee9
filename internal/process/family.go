package process

import (
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// Family is what came of the program: the descendants of a subreaper or PID 1, this process or its caller. Others
// reap most of them, and PIDs are recycled: each signal goes through a pidfd, to a process that was seen to be a
// descendant. Excluded, with all below them, are pidleash's own and earlier children ("background-job & exec pidleash
// ...").
type Family struct {
	top      int   // gone when it has ended
	started  Ticks // when top was; 0: top is this process, which is alive
	excluded map[int]Ticks
	seen     map[int]Ticks // at any look
	sessions map[int]Ticks // that are the program's alone, since the start of the process that was noted
	reached  map[int]Ticks // by the last Kill; nil: there was none
	sent     syscall.Signal
	cont     bool      // CONT came after it
	noneAt   time.Time // since when /proc has shown nobody; zero: it shows somebody
}

// gone is nobody's parent.
const gone = -1

// NewFamily notes the earlier children of top, and all below them, which may fall to it.
func NewFamily(top int) *Family {
	var started Ticks
	if top != os.Getpid() {
		p, _ := Read(top)
		started = p.Start
	}
	f := &Family{top: top, started: started, excluded: map[int]Ticks{}, seen: map[int]Ticks{}, sessions: map[int]Ticks{}}
	if top != os.Getpid() || !noChildren() { // hardly ever; otherwise /proc need not be read
		addBelow(f.excluded, top)
	}
	return f
}

// addBelow adds the descendants of pid to the set. It reads only lists of children: all of /proc would take longer.
func addBelow(set map[int]Ticks, pid int) {
	children, _ := Children(pid)
	for _, child := range children {
		if p, err := Read(child); err == nil {
			set[child] = p.Start
			addBelow(set, child)
		}
	}
}

// Exclude keeps a process of pidleash's own out.
func (f *Family) Exclude(pid int) {
	if p, err := Read(pid); err == nil {
		f.excluded[pid] = p.Start
	}
}

// Forget forgets an excluded process that was waited for. A nil Family has none.
func (f *Family) Forget(pid int) {
	if f != nil {
		delete(f.excluded, pid)
	}
}

func has(set map[int]Ticks, pid int, start Ticks) bool {
	known, ok := set[pid]
	return ok && known == start
}

// isScattered reports that top has ended: its children have another parent now.
func (f *Family) isScattered() bool {
	if f.top != os.Getpid() && !lives(f.top, f.started) {
		f.top = gone
	}
	return f.top == gone
}

// Note notes a program, or the daemon that it has become. Below another process both are in sessions that were made
// for the program, or by it.
func (f *Family) Note(h *Held) {
	f.seen[h.PID] = h.Start
	if h.Session > 0 {
		f.sessions[h.Session] = h.Start
	}
}

// NoteBelow notes who is below pid now, and forgets who has ended.
func (f *Family) NoteBelow(pid int) {
	maps.DeleteFunc(f.seen, func(pid int, start Ticks) bool { return !lives(pid, start) })
	addBelow(f.seen, pid)
}

// Descendants are the living of the family. When top has ended these are the ones that were seen at any look, what is
// below them, and who is in the program's session or in one that somebody of them has made.
func (f *Family) Descendants() (map[int]Ticks, error) {
	scattered := f.isScattered()
	all, err := f.look()
	if f.isScattered() != scattered {
		return f.look()
	}
	return all, err
}

// look looks twice: the first look misses a process whose parent ends meanwhile, and in the second that is a child of
// this process.
func (f *Family) look() (map[int]Ticks, error) {
	found := map[int]Ticks{}
	for range 2 {
		table, err := Table()
		if err != nil {
			return found, err
		}
		for pid, p := range table {
			if !p.Dead() && (f.isAbove(pid, table) || f.top == gone && f.hasSessionOf(pid, table)) {
				found[pid] = p.Start
				if f.top != os.Getpid() {
					f.seen[pid] = p.Start
				}
			}
		}
	}
	return found, nil
}

// isAbove reports that top is an ancestor of pid or, when top has ended, that pid or an ancestor was seen; and that
// nobody who is excluded is on the way. Without a table each is read now.
func (f *Family) isAbove(pid int, table map[int]Process) bool {
	for range 1 << 16 { // read in several moments, it could be a circle
		p := table[pid]
		if table == nil {
			p, _ = Read(pid)
		}
		switch {
		case p.State == 0 || has(f.excluded, pid, p.Start):
			return false
		case p.Parent == f.top || f.top == gone && has(f.seen, pid, p.Start):
			return true
		}
		pid = p.Parent
	}
	return false
}

// hasSessionOf reports that pid is in the program's session, or in one whose leader was seen.
func (f *Family) hasSessionOf(pid int, table map[int]Process) bool {
	p := table[pid]
	leader, seen := f.seen[p.Session]
	now, found := table[p.Session]
	since, noted := f.sessions[p.Session]
	// A leader that is younger than who was noted is a stranger with a recycled number.
	ours := noted && p.Start >= since && (!found || now.Start <= since) || seen && p.Start >= leader && (!found || now.Start == leader)
	return ours && !has(f.excluded, pid, p.Start)
}

// freeze stops all of a scattered family: what one of them forks while it ends would be nobody's.
func (f *Family) freeze() {
	frozen := map[int]Ticks{}
	for range 20 { // they cannot fork faster for long
		all, _ := f.Descendants()
		if maps.Equal(all, frozen) {
			return
		}
		for pid, start := range all {
			KillExactly(pid, start, syscall.SIGSTOP)
		}
		frozen = all
	}
}

// Children are the living children of top, in order.
func (f *Family) Children() ([]int, error) {
	children, err := Children(f.top)
	living := children[:0]
	for _, pid := range children {
		if p, err := Read(pid); err == nil && !p.Dead() && !has(f.excluded, pid, p.Start) {
			living = append(living, pid)
			f.seen[pid] = p.Start
		}
	}
	slices.Sort(living)
	return living, err
}

// IsChildless reports that nobody is below top, as only the kernel can tell, and only of this process.
func (f *Family) IsChildless() bool { return f.top == os.Getpid() && noChildren() }

// Has reports a living process of the family.
func (f *Family) Has(pid int) bool {
	if f.isScattered() {
		all, _ := f.Descendants()
		return all[pid] != 0
	}
	return f.isAlive(pid)
}

// IsBelow reports a living process that has top among its ancestors.
func IsBelow(pid, top int) bool { return (&Family{top: top}).isAlive(pid) }

func (f *Family) isAlive(pid int) bool {
	p, err := Read(pid)
	return err == nil && !p.Dead() && f.isAbove(pid, nil)
}

// Kill signals the living of the family, and remembers whom it has reached. CONT accompanies others, and changes
// nothing about that.
func (f *Family) Kill(sig syscall.Signal) error {
	switch {
	case sig == syscall.SIGCONT:
	case f.isScattered():
		f.freeze()
	case sig == syscall.SIGKILL:
		f.killGroups()
	}
	all, err := f.Descendants()
	for pid, start := range all {
		KillExactly(pid, start, sig)
	}
	if f.cont = sig == syscall.SIGCONT; !f.cont {
		f.reached, f.sent = all, sig
	}
	return err
}

// killGroups kills every process group that only the family is in, each in one step of the kernel's: whoever forks
// faster than /proc can be read does not get away. Zombies tell of their groups, too.
func (f *Family) killGroups() {
	table, _ := Table()
	groups := map[int]bool{unix.Getpgrp(): false}
	for pid, p := range table {
		group, _ := unix.Getpgid(pid) // of nobody: -1
		if ours, known := groups[group]; ours || !known {
			groups[group] = f.isAbove(pid, table) && p.Start >= table[f.top].Start
		}
	}
	for group, ours := range groups {
		if ours && group > 1 {
			_ = sys.Kill(-group, syscall.SIGKILL)
		}
	}
}

// resend sends the last signal to those whom it has not reached, as they were just being forked.
func (f *Family) resend(left map[int]Ticks) {
	for pid, start := range f.newcomers(left) {
		KillExactly(pid, start, f.sent)
		if f.cont {
			KillExactly(pid, start, syscall.SIGCONT)
		}
	}
}

// newcomers count as reached from now on.
func (f *Family) newcomers(left map[int]Ticks) map[int]Ticks {
	found := map[int]Ticks{}
	for pid, start := range left {
		if f.reached != nil && !has(f.reached, pid, start) {
			found[pid], f.reached[pid] = start, start
		}
	}
	return found
}

// Restarted forgets what Kill has done: that was to an earlier program.
func (f *Family) Restarted() { f.reached, f.sent, f.noneAt = nil, 0, time.Time{} }

// Left are the living of the family; none: nobody is to be waited for any more. The kernel says so, waitid(2). While
// somebody lives who is excluded it cannot, and /proc, which is no snapshot, must have shown nobody for a while.
// Those whom the last Kill has missed get its signal now.
func (f *Family) Left() (left map[int]Ticks, none bool) {
	if f.IsChildless() {
		return nil, true
	}
	left, err := f.Descendants()
	f.resend(left)
	if err != nil || len(left) > 0 || !f.excludesLiving() {
		f.noneAt = time.Time{}
		return left, false
	}
	if f.noneAt.IsZero() {
		f.noneAt = time.Now()
	}
	limit := time.Second
	if f.top != os.Getpid() {
		limit = 100 * time.Millisecond // below a caller only a failed start is swept
	}
	return left, time.Since(f.noneAt) >= limit
}

func (f *Family) excludesLiving() bool {
	for pid, start := range f.excluded {
		if lives(pid, start) {
			return true
		}
	}
	return false
}

// KillExactly signals the process of that PID and start, or nobody. Without pidfds a PID that is recycled between the
// look and kill(2) could mislead it, which is better than to leave all descendants.
func KillExactly(pid int, start Ticks, sig syscall.Signal) {
	h, err := Hold(pid)
	if err == nil {
		if h.Start == start {
			err = h.Signal(sig)
		}
		h.Close()
	}
	if IsRefused(err) && lives(pid, start) {
		_ = sys.Kill(pid, sig)
	}
}

// DescendantsOf are the living processes below another one.
func DescendantsOf(pid int) (map[int]Ticks, error) {
	return (&Family{top: pid, seen: map[int]Ticks{}}).look()
}

// HasOthers reports that a process group has living members that are not below this process.
func HasOthers(group int) bool {
	table, _ := Table()
	self := &Family{top: os.Getpid()}
	for pid, p := range table {
		if p.Group == group && !p.Dead() && !self.isAbove(pid, table) {
			return true
		}
	}
	return false
}
