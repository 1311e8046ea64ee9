// Package wrapper runs a program on the leash of its PID file. It is the only package that starts programs, and the
// only one that waits for them.
//
// One process, the keeper, does everything from the claim of the PID file to its removal. In the foreground it is the
// process that was started. In the background it is a second start of the binary, and the process that was started is
// only its caller: it waits for one answer, and then ends, or becomes the program (caller.go).
//
// What a keeper does, in this order:
//
//  1. It claims the PID file (package pidfile).
//  2. It starts the program; the PID file is published between fork and exec (package launch).
//  3. It watches the file (package watch), forwards signals, and reaps its children, orphans included.
//  4. When the file is gone it stops the program by the schedule.
//  5. When the program has ended it stops the watch, removes the file, unlocks it and returns.
//
// One goroutine owns the program: it alone spawns, signals and waits, so that no PID can be recycled between the
// decision to signal it and the signal. Other goroutines only send it events. Package machine decides what to do;
// loop.go feeds it events and carries out its actions.
package wrapper

import (
	"cmp"
	"os"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/fault"
	"pidleash/internal/launch"
	"pidleash/internal/plan"
	"pidleash/internal/process"
	"pidleash/internal/reserve"
	"pidleash/internal/signals"
	"pidleash/internal/sys"
)

// Run runs the program and returns when pidleash is to end: in the foreground when the program has ended, with
// -daemon when it is up. The error, a *fault.Error, says why it could not be started, or did not come up.
func Run(p *plan.Plan, s *signals.Source, log hclog.Logger) (plan.Outcome, error) {
	if p.Way != plan.Foreground && os.Getpid() == 1 {
		return plan.Outcome{}, &fault.Error{Object: "process 1", Problem: "must stay, everything ends with it", Hint: "leave -daemon and -sidecar out"}
	}
	if err := cmp.Or(launch.CheckDir(&p.Context), launch.CheckRead(p)); err != nil {
		return plan.Outcome{}, err
	}
	if p.Forking {
		if err := reserve.Descriptors(); err != nil { // without descriptors /proc cannot be read
			return plan.Outcome{}, err
		}
		if err := canTell(); err != nil {
			return plan.Outcome{}, &fault.Error{Object: "-forking", Problem: "cannot tell the daemon without /proc", Err: err, Hint: "mount /proc"}
		}
	}
	program, err := launch.Find(p.Args[0], p.Dir)
	if err != nil {
		return plan.Outcome{}, err
	}
	if p.Way != plan.Foreground {
		return call(p, s, log, program)
	}
	if err := foreground.setUp(); err != nil {
		return plan.Outcome{}, err
	}
	return keep(p, s, log, program, &foreground, nil)
}

// Keep is Run in the background, for the caller at the other end of fd. Its error is for the log.
func Keep(p *plan.Plan, s *signals.Source, log hclog.Logger, fd int) (plan.Outcome, error) {
	role := &supervisor
	if p.Beside() {
		role = &watchdog
	}
	notSetUp := role.setUp()
	nameItself()
	caller, err := attach(fd)
	if caller == nil {
		return plan.Outcome{}, err
	}
	program, err := launch.Find(p.Args[0], p.Dir)
	if err = cmp.Or(notSetUp, err); err != nil {
		caller.fail(err)
		return plan.Outcome{}, nil
	}
	return keep(p, s, log, program, role, caller)
}

// keep is a keeper's whole life.
func keep(p *plan.Plan, s *signals.Source, log hclog.Logger, program *launch.Program, r *role, caller *callerEnd) (plan.Outcome, error) {
	l, err := newLoop(p, s, log, program, r, caller)
	switch {
	case err == nil:
		l.run()
		return outcomeOf(l)
	case caller != nil:
		caller.fail(err)
		return plan.Outcome{}, nil
	}
	return plan.Outcome{}, err
}

// canTell reports whether /proc is there, can be read and listed, and is that of this PID namespace.
func canTell() error {
	_, read := sys.ReadFile("/proc/self/stat", 1024)
	_, list := process.Children(os.Getpid())
	return cmp.Or(read, list)
}

// nameItself sets the name of a second start, which is "exe", proc_pid_comm(5). Without /proc nobody sees a name.
func nameItself() { _ = os.WriteFile("/proc/self/comm", []byte("pidleash"), 0) }
