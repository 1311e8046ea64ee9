// Package fault is the one error that people read: what is wrong with which object, the
// cause, the remedy, and the exit code that tells so.
//
// It writes nothing. Package cli makes one line of it: "object: problem: cause; hint:
// remedy".
package fault

import "errors"

// Exit codes of pidleash's own, beside those of PROGRAM. 126 and 127 are those of env(1)
// and nohup(1).
const (
	Held       = 120 // another process holds the PID file
	Timeout    = 124 // of the commands: it has not come about in time
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
}

// Error is the object, the problem and the cause, without the hint.
func (e *Error) Error() string {
	if e.Object == "" {
		return e.Text()
	}
	return e.Object + ": " + e.Text()
}

// Text is the problem and the cause, for who has named the object already.
func (e *Error) Text() string {
	if e.Err == nil {
		return e.Problem
	}
	return e.Problem + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code is the exit code for an error: Failed unless it is, or wraps, an Error with another.
func Code(err error) int {
	var e *Error
	if errors.As(err, &e) && e.Code != 0 {
		return e.Code
	}
	return Failed
}

// Hint is the remedy for an error; empty: none is known.
func Hint(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
