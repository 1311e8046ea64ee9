package cli

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errOtherKind reports a mount of another kind of file system than the one it is in, and not in memory.
var errOtherKind = errors.New("another kind of file system is mounted there")

// openDirectory opens a directory to list it, and returns the kind of its file system. It does not enter what is
// mounted in a file system of the given kind and is of another: the roots of containers, whose PIDs mean nothing
// here, and what waits for a network or for a user's process. 0 is any kind.
func openDirectory(path string, outer int64, flags int) (dir *os.File, kind int64, err error) {
	// With O_PATH, opening the directory does not trigger an automount, open(2).
	at, err := unix.Open(path, flags|unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(at)
	var st unix.Statfs_t
	if err := unix.Fstatfs(at, &st); err != nil {
		return nil, 0, err
	}
	kind = int64(st.Type)
	if outer != 0 && kind != outer && kind != unix.TMPFS_MAGIC && kind != unix.RAMFS_MAGIC {
		return nil, 0, errOtherKind
	}
	fd, err := unix.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	return os.NewFile(uintptr(fd), path), kind, nil
}
