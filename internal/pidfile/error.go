package pidfile

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
	"pidleash/internal/safeopen"
	"pidleash/internal/sys"
)

// ErrLostRace says that since the claim somebody else has published a file at the path.
var ErrLostRace = errors.New("another start was faster")

// ErrRemoved says that the file that was to be exchanged is not at the path any more.
var ErrRemoved = errors.New("the file has been removed")

// ErrNotLinked says that a file without a name cannot get one here: one with a hidden name is to be moved instead.
var ErrNotLinked = errors.New("a file without a name cannot be linked")

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
func openError(path string, err error) *fault.Error {
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		return refused
	}
	var st unix.Stat_t
	exists, hint := sys.Lstat(path, &st) == nil, safeopen.Remedy(path, err)
	switch {
	case err == unix.ELOOP && exists:
		return &fault.Error{Problem: "is a symbolic link", Hint: "name the file that it points to"}
	case err == unix.ENOTDIR:
		return &fault.Error{Problem: "its directory is not a directory", Hint: hint}
	case err == unix.EISDIR:
		return &fault.Error{Problem: "is a directory", Hint: hint}
	case err == unix.ENXIO:
		return &fault.Error{Problem: "is not a regular file", Hint: "name another path"}
	case err == unix.EACCES && exists:
		hint = fmt.Sprintf("user %d may not read this file, which is user %d's", unix.Geteuid(), st.Uid)
	}
	return &fault.Error{Problem: "cannot be read", Err: err, Hint: hint}
}

// errMore is the cause when a file names a PID, and has more than that.
var errMore = errors.New("the file has more than a PID")

// notReplaced says that a file was not made by a pidleash, nor by whoever writes only a PID.
func notReplaced(file *content, reason string) *fault.Error {
	e := &fault.Error{Problem: "is not a PID file", Hint: "remove it or name another path"}
	if !file.isNoPIDFile() {
		e.Problem, e.Err = "is stale and is not replaced: "+reason, errMore
	}
	return e
}

// errNoFiles is the cause when a directory is there, and open(2) with O_CREAT says ENOENT: proc(5).
var errNoFiles = errors.New("its file system takes no files")

// createError says why a file cannot be made beside the one at the path.
func createError(path string, err error) *fault.Error {
	dir, _ := filepath.Split(path) // and not Dir, which takes no/../x.pid for a file that needs no directory "no"
	dir = cmp.Or(strings.TrimRight(dir, "/"), "/")
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		return refused
	}
	hint := safeopen.Remedy(path, err)
	switch err {
	case unix.ENOTDIR:
		return openError(path, err)
	case unix.ENOENT:
		if sys.Access(dir, unix.F_OK) != nil {
			return &fault.Error{Problem: "no directory " + dir, Hint: "create it, or RuntimeDirectory= in a unit"}
		}
		err = errNoFiles
	case unix.EACCES, unix.EPERM:
		hint = cmp.Or(hint, fmt.Sprintf("choose a directory that user %d may write", unix.Geteuid()))
	}
	switch err {
	case errNoFiles, unix.EROFS:
		hint = "choose a directory that can be written, such as a tmpfs"
	case unix.ENOSPC, unix.EDQUOT:
		hint = "make room there"
	}
	return &fault.Error{Problem: "cannot be created in " + dir, Err: err, Hint: hint}
}

// removalError says why the removal of a file has failed; nil: it has not.
func removalError(path, problem string, err error) error {
	if err == nil {
		return nil
	}
	hint := safeopen.Remedy(path, err)
	if err == unix.EACCES || err == unix.EPERM {
		hint = fmt.Sprintf("choose a directory where user %d may remove files", unix.Geteuid())
	}
	return &fault.Error{Object: object(path), Problem: problem, Err: err, Hint: hint}
}

// heldError says that a program runs at this path. pid is what the file names; 0: nothing. Where the holder of the
// lock cannot be seen from here that number may be of another PID namespace, and is not looked up.
func heldError(pid int, s lockState) error {
	e := &fault.Error{Problem: "already in use", Hint: "remove the file to stop it", Code: fault.Held}
	isOthers := s.holder != 0 && !isPidleash(s.holder)
	switch {
	case s.held && s.holder == 0 && pid != 0:
		e.Problem = fmt.Sprintf("already running as PID %d", pid)
	case pid != 0 && (!isOthers || exists(pid)): // a pidleash stops the program whose file it holds
		e.Problem = fmt.Sprintf("already running as PID %d%s", pid, nameOf(pid))
	}
	switch {
	case isOthers:
		e.Problem += ", held by " + lockerText(s.holder)
		e.Hint = "stop it first"
	case s.holder != 0:
		e.Problem += fmt.Sprintf(", held by PID %d%s", s.holder, nameOf(s.holder))
	case s.held:
		e.Problem += ", held by a process that cannot be seen from here"
	default:
		e.Problem += ", held by nobody: it was started without pidleash"
		e.Hint = "stop it first"
	}
	return e
}

// lockerText is a process that has a lock, and never looks whether the file is removed.
func lockerText(pid int) string {
	return fmt.Sprintf("PID %d%s, which is no pidleash", pid, nameOf(pid))
}

// nameOf returns " (comm)" for messages, or nothing when the process is gone.
func nameOf(pid int) string {
	if proc, err := process.Read(pid); err == nil {
		return " (" + proc.Comm + ")"
	}
	return ""
}
