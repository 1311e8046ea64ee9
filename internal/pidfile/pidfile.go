// Package pidfile is the identity of a PID file: who may write it, whether the
// one found at a path is still ours, and when it may be removed.
//
// A start goes through three steps. New claims the path: it refuses when
// somebody runs there, and prepares a locked temporary file beside it. The new
// process writes its PID into that file and moves it into place before it
// becomes the program (package wrapper does that, between fork and exec);
// Clear is called right before. Published then gives the File, which Look
// compares with what is at the path, and which Remove removes at the end.
//
// What makes it safe:
//   - A PID file is complete whenever it can be seen, because it appears by
//     rename(2) or link(2) when its content is written.
//   - The claim is a flock(2) on the file's own inode, taken before the file
//     appears. The kernel drops it when the last descriptor goes, so a crash
//     leaves a file that anybody can see to be stale, and no lock file.
//   - Of two starts that see no file, the move into place lets one win: it never
//     replaces a file.
//
// What it does not promise: processes that neither lock nor look can overwrite
// or remove the file at any time. Between the last look at the path and the
// unlink(2) that follows there are a few microseconds in which somebody else's
// file could take its place; POSIX has no unlink by inode.
package pidfile

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// identity tells one inode from every other for as long as a descriptor keeps
// it from being recycled.
type identity struct{ dev, ino uint64 }

func identityOf(st *unix.Stat_t) identity {
	return identity{dev: uint64(st.Dev), ino: st.Ino}
}

func identityOfFD(fd int) (identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return identity{}, err
	}
	return identityOf(&st), nil
}

// contentLimit is how much of a file is read. The longest PID files in use
// (PostgreSQL's, eight lines) have some 100 bytes; the PID is in the first line.
const contentLimit = 256

// readContent returns the first contentLimit bytes of an open file, whatever
// its offset.
func readContent(fd int) ([]byte, error) {
	buf := make([]byte, contentLimit)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// parsePID returns the PID that a PID file names: its first word, a decimal
// number above 0. 0 means that it names none.
func parsePID(content []byte) int {
	word := bytes.TrimLeft(content, " \t\r\n")
	if i := bytes.IndexAny(word, " \t\r\n\x00"); i >= 0 {
		word = word[:i]
	}
	pid, err := strconv.ParseUint(string(word), 10, 31)
	if err != nil || word[0] == '+' {
		return 0
	}
	return int(pid)
}

// blank reports a file without content: empty, white space, or the zeros that
// some file systems leave after a power cut.
func blank(content []byte) bool {
	return len(bytes.Trim(content, " \t\r\n\x00")) == 0
}

// unfinished reports content that a writer of pid may still be completing.
func unfinished(content []byte, pid int) bool {
	return blank(content) || bytes.HasPrefix(strconv.AppendInt(nil, int64(pid), 10), content)
}

// openNoFollow opens what is at the path itself, for reading, and neither
// waits for the other end of a fifo nor takes a terminal.
func openNoFollow(path string) (int, error) {
	return retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
}

// retry repeats a call that a signal interrupted: Go installs its handlers with
// SA_RESTART, but file systems in user space return EINTR all the same.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
