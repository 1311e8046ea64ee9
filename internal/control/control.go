// Package control acts on what a PID file names, whoever wrote it: it stops,
// signals, or waits.
//
// All of it goes through pidfile.Take: the file is not trusted, the identity of what
// it names is checked, and that is held by a pidfd before anything is done. A signal
// reaches this process or nobody; a PID that is another one's by now is never hit.
// Nothing here creates a PID file, and only Stop removes one: that of a pidleash.
//
// What it does not promise: after a removal by somebody else a path says nothing of a
// program that is still ending.
//
// An error is a *fault.Error with the command's exit code: 1, no such process; 3, no such file;
// 4, not permitted, unreadable or not to be trusted; 124, the time is over.
package control

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
)

// Exit codes of the commands, for one file.
const (
	codeNoProcess = 1             // there is no such process
	codeNoFile    = 3             // there is no such file
	codeRefused   = 4             // not permitted, unreadable or not to be trusted
	codeTimeout   = fault.Timeout // it has not come about in time
)

// object is what messages call the file.
func object(path string) string { return "pidfile " + path }

// refusal is the error of a file that nothing can be done with; nil: it can.
func refusal(h *pidfile.Hold) error {
	switch h.Verdict {
	case pidfile.Unreadable:
		return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: h.Reason}
	case pidfile.Untrusted:
		return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: "not trusted: " + h.Reason}
	}
	return nil
}

// absence is the error of a file that names nobody who runs.
func absence(h *pidfile.Hold) error {
	if h.Verdict == pidfile.Missing {
		return &fault.Error{Object: object(h.Path), Code: codeNoFile, Problem: h.Reason}
	}
	return &fault.Error{Object: object(h.Path), Code: codeNoProcess, Problem: "stale: " + h.Reason}
}

// unsent is the error of a signal that has not reached what the file names.
func unsent(h *pidfile.Hold, err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return &fault.Error{Object: object(h.Path), Code: codeNoProcess, Problem: named(h) + " has ended meanwhile"}
	case errors.Is(err, unix.EPERM):
		return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: named(h) + " cannot be signaled", Err: err, Hint: "as its user, or as root"}
	}
	return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: named(h) + " cannot be signaled", Err: err}
}

// timeout is the error of a wait for an end; it tells who still runs.
func timeout(h *pidfile.Hold) error {
	program, holder := h.Program != nil && !h.Program.Dead(), h.Holder != nil && !h.Holder.Dead()
	problem := named(h) + " still runs"
	switch {
	case holder && !program:
		problem = fmt.Sprintf("its pidleash, PID %d, still runs", h.Holder.PID)
	case holder && h.Holder.PID != h.PID:
		problem = fmt.Sprintf("%s and its pidleash, PID %d, still run", named(h), h.Holder.PID)
	}
	return &fault.Error{Object: object(h.Path), Code: codeTimeout, Problem: problem}
}

// named is what the file names, in a message.
func named(h *pidfile.Hold) string {
	if h.Report.Program == "" {
		return fmt.Sprintf("PID %d", h.PID)
	}
	return fmt.Sprintf("PID %d (%s)", h.PID, h.Report.Program)
}
