package pidfile

import "fmt"

// Error is why a path cannot be claimed. Its text names the path, the problem
// and the cause; Hint, when not empty, is the remedy.
type Error struct {
	Path    string
	Problem string
	Err     error // the cause, or nil
	Hint    string
}

func (e *Error) Error() string {
	text := "pidfile " + e.Path + ": " + e.Problem
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// HeldError says that a program is already running on the leash of this path.
type HeldError struct {
	Path string
	// PID is the program's, as the file names it; 0 when it names none.
	PID int
	// Holder is the PID of the process that holds the lock: the pidleash in
	// charge. 0: nobody does, the program was started without pidleash, or the
	// holder cannot be seen from this PID namespace.
	Holder int
	// Locked tells these two apart.
	Locked bool
}

func (e *HeldError) Error() string {
	text := "pidfile " + e.Path + ": "
	if e.PID != 0 {
		text += fmt.Sprintf("already running as PID %d%s", e.PID, nameOf(e.PID))
	} else {
		text += "already in use"
	}
	switch {
	case e.Holder != 0:
		text += fmt.Sprintf(", held by PID %d%s", e.Holder, nameOf(e.Holder))
	case e.Locked:
		text += ", held by a process that cannot be seen from here"
	default:
		text += ", held by nobody: it was started without pidleash"
	}
	return text
}
