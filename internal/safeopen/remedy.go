package safeopen

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// Remedy is the hint for a path at which a call has failed, whichever call; empty: none is known.
func Remedy(path string, err error) string {
	switch err {
	case unix.ENAMETOOLONG:
		return "choose a shorter path: a name has at most 255 bytes, a path 4095"
	case unix.ELOOP:
		return "its symbolic links lead in a circle"
	case unix.ENOTDIR:
		return "name a file in a directory"
	case unix.EISDIR:
		return "name a file in it"
	case unix.EBUSY:
		return "it is a mount point: mount its directory instead"
	case unix.EACCES:
		return Barred(path)
	}
	return ""
}

// Barred names the first directory on the way to a file that this process may not enter; empty: it may enter all.
func Barred(file string) string {
	for i, c := range file {
		if c == '/' && i > 0 && sys.Faccessat(unix.AT_FDCWD, file[:i], unix.X_OK, unix.AT_EACCESS) == unix.EACCES {
			return "user " + strconv.Itoa(os.Geteuid()) + " may not enter directory " + file[:i]
		}
	}
	return ""
}
