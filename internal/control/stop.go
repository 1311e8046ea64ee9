package control

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
)

const (
	// lookFirst is the time between the first two looks at the path of a file that was
	// removed, lookLast between later ones; it doubles. The program may be writing its
	// file at this moment, which its pidleash then takes for its own.
	lookFirst = 10 * time.Millisecond
	lookLast  = time.Second
	// heed is how long a pidleash without a program may take to end because its file
	// is gone, before it is told to.
	heed = 500 * time.Millisecond
	// outlive is how long a program may outlive its pidleash, which dies with it if that
	// was killed.
	outlive = time.Second
	// standIn is more than the moment for which the file of a program that has ended
	// at once names the watchdog.
	standIn = 300 * time.Millisecond
)

// Stop ends what the PID file names and returns when that and its pidleash are gone:
// a start that follows is alone. Nothing to end is no error. Until zero has no limit;
// after it nothing more is done.
//
// What a pidleash holds is stopped by that one, in its own way: the file is removed.
// To anything else goes the schedule, each signal that can be caught followed by CONT,
// and its file stays. A pidleash that its file names is told to end, too; a watchdog,
// which does not listen to that, is left alone.
func Stop(path string, schedule plan.Schedule, until time.Time) error {
	h := pidfile.Take(path)
	defer func() { h.Close() }()
	if err := refusal(h); err != nil {
		return err
	}
	switch {
	case h.Holder == nil && h.Program == nil:
		return nil
	case h.Holder == nil:
		return runSchedule(h, schedule, until)
	case isItself(h):
		if ended, err := mayEnd(h); ended || err != nil {
			return err
		}
	}
	return unleash(&h, until)
}

// isItself reports a file that names the pidleash in charge.
func isItself(h *pidfile.Hold) bool { return h.Holder != nil && h.Holder.PID == h.PID }

// mayEnd refuses a pidleash that cannot be told to end, unless it ends in a moment.
func mayEnd(h *pidfile.Hold) (ended bool, err error) {
	if err := h.Holder.Signal(0); err != nil && err != unix.ESRCH {
		return false, unsent(h, err)
	}
	if !isWatchdog(h.PID) {
		return false, nil
	}
	if h.Holder.Wait(time.Now().Add(standIn)) {
		return true, nil
	}
	return false, &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: named(h) + " is a watchdog, which ends with its program",
		Hint: "stop it by the PID file of the program"}
}

// isWatchdog goes by the name that it was started with.
func isWatchdog(pid int) bool {
	words, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && bytes.HasPrefix(words, []byte(plan.WatchdogName+"\x00"))
}

// unleash removes the file and waits for the end. A file that the same pidleash has
// at the path again is removed again.
func unleash(h **pidfile.Hold, until time.Time) error {
	if expired(until) {
		return timeout(*h)
	}
	told := false
	tellAt := time.Now().Add(heed)
	for pause := lookFirst; ; pause = min(2*pause, lookLast) {
		if err := remove(*h); err != nil {
			return err
		}
		switch {
		case holderGone(*h, earlier(until, time.Now().Add(pause))):
			return left(*h, until)
		case expired(until):
			return timeout(*h)
		}
		lookAgain(h)
		if isItself(*h) && !told && time.Now().After(tellAt) {
			told = true
			if err := (*h).Holder.Signal(syscall.SIGTERM); err != nil && err != unix.ESRCH {
				return unsent(*h, err)
			}
		}
	}
}

// left waits for the program when its pidleash has ended. That has happened before,
// unless somebody has killed the pidleash.
func left(h *pidfile.Hold, until time.Time) error {
	switch {
	case h.Program.Wait(earlier(until, time.Now().Add(outlive))):
		return nil
	case expired(until):
		return timeout(h)
	}
	return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: named(h) + " still runs, its pidleash has ended without it",
		Hint: fmt.Sprintf("kill %d", h.PID)}
}

func remove(h *pidfile.Hold) error {
	err := h.Remove()
	if err == nil {
		return nil
	}
	e := &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: "cannot be removed", Err: err}
	var file *fault.Error
	if errors.As(err, &file) {
		e.Err = file.Err
	}
	return e
}

// lookAgain goes on with the file that is at the path now, if the same pidleash holds
// that.
func lookAgain(h **pidfile.Hold) {
	now := pidfile.Take((*h).Path)
	if now.Holder == nil || !now.Holder.Same((*h).Holder) || refusal(now) != nil {
		now.Close()
		return
	}
	(*h).Close()
	*h = now
}

// runSchedule stops a program that no pidleash holds.
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
		switch wait := c.Due(); {
		case wait.IsZero() && h.Program.Wait(until):
			return nil
		case wait.IsZero():
			return timeout(h)
		case h.Program.Wait(earlier(until, wait)):
			return nil
		case expired(until):
			return timeout(h)
		}
	}
}

// send lets a stopped program see the signal: it could not die otherwise.
func send(p *process.Handle, sig syscall.Signal) error {
	err := p.Signal(sig)
	if err == nil && plan.NeedsCont(sig) {
		err = p.Signal(syscall.SIGCONT)
	}
	return err
}

func expired(until time.Time) bool { return !until.IsZero() && !time.Now().Before(until) }

// earlier is the first of two deadlines, of which the one may be none.
func earlier(until, other time.Time) time.Time {
	if until.IsZero() || other.Before(until) {
		return other
	}
	return until
}
