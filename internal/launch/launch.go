// Package launch starts a program: as a child that publishes its own PID, or in the place of this process.
//
//  1. Find looks for the program as execvp(3) does, so that a mistake shows before anything is done. Open opens
//     the files of its standard output and error.
//  2. Start removes a stale PID file and forks. The child makes its session or process group, restores the limit of
//     open files, takes the terminal, puts its PID into LISTEN_PID and the like, and sets output, umask, priority
//     and OOM score.
//  3. It writes its PID into the claim's file and gives that its name, replacing nobody else's file.
//  4. It changes its user, enters its directory, places its descriptors, sets the parent-death signal, its
//     dispositions and its mask, and calls execve.
//  5. Start returns when execve has succeeded, or with what has failed, and why.
//
// So the PID file is there, and complete, before the program's first instruction. After a failed execve it was
// visible for a moment: Spec.OnFailure is there to remove it. Become does the same without a child: this process
// becomes the program. It returns only if it fails. Every error is a *fault.Error, or one of the errors of package
// pidfile that Start names. The code is 126 or 127 if the program's file is the reason.
//
// What is not promised: how the program goes on; that a claim is removed or given up, which is the caller's;
// anything about the signals that this process collects. Only a child that has failed is waited for.
package launch

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/sys"
)

// Spec is what to start. Program and Args are required; the zero value of other fields is "none", "no", or "as
// pidleash".
type Spec struct {
	Program     *Program
	Args, Env   []string          // the whole of both; Args[0] is the program's name
	Context     *plan.Context     // what it finds itself in, but for the output
	Files       *Files            // its standard input, output and error
	Claim       *pidfile.Claim    // published by the child
	OnFailure   func(pid int)     // called with the PID of a child that has failed, before it is reaped
	Ignored     atstart.SignalSet // by the program; all other signals have their default action
	Blocked     atstart.SignalSet // by the program
	DeathSignal syscall.Signal    // sent to it when the thread ends that has called Start
	SameGroup   bool              // it stays in this process's group
	Detached    bool              // in a session that it does not lead, and nobody's child here
	Terminal    int               // descriptor of the terminal that its group takes; 0: none
	Inherit     []Descriptor      // what it gets beside those without close-on-exec
	CloseFrom   int               // all descriptors from this number on are closed; 0: none
}

// Descriptor becomes number To.
type Descriptor struct{ FD, To int }

// failure is about the program as a whole.
func (s *Spec) failure(problem string, err error) *fault.Error {
	e := &fault.Error{Object: s.Program.Name, Problem: problem, Err: err}
	if err == syscall.EAGAIN { // clone(2): RLIMIT_NPROC, pids.max, or no PID is left
		e.Hint = "allow more processes: ulimit -u, or TasksMax= in a unit"
	}
	return e
}

// Start starts the program and returns its PID; with an error that of the failed child, which may have taken
// the terminal, 0 if there was none. The error is pidfile.ErrLostRace when somebody else has published at the claim's
// path meanwhile, pidfile.ErrRemoved when the file that was to be exchanged is gone, and pidfile.ErrNotLinked when a
// file with a hidden name is needed.
//
// The parent-death signal comes when the thread ends that has forked, PR_SET_PDEATHSIG(2const). The runtime ends no
// thread but with a goroutine that is locked to it, golang.org/issue/14592: none that may be locked to this one ends.
func Start(s *Spec) (pid int, err error) {
	p, err := newChildPlan(s)
	if err != nil {
		return 0, err
	}
	defer p.free()
	if s.Claim != nil {
		if err := s.Claim.Clear(); err != nil {
			return 0, err
		}
	}
	pipe, err := newExecPipe()
	if err != nil {
		return 0, s.failure("cannot be started: no pipe", err)
	}
	// A child that changes its user makes this process undumpable too: they share memory until execve,
	// PR_SET_DUMPABLE(2const).
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	// No descriptor that is still without close-on-exec may slip into the child.
	syscall.ForkLock.Lock()
	pid, errno := p.fork()
	syscall.ForkLock.Unlock()
	pipe.wait()
	_ = sys.Prctl(unix.PR_SET_DUMPABLE, uintptr(dumpable)) // in a container even root could not look at this process
	runtime.KeepAlive(p)
	if errno != 0 {
		return 0, s.failure("cannot be started: no new process", errno)
	}
	if s.Detached {
		reap(pid) // it has only made the session
		pid = int(p.result.pid)
	}
	if p.result.step == stepNone {
		return pid, nil
	}
	if pid != 0 { // a detached child may have failed before it was there
		if s.OnFailure != nil {
			s.OnFailure(pid)
		}
		reap(pid)
	}
	return pid, p.explain()
}

// reap waits for a child that did not become the program.
func reap(pid int) { _, _ = sys.Wait4(pid, nil, 0) }

// Become makes this process the program, and returns when that is impossible. What the spec says of a child has no
// effect: Claim, OnFailure, DeathSignal, SameGroup, Detached, Terminal, Inherit, CloseFrom. After a failure standard
// error is as before; dispositions, standard input and output, and what the context has changed in the whole process
// are not.
//
// No signal is held back: from when its action is the program's, one that would end the program ends this process.
func Become(s *Spec) error {
	inPlace := Spec{Program: s.Program, Args: s.Args, Context: s.Context, Files: s.Files}
	inPlace.Ignored, inPlace.Blocked, inPlace.SameGroup = s.Ignored, s.Blocked, true
	p, err := newChildPlan(&inPlace)
	if err != nil {
		return err
	}
	defer p.free()
	// After a failure standard error is this process's again: the message goes there.
	stderr, err := sys.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		defer func() {
			_ = sys.Dup3(stderr, 2, 0)
			unix.Close(stderr)
		}()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread goes with the goroutine: its user may be another one by then.
		runtime.LockOSThread()
		if p.run(0, len(p.calls)) {
			p.execInPlace(s.Env)
		}
	}()
	<-done
	return p.explain()
}

// execInPlace does what exec does in a child. syscall.Exec keeps the Go runtime from making a thread meanwhile, which
// would fail and end the process; golang.org/issue/19546.
func (p *childPlan) execInPlace(env []string) {
	for i, file := range p.Program.candidates {
		err := sys.Again(func() error { return syscall.Exec(file, p.Args, env) })
		if err == syscall.ENOEXEC && !p.isBinary(p.targets[i].path) {
			err = sys.Again(func() error { return syscall.Exec(shell, append([]string{shell, file}, p.Args[1:]...), env) })
		}
		errno, _ := err.(syscall.Errno) //nolint:errorlint // execve(2) returns it as it is
		if !p.result.refused(i, errno) {
			break
		}
	}
	p.fail(stepExec, p.result.index, p.result.errno)
}
