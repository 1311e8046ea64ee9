package pidfile

import (
	"errors"
	"fmt"

	"pidleash/internal/fault"
)

// object is what messages call the file.
func object(path string) string { return "pidfile " + path }

// withPath completes an error from below: functions there know the problem, not the path.
func withPath(path string, err error) error {
	var e *fault.Error
	if !errors.As(err, &e) {
		return &fault.Error{Object: object(path), Problem: "cannot be claimed", Err: err}
	}
	e.Object = object(path)
	return e
}

// heldError says that a program runs on the leash of this path. pid is the program's, as the
// file names it; 0: it names none. holder is the PID of the pidleash in charge; 0: there is
// none, or, when locked, it cannot be seen from this PID namespace.
func heldError(pid, holder int, locked bool) error {
	e := &fault.Error{Problem: "already in use", Hint: "remove the file to stop it", Code: fault.Held}
	if pid != 0 {
		e.Problem = fmt.Sprintf("already running as PID %d%s", pid, nameOf(pid))
	}
	switch {
	case holder != 0:
		e.Problem += fmt.Sprintf(", held by PID %d%s", holder, nameOf(holder))
	case locked:
		e.Problem += ", held by a process that cannot be seen from here"
	default:
		e.Problem += ", held by nobody: it was started without pidleash"
		e.Hint = "stop it first"
	}
	return e
}

// IsHeld reports an error that says that another process holds the PID file.
func IsHeld(err error) bool {
	var e *fault.Error
	return errors.As(err, &e) && e.Code == fault.Held
}
