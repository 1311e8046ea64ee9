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

// failure is the error of a command about a file.
func failure(path string, code int, problem string) *fault.Error {
	return &fault.Error{Object: "pidfile " + path, Code: code, Problem: problem}
}

// refusal is the error for a file that cannot be read or trusted; nil: it can.
func refusal(h *pidfile.Hold) error {
	switch h.Verdict {
	case pidfile.Unreadable:
		e := failure(h.Path, fault.Refused, h.Reason)
		e.Hint = h.Hint
		if h.Held {
			e.Hint = "pidleash stop needs only the lock"
		}
		return e
	case pidfile.Unsure:
		return failure(h.Path, fault.Refused, h.Reason)
	case pidfile.Untrusted:
		return failure(h.Path, fault.Refused, "not trusted: "+h.Reason)
	}
	return nil
}

// absence is the error for a file that names no running process.
func absence(h *pidfile.Hold) *fault.Error {
	if h.Verdict == pidfile.Missing {
		return failure(h.Path, fault.NoFile, h.Reason)
	}
	if h.Locker != "" {
		return failure(h.Path, fault.NoProcess, "stale: "+h.Reason+"; held by "+h.Locker)
	}
	return failure(h.Path, fault.NoProcess, "stale: "+h.Reason)
}

// unsent is the error for a signal that could not be sent.
func unsent(h *pidfile.Hold, err error) error {
	if errors.Is(err, unix.ESRCH) {
		return failure(h.Path, fault.NoProcess, named(h)+" has ended meanwhile")
	}
	e := failure(h.Path, fault.Refused, named(h)+" cannot be signaled")
	e.Err = err
	if errors.Is(err, unix.EPERM) {
		e.Hint = "as its user, or as root"
	}
	return e
}

// timeout is the error for an end that did not come in time; it names what still runs.
func timeout(h *pidfile.Hold) error {
	program, holder := h.Program != nil && !h.Program.Dead(), h.Holder != nil && !h.Holder.Dead()
	problem := named(h) + " still runs"
	switch {
	case h.Held && h.Holder == nil:
		problem = "its pidleash still holds it"
	case holder && !program:
		problem = fmt.Sprintf("its pidleash, PID %d, still runs", h.Holder.PID)
	case holder && h.Holder.PID != h.PID:
		problem = fmt.Sprintf("%s and its pidleash, PID %d, still run", named(h), h.Holder.PID)
	}
	return failure(h.Path, fault.Timeout, problem)
}

// named is the process in messages.
func named(h *pidfile.Hold) string {
	if h.Report.Program == "" {
		return fmt.Sprintf("PID %d", h.PID)
	}
	return fmt.Sprintf("PID %d (%s)", h.PID, h.Report.Program)
}
