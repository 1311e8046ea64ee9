package pidfile

import (
	"cmp"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
	"pidleash/internal/safeopen"
	"pidleash/internal/sys"
)

// POSIX has no unlink by inode, and between a look at a path and unlink(2) somebody else's file can take the place.
// So the file is first moved to a hidden name, where nobody puts another one, and then looked at.

// takeAway removes the file from the path if it is the one with this identity. Another file stays, or comes back at
// once. It is no error that nothing is there.
func takeAway(path string, id identity) error {
	// In a directory that cannot be exchanged for another one in between.
	at, base, err := safeopen.Dir(path)
	switch err {
	case nil:
		defer unix.Close(at)
		return takeAwayAt(at, "", base, id)
	case unix.ENOENT, unix.ENOTDIR:
		return nil // gone, with the file
	case unix.EMFILE, unix.ENFILE:
		dir, base := filepath.Split(path)
		return takeAwayAt(unix.AT_FDCWD, dir, base, id)
	}
	return err
}

func takeAwayAt(at int, dir, base string, id identity) error {
	name := dir + base
	if is, err := isIn(at, name, id); !is {
		return err
	}
	switch hidden, err := moveAway(at, dir, base); err {
	case unix.ENOENT:
		return nil
	case nil:
		if is, err := isIn(at, hidden, id); !is {
			return cmp.Or(putBack(at, hidden, name), err)
		}
		name = hidden
	} // else there is no room for a name, or a policy allows only to remove
	if err := sys.Unlinkat(at, name, 0); err != unix.ENOENT {
		return err
	}
	return nil
}

// moveAway replaces nothing, or where that cannot be promised, nothing that anybody has made: no other file gets such a
// name.
func moveAway(at int, dir, base string) (hidden string, err error) {
	name, hidden := dir+base, dir+firstHidden(base)
	err = sys.Renameat2(at, name, at, hidden, unix.RENAME_NOREPLACE)
	if err == unix.EEXIST {
		hidden = dir + hiddenName(base)
		err = sys.Renameat2(at, name, at, hidden, unix.RENAME_NOREPLACE)
	}
	if lacksFlags(err) {
		hidden = dir + hiddenName(base)
		err = sys.Renameat(at, name, at, hidden)
	}
	return hidden, err
}

// putBack gives another's file its name again.
func putBack(at int, hidden, name string) error {
	err := moveNew(at, hidden, name)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	return &fault.Error{Problem: "another's file was there for a moment, and is " + filepath.Base(hidden) + " now", Err: err}
}

// isIn reports that the inode is what the name in a directory stands for. The error: there is no answer.
func isIn(at int, name string, id identity) (bool, error) {
	var st unix.Stat_t
	switch err := sys.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
	case nil:
		return identityOf(&st) == id, nil
	case unix.ENOENT, unix.ENOTDIR:
		return false, nil
	default:
		return false, err
	}
}

// moveNew never replaces a file. Where renameat2(2) cannot promise that (NFS, many file systems in user space)
// link(2) can.
func moveNew(at int, from, to string) error {
	err := sys.Renameat2(at, from, at, to, unix.RENAME_NOREPLACE)
	if lacksFlags(err) {
		if err = sys.Linkat(at, from, at, to, 0); err == nil {
			_ = sys.Unlinkat(at, from, 0) // a second name does no harm
		}
	}
	return err
}

// lacksFlags reports that the file system does not know the flags of renameat2(2), or that the kernel or a sandbox
// has no such call.
func lacksFlags(err error) bool {
	return err == unix.EINVAL || process.IsRefused(err)
}

// hiddenMark is in the names of all hidden files, before the PID of who has made it and the time.
const hiddenMark = ".pidleash-"

// hiddenName is a name beside a file that nobody else uses: what a crash has left must not stand in the way of the
// next start.
func hiddenName(base string) string {
	return hide(base, strconv.Itoa(unix.Getpid())+"-"+strconv.FormatInt(time.Now().UnixNano(), 36))
}

// firstHidden is the hidden name that is used if it is free. So a start need look for one name only, to find out
// whether a process that was killed may have left hidden files.
func firstHidden(base string) string { return hide(base, "0-0") }

func hide(base, who string) string {
	suffix := hiddenMark + who
	return "." + base[:min(len(base), unix.NAME_MAX-len(".")-len(suffix))] + suffix
}

// isHiddenOf reports a name that hiddenName gives to the base.
func isHiddenOf(name, base string) bool {
	i := strings.LastIndex(name, hiddenMark)
	if i < 0 {
		return false
	}
	pid, stamp, _ := strings.Cut(name[i+len(hiddenMark):], "-")
	_, noPID := strconv.ParseUint(pid, 10, 31)
	_, noStamp := strconv.ParseInt(stamp, 36, 64)
	return noPID == nil && noStamp == nil &&
		(name[:i] == "."+base || len(name) == unix.NAME_MAX && strings.HasPrefix("."+base, name[:i]))
}
