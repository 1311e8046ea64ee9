package wrapper

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"pidleash/internal/daemon"
	"pidleash/internal/launch"
	"pidleash/internal/machine"
	"pidleash/internal/plan"
	"pidleash/internal/process"
	"pidleash/internal/sys"
)

// program is the program, its descendants, and the stop command.
type program struct {
	executable *launch.Program
	launches   int

	held    *process.Held   // the running program; nil: none runs
	last    *process.Held   // the program that ran last; nil: none did
	reaped  <-chan struct{} // closed when the ended program's status is known or lost; nil: not awaited
	waiting bool            // held has ended, and its exit status is awaited
	sent    map[syscall.Signal]bool
	end     daemon.End // of the program that ran last

	reaper *process.Reaper
	family *process.Family // nil: the program is not below this process or its caller
	finder *daemon.Finder  // nil: the program does not become a daemon
	sweeps bool            // the machine waits for the end of the descendants
	reason string          // why pidleash has stopped the program; empty: it has not

	command int // PID of the stop command; 0: it does not run
	probe   int // PID of the command of -ready; 0: it does not run
}

// newProgram notes the earlier children of this process, or of its caller.
func newProgram(p *plan.Plan, executable *launch.Program, caller *callerEnd) *program {
	top := os.Getpid()
	if p.Beside() {
		top = caller.pid()
	}
	family := process.NewFamily(top)
	if p.Beside() {
		family.Exclude(os.Getpid())
	}
	s := &program{executable: executable, reaper: process.NewReaper(), family: family, sent: map[syscall.Signal]bool{}}
	if p.Forking {
		s.finder = daemon.NewFinder(p, family)
	}
	return s
}

// pid is the program's PID; 0: no program runs.
func (s *program) pid() int {
	if s.held == nil {
		return 0
	}
	return s.held.PID
}

func (s *program) started(h *process.Held) {
	s.last.Close()
	s.held, s.last, s.reaped, s.waiting, s.sweeps = h, nil, nil, false, false
	s.launches++
	if s.finder != nil {
		s.finder.Started(h)
	}
	clear(s.sent)
	if s.family != nil {
		s.family.Restarted()
	}
}

// follow makes another process the program.
func (s *program) follow(h *process.Held) {
	s.held, s.reaped, s.waiting = h, nil, false
	clear(s.sent)
}

// callerEnded is called when the caller has ended: the program is now the child of the service manager.
func (s *program) callerEnded() {
	s.family = nil
	s.held.KeepTrace()
}

// escaped lists the processes of the ended program that pidleash finds in sessions of their own.
func (s *program) escaped() []int {
	if s.family == nil {
		return s.last.Copies()
	}
	if s.family.IsChildless() {
		return nil
	}
	session, _ := unix.Getsid(0)
	all, _ := s.family.Descendants()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(pid int) bool {
		p, err := process.Read(pid)
		return err != nil || p.Dead() || p.Session == session
	})
}

// ended delivers the end of a program that is not a child; nil: none runs.
func (s *program) ended() <-chan struct{} {
	if s.waiting {
		return nil
	}
	return s.held.Ended()
}

// was reports whether pid is the PID of the program that ran last.
func (s *program) was(pid int) bool { return s.last != nil && s.last.PID == pid }

// send sends a signal and names its target for messages.
func (s *program) send(sig syscall.Signal, to machine.Target) (whom string, err error) {
	s.sent[sig] = true
	s.held.Regroup()
	switch {
	case to == machine.ToTree:
		return "all descendants", s.sendToTree(sig)
	case s.held == nil:
		return "nobody", nil
	case to == machine.ToGroup:
		return "process group " + strconv.Itoa(s.held.Group), sys.Kill(-s.held.Group, sig)
	}
	return "PID " + strconv.Itoa(s.held.PID), s.held.Signal(sig)
}

// sendToTree signals every descendant. Without a family only the known process groups can be reached.
func (s *program) sendToTree(sig syscall.Signal) error {
	if s.family != nil {
		err := s.family.Kill(sig)
		if err != nil && s.held != nil { // /proc does not tell of the descendants
			_ = s.held.Signal(sig)
		}
		return err
	}
	members, err := s.members()
	for pid, start := range members {
		process.KillExactly(pid, start, sig)
	}
	return err
}

// members are the living processes in the process groups of the program and its predecessors.
func (s *program) members() (map[int]process.Ticks, error) {
	all := map[int]process.Ticks{}
	list := []*process.Held{s.held, s.last}
	if s.finder != nil {
		list = append(list, s.finder.Predecessors()...)
	}
	for _, h := range slices.DeleteFunc(list, func(h *process.Held) bool { return h == nil }) {
		members, err := h.Members()
		if err != nil {
			return nil, err
		}
		maps.Copy(all, members)
	}
	return all, nil
}

// survey looks whether any descendant of the program is left.
func (s *program) survey() machine.Event {
	none := false
	if s.family != nil {
		_, none = s.family.Left()
	} else {
		left, _ := s.members()
		none = len(left) == 0
	}
	if s.sweeps = !none; none {
		return machine.Event{Kind: machine.NoneLeft}
	}
	return machine.Event{Kind: machine.Left}
}

// killProbe kills the command of -ready, and its process group. It is reaped as any child is.
func (s *program) killProbe() {
	if s.probe != 0 {
		_ = sys.Kill(-s.probe, syscall.SIGKILL)
	}
}

// killCommand kills the command's process group and its descendants in other groups. Descendants whose parent
// ended earlier count as the program's.
func (s *program) killCommand(log hclog.Logger) {
	others, err := process.DescendantsOf(s.command)
	if err != nil {
		log.Debug(fmt.Sprintf("stop command: %v", err))
	}
	log.Warn("stop command: killed, it ran longer than the first wait of the stop schedule")
	if err := sys.Kill(-s.command, syscall.SIGKILL); err != nil {
		log.Warn(fmt.Sprintf("stop command: cannot be killed: %v", err))
	}
	for pid, start := range others {
		process.KillExactly(pid, start, syscall.SIGKILL)
	}
}
