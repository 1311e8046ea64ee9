// Package pidfile is the identity of a PID file: who may write it, whether the one at a path is still ours,
// and when it may be removed.
//
// A file is one to read a PID from when its first word is a decimal number, or when it is blank. It may be replaced
// or removed when that is its whole content. Any other file was put there for another purpose, and is never touched.
//
// One process takes a PID file and keeps it to its own end: it claims the path, holds the lock, and removes the
// file. No descriptor and no lock is handed over.
//
// New claims a path: it refuses when somebody runs there, and prepares a locked file that nobody sees. Clear removes
// a stale file. Then the PID is written and the file moved into place: by the child of a launch, between fork and
// exec, or by this process. Publish and Claimed do all that, and again after a lost race. The result is a File: Look
// compares it with what is at the path, Name has it name another PID, Remove removes it. Where the program writes
// the file itself, Reserve locks the path by a file beside it, and PathLock.Publish makes the File later. Inspect
// and Take look at anybody's PID file, for who asks and does not start.
//
// A PID file is complete whenever it can be seen: it appears by link(2) or rename(2) when its content is
// written. The claim is a flock(2) on the file's own inode, taken before the file appears. The kernel drops
// it when the last descriptor is closed, so a crash leaves a file that anybody can see to be stale and, where the path
// was locked, a .NAME.lock that nobody holds; the next start removes both. Of two starts that see no file one wins: the
// move into place never replaces a file.
//
// What it does not promise: processes that neither lock nor look can overwrite or remove the file at any
// time. When somebody else's file takes the place of one that is being removed, it is away for some microseconds.
//
// An error is a *fault.Error that names the path, or ErrLostRace, ErrRemoved or ErrNotLinked. Only those of
// File.Look, File.Touch and Hold.Remove are the kernel's.
package pidfile

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/safeopen"
	"pidleash/internal/sys"
)

// identity tells an inode from every other one while a descriptor keeps its number in use.
type identity struct{ dev, ino uint64 }

func identityOf(st *unix.Stat_t) identity {
	return identity{dev: uint64(st.Dev), ino: st.Ino}
}

func identityOfFD(fd int) (identity, error) {
	var st unix.Stat_t
	err := sys.Fstat(fd, &st)
	return identityOf(&st), err
}

func identityAt(path string) (identity, error) {
	var st unix.Stat_t
	err := sys.Lstat(path, &st)
	return identityOf(&st), err
}

// isAt reports that the inode is what the path leads to.
func isAt(path string, id identity) bool {
	at, err := identityAt(path)
	return err == nil && at == id
}

// content is a regular file, open for reading, and the beginning of what it has.
type content struct {
	fd   int // close-on-exec; -1: closed
	id   identity
	stat unix.Stat_t
	text []byte

	strange bool // a stranger has locked it, so that nobody else can
}

// open opens what is at the path itself, and waits for nothing. A symbolic link is ELOOP, a directory EISDIR, what else
// is no file ENXIO.
func open(path string) (*content, error) { return newContent(safeopen.Open(path, unix.O_RDONLY, 0)) }

func newContent(fd int, err error) (*content, error) {
	if err != nil {
		return nil, err
	}
	c := &content{fd: fd}
	err = sys.Fstat(fd, &c.stat)
	c.id = identityOf(&c.stat)
	switch kind := c.stat.Mode & unix.S_IFMT; {
	case err != nil:
	case kind == unix.S_IFDIR:
		err = unix.EISDIR
	case kind != unix.S_IFREG:
		err = unix.ENXIO
	default:
		c.text, err = readContent(fd)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// closeFD closes a descriptor, once; -1 is none.
func closeFD(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
		*fd = -1
	}
}

func (c *content) close() {
	if c != nil {
		closeFD(&c.fd)
	}
}

// clear closes a stale file, which is locked, and removes it if it is still at the path. Nil is none, and so is
// a closed one.
func (c *content) clear(path string) error {
	if c == nil || c.fd < 0 {
		return nil
	}
	defer c.close() // whoever replaces a stale file unlinks it before unlocking it
	return removalError(path, "is stale and cannot be removed", takeAway(path, c.id))
}

func (c *content) isStrange() bool { return c != nil && c.strange }

// written is the time of the last change.
func (c *content) written() time.Time { return time.Unix(c.stat.Mtim.Unix()) }

// contentLimit is how much is read. The longest PID files in use, PostgreSQL's, have some 100 bytes.
const contentLimit = 256

// readContent returns the first contentLimit bytes of an open file, whatever its offset.
func readContent(fd int) ([]byte, error) {
	buf := make([]byte, contentLimit)
	n, err := sys.Pread(fd, buf, 0)
	return buf[:max(n, 0)], err
}

// Named returns the PID that the file at path names; 0: there is none, or it cannot be read.
func Named(path string) int { return pidOf(open(path)) }

// NamedBehind is Named of what a path leads to: a daemon's own file may be behind a symbolic link.
func NamedBehind(path string) int { return pidOf(newContent(safeopen.Follow(path, unix.O_RDONLY))) }

func pidOf(c *content, err error) int {
	if err != nil {
		return 0
	}
	defer c.close()
	return parsePID(c.text)
}

// firstWord splits content into its first word and what follows.
func firstWord(content []byte) (word, rest []byte) {
	word = bytes.TrimLeft(content, " \t\r\n")
	if i := bytes.IndexAny(word, " \t\r\n\x00"); i >= 0 {
		return word[:i], word[i:]
	}
	return word, nil
}

// parsePID returns the first word, a decimal number above 0; 0: the file names no PID. A word that ends where reading
// has ended may have been cut, and would be another process's number.
func parsePID(content []byte) int {
	word, rest := firstWord(content)
	pid, err := strconv.ParseUint(string(word), 10, 31)
	if err != nil || rest == nil && len(content) == contentLimit {
		return 0
	}
	return int(pid)
}

// isNoPIDFile reports content that is no PID file's: it has some, and no PID comes first.
func (c *content) isNoPIDFile() bool {
	return parsePID(c.text) == 0 && (!blank(c.text) || c.stat.Size > contentLimit)
}

// hasMore reports content that is not only a PID: text behind it, such as PostgreSQL's, or more than was read.
func (c *content) hasMore() bool {
	_, rest := firstWord(c.text)
	return !blank(rest) || c.stat.Size > contentLimit
}

// blank reports no content: nothing, white space, or the zeros that some file systems leave after a power cut.
func blank(content []byte) bool {
	return len(bytes.Trim(content, " \t\r\n\x00")) == 0
}

// unfinished reports content that a writer of pid may still be completing.
func unfinished(content []byte, pid int) bool {
	return blank(content) || bytes.HasPrefix(strconv.AppendInt(nil, int64(pid), 10), content)
}
