package wrapper

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/launch"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
	"pidleash/internal/ready"
	"pidleash/internal/sys"
)

// startProgram claims the PID file and starts the program.
func startProgram(l *loop) error {
	return l.leash.claim(func(c *pidfile.Claim) (int, error) {
		files, err := launch.Open(&l.plan.Context)
		if err != nil {
			return 0, err
		}
		defer files.Close()
		if err := beforeLaunch(l, files); err != nil {
			return 0, err
		}
		h, err := l.role.start(l, files, c)
		l.ready.Launched()
		if err != nil {
			return 0, err
		}
		l.program.started(h)
		return h.PID, nil
	})
}

func startChild(l *loop, files *launch.Files, c *pidfile.Claim) (*process.Held, error) {
	spec := newSpec(l, files, c)
	if !l.plan.Forking {
		spec.DeathSignal = l.plan.DeathSignal
	}
	if !l.plan.SameGroup {
		spec.Terminal = l.terminal.Lend()
	}
	pid, err := launch.Start(spec)
	if err != nil {
		l.terminal.TakeBack(pid)
		return nil, err
	}
	l.program.reaper.Watch()
	if l.plan.SameGroup {
		l.signals.Sibling(pid)
		return process.Child(pid, unix.Getpgrp()), nil
	}
	return process.Child(pid, pid), nil
}

// startBeside starts the program as another process's child and holds it by a pidfd. With -sidecar the caller
// becomes the program later, when the keeper has answered it.
func startBeside(l *loop, files *launch.Files, c *pidfile.Claim) (*process.Held, error) {
	if l.plan.Way == plan.Sidecar {
		return takeCaller(l, c)
	}
	spec := newSpec(l, files, c)
	spec.Detached = true
	if l.caller.conn.Gone() { // the orphans of the program would get another parent
		return nil, errCallerGone
	}
	pid, err := launch.Start(spec)
	if err != nil {
		return nil, err
	}
	// The PID is still the program's: the caller reaps nothing before "started".
	h, err := process.Hold(pid)
	if err != nil {
		_ = sys.Kill(pid, syscall.SIGKILL) // it may have ended
		l.leash.retract(c, pid)
		return nil, noPidfd("pidfd_open(2), Linux 5.3", err)
	}
	l.program.family.Note(h)
	_ = l.caller.conn.Send(message{Kind: started, PID: pid}) // if the caller is gone, its channel closes
	return h, nil
}

// takeCaller holds the caller as the program and publishes its PID.
func takeCaller(l *loop, c *pidfile.Claim) (*process.Held, error) {
	h, err := process.Hold(l.caller.pid())
	if err != nil || l.caller.conn.Gone() {
		return nil, errors.Join(errCallerGone, err)
	}
	if h.Group != h.PID {
		if l.plan.KillMode == plan.KillGroup {
			return nil, &fault.Error{Object: "-kill-mode group", Problem: "the program shares its process group with who started it", Hint: "another mode"}
		}
		h.Group = 0 // other processes share the group: do not sweep it
	}
	p, _ := process.Read(h.PID)
	if shell, err := process.Read(p.Parent); err == nil && shell.Session == h.Session {
		h.Shell = p.Parent // a pipeline's other processes are in the group, too
	}
	if err := c.Publish(h.PID); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// errCallerGone has no hint: the caller that would print it is gone.
var errCallerGone = errors.New("the caller has gone")

// beforeLaunch does what must precede the launch, once the program's files are open.
func beforeLaunch(l *loop, files *launch.Files) error {
	l.noteLogs(files)
	err := l.leash.publishSupervisor()
	if err == nil && l.plan.Way != plan.Foreground {
		err = files.Detach()
	}
	if err == nil && l.plan.Ready.Given {
		l.relay.ForgetReady()
		l.ready.Close() // of the last run
		l.ready, err = ready.Prepare(&l.plan.Ready, l.logs)
	}
	if err == nil {
		err = l.leash.clear()
	}
	return err
}

// noteLogs notes where the program's logs end before it is started, if anybody may ask for what is new.
func (l *loop) noteLogs(files *launch.Files) {
	l.closeLogs()
	if l.caller == nil && !l.plan.Ready.Given && !l.plan.Forking && l.plan.StartLimit == 0 {
		return
	}
	l.logs = ready.NoteOpen(l.plan.Stderr, files.Reader(2, l.plan.Stderr))
	l.logs = append(l.logs, ready.NoteOpen(l.plan.Stdout, files.Reader(1, l.plan.Stdout))...)
	l.logs = append(l.logs, ready.Note(l.plan.ReadyFiles...)...)
}

func (l *loop) closeLogs() {
	ready.Close(l.logs)
	l.logs = nil
}

// newSpec is what all ways to start the program share.
func newSpec(l *loop, files *launch.Files, c *pidfile.Claim) *launch.Spec {
	ignored, blocked := l.signals.Program(l.plan.Ignored)
	spec := &launch.Spec{
		Program:   l.program.executable,
		Args:      l.plan.Args,
		Env:       l.relay.Env,
		Context:   &l.plan.Context,
		Files:     files,
		Claim:     c,
		OnFailure: func(pid int) { l.leash.retract(c, pid) },
		Ignored:   ignored,
		Blocked:   blocked,
		SameGroup: l.plan.SameGroup,
	}
	if fd, to, ok := l.ready.Inherit(); ok {
		spec.Inherit = []launch.Descriptor{{FD: fd, To: to}}
	}
	return spec
}

// startCommand starts a command of an option in the program's context. It gets its own process group, so that all of
// it can be killed, and /dev/null as standard input, because what is there is the program's to read.
func startCommand(l *loop, command string) (pid int, err error) {
	files, err := launch.Open(&l.plan.Context)
	if err != nil {
		return 0, err
	}
	defer files.Close()
	_ = files.NoInput() // without /dev/null the command still has to run
	spec := newSpec(l, files, nil)
	spec.Program = launch.Shell()
	spec.Args = []string{"/bin/sh", "-c", command}
	spec.Env = slices.DeleteFunc(slices.Clone(spec.Env), func(e string) bool { return strings.HasPrefix(e, "MAINPID=") })
	spec.Env = append(spec.Env, "MAINPID="+strconv.Itoa(l.program.pid()))
	spec.DeathSignal, spec.SameGroup, spec.Inherit = syscall.SIGKILL, false, nil
	if pid, err = launch.Start(spec); err != nil {
		return 0, err
	}
	if l.program.family != nil {
		l.program.family.Exclude(pid)
	}
	l.program.reaper.Watch()
	return pid, nil
}

// noPidfd is the error of a call without which a process that is no child cannot be held.
func noPidfd(call string, err error) error {
	if process.IsRefused(err) {
		hint := "allow it in the sandbox"
		if errors.Is(err, syscall.ENOSYS) {
			hint = "a newer kernel, or leave -daemon and -sidecar out"
		}
		return &fault.Error{Problem: "a keeper beside the program needs " + call, Err: err, Hint: hint}
	}
	return &fault.Error{Object: "pidfd", Problem: "cannot be opened", Err: err}
}
