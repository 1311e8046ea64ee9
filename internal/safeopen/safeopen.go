// Package safeopen opens by name, for root, what other users may have a hand in. Any other user opens plainly: what
// the kernel allows can do no harm.
//
// Whoever owns a directory on the way can put a symbolic link there, and root would follow it to what is root's. So for
// root a link counts only if root owns it, or if its owner also owns what it leads to, which it could have put there
// itself. Directories that are no links are walked whoever owns them, and by descriptor, so that none can be exchanged
// meanwhile. A file with several names may be somebody else's file: it counts only where nobody but its owner and root
// could have given it this name.
//
// An error is the kernel's, as an unix.Errno, or a *fault.Error for what is refused here.
package safeopen

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/sys"
)

// always are the flags of every open. Without O_NONBLOCK a fifo that nobody reads would hold the start up.
const always = unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// Open is open(2) of what is at the path itself: a symbolic link there is ELOOP.
func Open(path string, flags int, mode uint32) (int, error) {
	return create(flags, func(flags int) (int, error) {
		if os.Geteuid() != 0 {
			return openat(unix.AT_FDCWD, path, flags|unix.O_NOFOLLOW, mode)
		}
		w, err := reach(path)
		if err != nil {
			return -1, err
		}
		defer w.close()
		return w.checked(w.open(flags, mode))
	})
}

// Follow opens what the path leads to, to read it.
func Follow(path string, flags int) (int, error) {
	if os.Geteuid() != 0 {
		return openat(unix.AT_FDCWD, path, flags, 0)
	}
	w, err := reach(path)
	if err != nil {
		return -1, err
	}
	defer w.close()
	return w.checked(w.openTarget(flags))
}

// Exists is nil if the path leads to anything.
func Exists(path string) error {
	if os.Geteuid() != 0 {
		return sys.Fstatat(unix.AT_FDCWD, path, new(unix.Stat_t), 0)
	}
	w, err := reach(path)
	if err != nil {
		return err
	}
	defer w.close()
	fd, _, err := w.openTarget(unix.O_PATH)
	unix.Close(fd)
	return err
}

// Append opens what the path leads to, to append to it, and makes the file if there is none. user is who may own it
// beside root and the owner of its directory.
func Append(path string, mode, user uint32) (int, error) {
	return create(unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, func(flags int) (int, error) {
		if os.Geteuid() != 0 {
			return openat(unix.AT_FDCWD, path, flags, mode)
		}
		return appendAsRoot(path, flags, mode, user)
	})
}

func appendAsRoot(path string, flags int, mode, user uint32) (int, error) {
	w, err := reach(path)
	if err != nil {
		return -1, err
	}
	defer w.close()
	if flags&unix.O_CREAT == 0 {
		fd, st, err := w.openTarget(flags)
		if err == nil {
			err = w.mayAppend(&st, user)
		}
		return whole(fd, err)
	}
	if err := w.toTarget(); err != nil {
		return -1, err
	}
	if err := w.arrive(&unix.Stat_t{Uid: 0}, 0); err != nil { // of a link that leads to nothing: what root makes is root's
		return -1, err
	}
	fd, _, err := w.open(flags|unix.O_EXCL, mode)
	return whole(fd, err)
}

// Dir opens the directory of what is at the path, for the calls that take a directory, and returns the name there.
func Dir(path string) (fd int, name string, err error) {
	if os.Geteuid() != 0 {
		dir, name := split(path)
		fd, err := openat(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		return fd, name, err
	}
	w, err := reach(path)
	if err != nil {
		return -1, "", err
	}
	return w.dir, w.rest[0], nil
}

// create calls open, and again with O_CREAT only if there is no file: for a file of another user in a sticky
// directory the kernel refuses that flag alone, fs.protected_regular of proc_sys_fs(5).
func create(flags int, open func(flags int) (int, error)) (fd int, err error) {
	if flags&unix.O_CREAT == 0 || flags&unix.O_EXCL != 0 {
		return open(flags)
	}
	for range 10 { // somebody may make and remove it all the time
		if fd, err = open(flags &^ unix.O_CREAT); err != unix.ENOENT {
			return fd, err
		}
		if fd, err = open(flags); err != unix.EEXIST {
			return fd, err
		}
	}
	return fd, err
}

func openat(dir int, name string, flags int, mode uint32) (int, error) {
	return sys.Openat(dir, name, flags|always, mode)
}

// whole is a descriptor or an error.
func whole(fd int, err error) (int, error) {
	if err != nil && fd >= 0 {
		unix.Close(fd)
		fd = -1
	}
	return fd, err
}

// split is filepath.Split with names for both.
func split(path string) (dir, name string) {
	if dir, name = filepath.Split(path); name == "" {
		name = "."
	}
	if dir == "" {
		dir = "."
	}
	return dir, name
}

// mayAppend reports why a file is not to be written to.
func (w *walk) mayAppend(st *unix.Stat_t, user uint32) error {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EISDIR
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return onlyBelowRoot(w.path)
	case st.Nlink > 1:
		return severalNames(st)
	case st.Uid == 0 || st.Uid == user:
		return nil
	}
	dir, err := stat(w.dir)
	if err != nil || dir.Uid == st.Uid {
		return err
	}
	return &fault.Error{
		Problem: fmt.Sprintf("it is user %d's", st.Uid),
		Hint:    "a file of root's, of the owner of its directory, or of PROGRAM's user",
	}
}

// checked closes a file whose name may have been given to it by another user than its owner.
func (w *walk) checked(fd int, st unix.Stat_t, err error) (int, error) {
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink > 1 {
		var dir unix.Stat_t
		dir, err = stat(w.dir)
		if err == nil && (dir.Uid != 0 && dir.Uid != st.Uid || dir.Mode&0o022 != 0) {
			err = severalNames(&st)
		}
	}
	return whole(fd, err)
}

func severalNames(st *unix.Stat_t) error {
	problem := fmt.Sprintf("it has %d names, and may be another file", st.Nlink)
	return &fault.Error{Problem: problem, Hint: "remove this one"}
}

// onlyBelowRoot refuses a device, a fifo or a socket where another user can have put it.
func onlyBelowRoot(path string) error {
	w, err := walkTo(path)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.toTarget(); err != nil || w.allRoots {
		return err
	}
	return &fault.Error{
		Problem: "it is no regular file, and below a directory that is not root's",
		Hint:    "pass it as a descriptor: /dev/fd/N",
	}
}
