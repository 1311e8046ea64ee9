package wrapper

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"pidleash/internal/launch"
	"pidleash/internal/machine"
	"pidleash/internal/process"
)

// runCommand starts the stop command in the program's context. It gets its own process group, so that all of
// it can be killed.
func (l *loop) runCommand() {
	if err := l.startCommand(); err != nil {
		l.log.Warn(fmt.Sprintf("stop command: %v", err))
		l.answer(machine.Event{Kind: machine.CommandEnded})
	}
}

func (l *loop) startCommand() error {
	files, err := launch.Open(&l.plan.Context)
	if err != nil {
		return err
	}
	defer files.Close()
	spec := spec(l, files, nil)
	spec.Program = launch.Shell()
	spec.Args = []string{"/bin/sh", "-c", l.plan.StopCommand}
	env := slices.DeleteFunc(slices.Clone(spec.Env), func(e string) bool { return strings.HasPrefix(e, "MAINPID=") })
	spec.Env = append(env, "MAINPID="+strconv.Itoa(l.program.pid()))
	spec.DeathSignal, spec.SameGroup, spec.Inherit = syscall.SIGKILL, false, nil
	pid, err := launch.Start(spec)
	if err != nil {
		return err
	}
	l.program.command = pid
	if l.program.family != nil {
		l.program.family.Exclude(pid)
	}
	l.program.reaper.Watch()
	return nil
}

// killCommand kills the command's process group and its descendants in other groups. Descendants whose parent
// ended earlier count as the program's.
func (s *program) killCommand(log hclog.Logger) {
	others, err := process.DescendantsOf(s.command)
	if err != nil {
		log.Debug(fmt.Sprintf("stop command: %v", err))
	}
	log.Warn("stop command: killed, it ran longer than the first wait of the stop schedule")
	if err := unix.Kill(-s.command, syscall.SIGKILL); err != nil {
		log.Warn(fmt.Sprintf("stop command: cannot be killed: %v", err))
	}
	for pid, start := range others {
		process.KillExactly(pid, start, syscall.SIGKILL)
	}
}

// reapCommand waits for a stop command that has just been killed.
func (s *program) reapCommand() {
	for s.command != 0 {
		if _, err := syscall.Wait4(s.command, nil, 0, nil); err != syscall.EINTR {
			s.command = 0
		}
	}
}
