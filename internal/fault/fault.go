// Package fault has the error that people read: the object, what is wrong with it, the cause, the remedy, and
// the exit code.
//
// It prints nothing. Package cli prints one line: "object: problem: cause; hint: remedy".
package fault

import "errors"

// Exit codes of the commands, for one file: of status as the Linux Standard Base has them for init scripts.
const (
	NoProcess = 1   // there is a file, and what it names does not run
	NoFile    = 3   // there is no file
	Refused   = 4   // not permitted, unreadable or not trusted
	Timeout   = 124 // timed out
)

// Exit codes of pidleash itself. 126 and 127 mean the same as with env(1) and nohup(1).
const (
	Held       = 120 // another process holds the PID file
	Failed     = 125 // pidleash itself failed
	CannotExec = 126 // PROGRAM cannot be executed
	NotFound   = 127 // PROGRAM is not found
)

// Error is a failure. The zero value of a field is "none".
type Error struct {
	Object  string // such as "pidfile /run/x.pid"; empty: the problem names it
	Problem string // such as "cannot be written"
	Err     error  // the cause
	Hint    string // the remedy, when it is known
	Code    int    // the exit code; 0: Failed
	Own     bool   // Code is the program's own
}

// Error is the object, the problem and the cause, without the hint.
func (e *Error) Error() string {
	if e.Object == "" {
		return e.Text()
	}
	return e.Object + ": " + e.Text()
}

// Text is the problem and the cause, where the object has been named already.
func (e *Error) Text() string {
	if e.Err == nil {
		return e.Problem
	}
	return e.Problem + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code is the exit code for an error: Failed, unless err is or wraps an Error with another code.
func Code(err error) int {
	if e, ok := errors.AsType[*Error](err); ok && e.Code != 0 {
		return e.Code
	}
	return Failed
}

// IsHeld reports that another process holds the PID file, and not that a program has ended with that code.
func IsHeld(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == Held && !e.Own
}

// Hint is the remedy for an error; empty: none is known.
func Hint(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	return ""
}
