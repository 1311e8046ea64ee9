package control

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
)

const (
	// The time between two looks at the path doubles from lookFirst on: the program may be rewriting its file.
	lookFirst = 10 * time.Millisecond
	lookLast  = time.Second
	// termDelay is how long a pidleash without a program may take to end before it gets a TERM.
	termDelay = 500 * time.Millisecond
	// outliveLimit is how long a program may outlive its pidleash: it dies with a pidleash that is killed.
	outliveLimit = time.Second
	// lingerLimit is longer than a file names the watchdog after a program that has ended early.
	lingerLimit = 1500 * time.Millisecond
)

// Stop stops the process that the PID file names and returns when it and its pidleash are gone: a new start
// is alone then. If nothing runs, that is no error. until is the time limit; zero: none.
//
// If a pidleash holds the file, Stop removes the file, and that pidleash stops its program; if it cannot be seen, the
// end of its lock is its end. Any other process gets the schedule, with a CONT after each signal that can be caught,
// and its file stays. A pidleash that its file names also gets a TERM; a watchdog, which ignores TERM, is refused.
func Stop(path string, schedule plan.Schedule, until time.Time) error {
	h := pidfile.Take(path)
	defer h.Close()
	switch err := refusal(h); {
	case h.Held && h.Holder == nil:
		return awaitRelease(h, until)
	case h.Held && h.Verdict == pidfile.Unreadable: // its PIDs are of another namespace
		return unleash(h, until)
	case err != nil:
		return err
	case h.Holder == nil && h.Program == nil && h.Locker != "": // the file does not say that this is to be stopped
		e := absence(h)
		e.Code, e.Hint = fault.Refused, "every start is refused until that process ends"
		return e
	case h.Holder == nil && h.Program == nil:
		return nil
	case h.Holder == nil && h.PID == 1: // this process would end with it, and KILL does not reach it, pid_namespaces(7)
		e := failure(h.Path, fault.Refused, named(h)+" cannot be stopped: all that runs here ends with it")
		e.Hint = "stop the container, or the machine; or remove the file if another process is meant"
		return e
	case h.Holder == nil:
		return runSchedule(h, schedule, until)
	case h.Holder.PID == h.PID: // it names the pidleash that holds it
		if ended, err := mayEnd(h); ended || err != nil {
			return err
		}
	}
	return unleash(h, until)
}

// mayEnd refuses a watchdog, which no TERM can end, unless it ends within lingerLimit.
func mayEnd(h *pidfile.Hold) (ended bool, err error) {
	if err := h.Holder.Signal(0); err != nil && err != unix.ESRCH {
		return false, unsent(h, err)
	}
	if !bytes.HasPrefix(process.Arguments(h.PID), []byte(plan.WatchdogName)) {
		return false, nil
	}
	if h.Holder.Wait(time.Now().Add(lingerLimit)) {
		return true, nil
	}
	e := failure(h.Path, fault.Refused, named(h)+" is a watchdog, which ends with its program")
	e.Hint = "stop it by the PID file of the program"
	return false, e
}

// awaitRelease removes the file and waits until nobody holds it. A file that is there then is somebody else's.
func awaitRelease(h *pidfile.Hold, until time.Time) error {
	if expired(until) {
		return timeout(h)
	}
	if err := remove(h); err != nil {
		return err
	}
	for pause := time.Millisecond; !h.Released(); pause = min(2*pause, lookLast/10) {
		if expired(until) {
			return timeout(h)
		}
		time.Sleep(pause)
	}
	return nil
}

func remove(h *pidfile.Hold) error {
	err := h.Remove()
	if e, ok := errors.AsType[*fault.Error](err); ok {
		e.Code = fault.Refused
	}
	return err
}

// unleash removes the file and waits for the end. If the same pidleash has a file there again, it goes too.
func unleash(h *pidfile.Hold, until time.Time) error {
	if expired(until) {
		return timeout(h)
	}
	termAt := time.Now().Add(termDelay)
	for pause := lookFirst; ; pause = min(2*pause, lookLast) {
		if err := remove(h); err != nil {
			return err
		}
		if p, err := process.Read(h.Holder.PID); err == nil && p.State == 'T' {
			_ = h.Holder.Signal(syscall.SIGCONT) // a suspended pidleash does not notice the removal
		}
		switch {
		case h.Holder.Wait(earlier(until, time.Now().Add(pause))):
			return waitForProgram(h, until)
		case expired(until):
			return timeout(h)
		}
		lookAgain(h)
		if h.Holder.PID == h.PID && h.Program != nil && !termAt.IsZero() && time.Now().After(termAt) {
			termAt = time.Time{} // once
			if err := h.Holder.Signal(syscall.SIGTERM); err != nil && err != unix.ESRCH {
				return unsent(h, err)
			}
		}
	}
}

// waitForProgram waits for a program whose pidleash has ended: it still runs only if that was killed.
func waitForProgram(h *pidfile.Hold, until time.Time) error {
	switch {
	case h.Program.Wait(earlier(until, time.Now().Add(outliveLimit))):
		return nil
	case expired(until):
		return timeout(h)
	}
	e := failure(h.Path, fault.Refused, named(h)+" still runs, its pidleash has ended without it")
	e.Hint = fmt.Sprintf("kill %d", h.PID)
	return e
}

// lookAgain takes the file that is at the path now, if the same pidleash holds it.
func lookAgain(h *pidfile.Hold) {
	now := pidfile.Take(h.Path)
	if now.Holder != nil && now.Holder.Same(h.Holder) && now.Verdict != pidfile.Untrusted {
		*h, *now = *now, *h
	}
	now.Close()
}

// runSchedule stops a program whose file no pidleash holds.
func runSchedule(h *pidfile.Hold, schedule plan.Schedule, until time.Time) error {
	for c := schedule.Begin(); ; {
		for _, sig := range c.Step(time.Now()) {
			if expired(until) {
				return timeout(h)
			}
			if err := send(h.Program, sig); err == unix.ESRCH {
				return nil
			} else if err != nil {
				return unsent(h, err)
			}
		}
		switch due := c.Due(); {
		case h.Program.Wait(earlier(until, due)):
			return nil
		case due.IsZero() || expired(until):
			return timeout(h)
		}
	}
}

// send adds a CONT: a stopped program acts on the signal only when it continues.
func send(p *process.Held, sig syscall.Signal) error {
	if err := p.Signal(sig); err != nil || !plan.NeedsCont(sig) {
		return err
	}
	return p.Signal(syscall.SIGCONT)
}

func expired(until time.Time) bool { return !until.IsZero() && !time.Now().Before(until) }

// earlier is the first of two deadlines, either of which may be zero: none.
func earlier(one, other time.Time) time.Time {
	if one.IsZero() || !other.IsZero() && other.Before(one) {
		return other
	}
	return one
}
