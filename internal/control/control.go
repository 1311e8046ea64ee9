// Package control stops, signals, or waits for the process that a PID file names, whoever wrote the file.
//
// It trusts no file: pidfile.Take checks the identity of the process and holds it by a pidfd first, so that a
// signal never reaches another process that has got its PID. The package creates no PID file, and only Stop
// removes one: a pidleash's.
//
// It does not promise to know about a program that is still ending after somebody else has removed its file.
//
// An error is a *fault.Error with the command's exit code: 1, no such process; 3, no such file; 4, not
// permitted, unreadable or not trusted; 124, timed out.
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
	codeNoProcess = 1             // no such process
	codeNoFile    = 3             // no such file
	codeRefused   = 4             // not permitted, unreadable or not trusted
	codeTimeout   = fault.Timeout // timed out
)

// object is the file's name in messages.
func object(path string) string { return "pidfile " + path }

// refusal is the error for a file that cannot be read or trusted; nil: it can.
func refusal(h *pidfile.Hold) error {
	switch h.Verdict {
	case pidfile.Unreadable:
		return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: h.Reason}
	case pidfile.Untrusted:
		return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: "not trusted: " + h.Reason}
	}
	return nil
}

// absence is the error for a file that names no running process.
func absence(h *pidfile.Hold) error {
	if h.Verdict == pidfile.Missing {
		return &fault.Error{Object: object(h.Path), Code: codeNoFile, Problem: h.Reason}
	}
	return &fault.Error{Object: object(h.Path), Code: codeNoProcess, Problem: "stale: " + h.Reason}
}

// unsent is the error for a signal that could not be sent.
func unsent(h *pidfile.Hold, err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return &fault.Error{Object: object(h.Path), Code: codeNoProcess, Problem: named(h) + " has ended meanwhile"}
	case errors.Is(err, unix.EPERM):
		return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: named(h) + " cannot be signaled", Err: err, Hint: "as its user, or as root"}
	}
	return &fault.Error{Object: object(h.Path), Code: codeRefused, Problem: named(h) + " cannot be signaled", Err: err}
}

// timeout is the error for an end that did not come in time; it names what still runs.
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

// named is the process in messages.
func named(h *pidfile.Hold) string {
	if h.Report.Program == "" {
		return fmt.Sprintf("PID %d", h.PID)
	}
	return fmt.Sprintf("PID %d (%s)", h.PID, h.Report.Program)
}
