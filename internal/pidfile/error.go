package pidfile

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
)

// ErrLostRace says that since the claim somebody else has published a file at the path.
var ErrLostRace = errors.New("another start was faster")

// ErrRemoved says that the file that was to be exchanged is not at the path any more.
var ErrRemoved = errors.New("the file has been removed")

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

// openError says why open has failed.
func openError(err error) *fault.Error {
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		return refused
	}
	switch err {
	case unix.ELOOP:
		return &fault.Error{Problem: "is a symbolic link", Hint: "name the file that it points to"}
	case unix.ENOTDIR:
		return &fault.Error{Problem: "its directory is not a directory"}
	case unix.EISDIR:
		return &fault.Error{Problem: "is a directory", Hint: "name a file in it"}
	case unix.ENXIO:
		return &fault.Error{Problem: "is not a regular file"}
	}
	return &fault.Error{Problem: "cannot be read", Err: err}
}

// createError says why a file cannot be made in a directory.
func createError(dir string, err error) *fault.Error {
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		return refused
	}
	hint := ""
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		return &fault.Error{Problem: "no directory " + dir, Hint: "create it, or RuntimeDirectory= in a unit"}
	case unix.EACCES, unix.EPERM:
		hint = fmt.Sprintf("choose a directory that user %d may write", unix.Geteuid())
	case unix.EROFS:
		hint = "choose a directory that can be written, such as /run"
	case unix.ENOSPC, unix.EDQUOT:
		hint = "make room there"
	}
	return &fault.Error{Problem: "cannot be created in " + dir, Err: err, Hint: hint}
}

// WriteError says why a PID file cannot be written.
func WriteError(path string, err error) *fault.Error {
	e := &fault.Error{Object: object(path), Problem: "cannot be written", Err: err}
	if err == unix.ENOSPC || err == unix.EDQUOT {
		e.Hint = "make room in " + filepath.Dir(path)
	}
	return e
}

// heldError says that a program runs at this path. pid is what the file names; 0: nothing. holder is the
// pidleash in charge; 0: there is none, or, when locked, it cannot be seen from this PID namespace.
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

// nameOf returns " (comm)" for messages, or nothing when the process is gone.
func nameOf(pid int) string {
	if proc, err := process.Read(pid); err == nil {
		return " (" + proc.Comm + ")"
	}
	return ""
}
