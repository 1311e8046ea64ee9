package wrapper

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/fault"
	"pidleash/internal/machine"
	"pidleash/internal/plan"
	"pidleash/internal/ready"
	"pidleash/internal/sdnotify"
	"pidleash/internal/sys"
)

// Messages about a running program, and about one that did not come up.

func report(l *loop, a machine.Action) {
	path, pid, restart := l.plan.PIDFile, l.program.pid(), l.plan.Restart
	switch a.Topic {
	case machine.FileRemoved:
		reportStop(l, "PID file "+path+" removed", "pidfile "+path+": removed")
	case machine.FileReplaced:
		what := "pidfile " + path + ": replaced"
		if pid != 0 {
			what += " by another file"
		}
		reportStop(l, "PID file "+path+" replaced", what)
	case machine.FileChanged:
		l.log.Warn(fmt.Sprintf("pidfile %s: names another PID than %d now, going on", path, pid))
	case machine.FileUnknown:
		l.log.Warn(fmt.Sprintf("pidfile %s: cannot be looked at, going on: %v", path, l.leash.lookErr))
	case machine.ConditionFailed:
		reportStop(l, l.conditions.Failed(), l.conditions.Failed())
	case machine.BrokenOff:
		l.log.Info("the start was broken off")
	case machine.WaitingFor:
		l.log.Info("waiting for " + l.conditions.Missing())
		l.relay.Send("STATUS=Waiting for " + l.conditions.Missing())
	case machine.TermKept:
		l.log.Info(fmt.Sprintf("received SIGTERM, forwarding it to PID %d in %v", pid, l.plan.Drain))
		l.relay.Send(fmt.Sprintf("STATUS=Draining for %v", l.plan.Drain))
	case machine.Restarting:
		reportRestart(l, a)
	case machine.RestartLimit:
		l.log.Warn(fmt.Sprintf("%s: not restarting: %d restarts within %v", l.plan.Args[0], restart.Limit, restart.Window))
	}
}

// traceEvent logs what the machine has made of an event; docs/states.md has the words.
func traceEvent(l *loop, kind machine.Kind, actions []machine.Action) {
	var names []string
	for _, a := range actions {
		names = append(names, a.Do.String())
	}
	l.log.Trace("decided", "event", kind.String(), "actions", strings.Join(names, ", "), "state", l.machine.String())
}

// reportLaunch replaces what the service manager was told while no program ran.
func reportLaunch(l *loop) {
	l.log.Debug("launched", "program", l.plan.Args[0], "pid", l.program.pid())
	if again := l.program.launches - 1; again > 0 {
		l.relay.Send(fmt.Sprintf("STATUS=Restarted as PID %d, %d times so far", l.program.pid(), again))
	} else if l.conditions != nil {
		l.relay.Send("STATUS=")
	}
}

// reportStop reports why the program is stopped, or not started.
func reportStop(l *loop, reason, message string) {
	l.leash.unlock() // another start need not wait
	l.program.reason = reason
	l.relay.Send("STATUS=Stopping: " + reason)
	fate := "not starting again"
	switch {
	case l.program.held != nil:
		fate = fmt.Sprintf("stopping PID %d", l.program.pid())
	case l.program.launches == 0:
		fate = "not starting"
	case l.program.sweeps:
		fate = "stopping the descendants that are left"
	}
	l.log.Warn(message + ", " + fate)
}

func reportRestart(l *loop, a machine.Action) {
	why := l.plan.Args[0] + " " + plan.Describe(a.Status)
	var e *fault.Error
	switch {
	case a.Err == nil:
	case a.Ran && errors.As(a.Err, &e):
		why = l.plan.Args[0] + " " + e.Text()
	default:
		why = a.Err.Error()
	}
	text := fmt.Sprintf("%s, restarting in %v", why, a.Wait.Round(time.Millisecond))
	level := hclog.Info
	if a.Wait > 0 && (a.Err != nil || !l.plan.Succeeds(a.Status)) {
		level = hclog.Warn // but not without a delay, where restarts may be frequent
	}
	l.log.Log(level, text)
	l.relay.Send("STATUS=" + text)
}

// late is the error of a program that is not up in time.
func late(l *loop) error {
	switch {
	case l.program.launches == 0:
		return notUp(l, fmt.Errorf("was not started: after %v still waiting for %s", l.plan.WhileLimit, l.conditions.Missing()))
	case l.program.finder != nil && !l.program.finder.Known() && l.program.held != nil:
		return notUp(l, &fault.Error{
			Problem: fmt.Sprintf("has not gone to the background after %v", l.plan.StartLimit),
			Hint:    "without -forking it may stay in the foreground",
		})
	}
	return notUp(l, fmt.Errorf("is not up after %v", l.plan.StartLimit))
}

// reportUnfollowed names who is left of a daemon that has ended by itself, and is not followed.
func reportUnfollowed(l *loop) {
	if left := l.program.finder.Left(); len(left) > 0 && len(l.program.sent) == 0 {
		l.log.Warn(fmt.Sprintf("PID %d has ended, and of it PIDs %v live on, which nobody watches", l.program.last.PID, left))
	}
}

// reportEscaped warns of a program that has gone to the background, and is not expected to.
func reportEscaped(l *loop, r machine.Result) {
	expected := l.plan.Forking || l.plan.KillMode == plan.KillTree || r.Removed || len(l.program.sent) > 0
	if expected || r.Status != 0 || !r.Known && l.role.isParent {
		return
	}
	if pids := l.program.escaped(); len(pids) > 0 {
		l.log.Warn(fmt.Sprintf("%s has ended, and PID %d of it lives on in a session of its own; hint: -forking", l.plan.Args[0], pids[0]))
	}
}

// notUp is the error of a program that has not come up.
func notUp(l *loop, err error) error {
	e := &fault.Error{Object: l.plan.Args[0], Problem: err.Error() + lastWords(l), Hint: cmp.Or(fault.Hint(err), unheard(l))}
	if l.program.finder != nil {
		e.Code, e.Own = l.program.finder.Code(), true
	}
	return e
}

// lastWords quotes the last lines of the program's logs, to end a message with.
func lastWords(l *loop) string {
	var text strings.Builder
	for i, log := range l.logs {
		if slices.ContainsFunc(l.logs[:i], func(other *ready.Log) bool { return other.Path == log.Path }) {
			continue
		}
		if words := log.LastWords(); words != "" {
			fmt.Fprintf(&text, "; %s: %s", log.Path, words)
		}
	}
	return text.String()
}

// unheard is the hint if the program may have printed the reason where nobody could read it. pidleash does not read the
// program's output through a pipe: then something would have to read the pipe for as long as the program runs.
func unheard(l *loop) string {
	if l.plan.Way == plan.Daemon && l.plan.Stderr == "" && lastWords(l) == "" && !sdnotify.IsJournal(2) {
		return "with -stderr FILE its last words would be here"
	}
	return ""
}

// outcomeOf is how pidleash ends after the loop.
func outcomeOf(l *loop) (plan.Outcome, error) {
	r := l.machine.Result()
	if l.program.command != 0 { // it has just been killed
		_, _ = sys.Wait4(l.program.command, nil, 0)
	}
	if l.program.held == nil && !l.relay.Flush(5*time.Second) { // systemd-notify(1) waits as long
		l.log.Warn("NOTIFY_SOCKET: the service manager does not read, the program's last messages are lost")
	}
	if l.program.reason != "" { // last, so that it stays visible
		l.relay.Send("STATUS=Stopped: " + l.program.reason)
	}
	l.leash.release()
	reportEscaped(l, r)
	if l.caller != nil && !r.Up {
		l.caller.fail(failureOf(l, r))
		return plan.Outcome{}, nil
	}
	switch {
	case r.Signal != 0:
		return l.plan.OutcomeOf(syscall.WaitStatus(r.Signal), false), nil
	case r.Err != nil && !r.Removed:
		return plan.Outcome{}, r.Err
	case !r.Known && l.role.isParent:
		r.Status = syscall.WaitStatus(fault.Failed << 8) // as of wait(2)
	}
	l.terminal.PassOn()
	return l.plan.OutcomeOf(r.Status, r.Removed && l.role.isParent), nil
}

// failureOf is why the program did not come up, for the caller.
func failureOf(l *loop, r machine.Result) error {
	e := &fault.Error{Object: l.plan.Args[0]}
	switch {
	case r.Err != nil:
		return r.Err
	case r.Signal != 0:
		return errors.New("told to end by " + plan.SignalName(r.Signal))
	case r.Removed:
		e.Problem = "stopped before it was up: " + l.program.reason
	case !r.Known:
		e.Problem = "stopped before it was up"
	default:
		e.Problem = plan.Describe(r.Status) + " before it was up"
		e.Code, e.Own, e.Hint = plan.ExitCode(r.Status), true, unheard(l)
	}
	e.Problem += lastWords(l)
	return e
}
