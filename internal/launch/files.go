package launch

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/internal/safeopen"
	"pidleash/internal/sdnotify"
	"pidleash/internal/sys"
)

// asFound leaves a descriptor alone.
const asFound = -1

// Files are the program's standard input, output and error, opened for one start by Open.
type Files struct {
	Stdio [3]int  // descriptors; -1: as found
	Named [3]bool // this process's own, which options name: the next start needs them

	own []int // to be closed
}

// Open opens the context's files anew.
func Open(c *plan.Context) (*Files, error) {
	f := &Files{Stdio: [3]int{asFound, asFound, asFound}}
	user := uint32(os.Geteuid())
	if c.User != nil {
		user = c.User.UID
	}
	for fd, path := range []string{1: c.Stdout, 2: c.Stderr} {
		if path == "" {
			continue
		}
		log, err := f.openLog(path, user)
		if err != nil {
			f.Close()
			return nil, logError([...]string{1: "stdout ", 2: "stderr "}[fd]+path, path, err)
		}
		f.Stdio[fd], f.own = log, append(f.own, log)
	}
	return f, nil
}

// openLog opens a file to append to. The program gets it without O_NONBLOCK, which was for a fifo that nobody reads.
// A path that names a descriptor is that descriptor: a socket, or what another user has opened, could not be opened
// again.
func (f *Files) openLog(path string, user uint32) (int, error) {
	if n, ok := descriptor(path); ok {
		if n < len(f.Named) {
			f.Named[n] = true
		}
		return inherited(n)
	}
	fd, err := safeopen.Append(path, 0o640, user)
	if err == nil {
		_, err = sys.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND)
	}
	return fd, err
}

// descriptor is the one that a path names, of this process.
func descriptor(path string) (n int, ok bool) {
	if n = slices.Index([]string{"/dev/stdin", "/dev/stdout", "/dev/stderr"}, path); n >= 0 {
		return n, true
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if number, found := strings.CutPrefix(path, dir); found {
			n, err := strconv.ParseUint(number, 10, 31)
			return int(n), err == nil
		}
	}
	return 0, false
}

// inherited duplicates a descriptor that this process was given at its start. All others are close-on-exec.
func inherited(n int) (int, error) {
	flags, err := sys.FcntlInt(uintptr(n), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 || atstart.Closed(n) {
		return -1, unix.EBADF
	}
	return sys.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, plan.FirstFD)
}

// Reader opens again, to read it, what is the program's standard output, 1, or error, 2; nil: it is no regular file, or
// cannot be read. path is its option's.
func (f *Files) Reader(fd int, path string) *os.File {
	var written, st unix.Stat_t
	if path == "" || sys.Fstat(f.Stdio[fd], &written) != nil || written.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	in, err := safeopen.Follow(path, unix.O_RDONLY)
	if err != nil {
		return nil
	}
	if sys.Fstat(in, &st) != nil || st.Dev != written.Dev || st.Ino != written.Ino {
		unix.Close(in)
		return nil
	}
	_, _ = sys.FcntlInt(uintptr(in), unix.F_SETFL, 0) // or package os would make a poller
	return os.NewFile(uintptr(in), path)
}

// logError is why a log cannot be opened.
func logError(object, path string, err error) error {
	e := &fault.Error{Object: object, Problem: "cannot be opened", Err: err, Hint: logHint(path, err)}
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		e.Hint = refused.Hint
	}
	return e
}

func logHint(path string, err error) string {
	var st unix.Stat_t
	dir, user := filepath.Dir(path), strconv.Itoa(os.Geteuid())
	exists := sys.Stat(path, &st) == nil
	if hint := safeopen.Remedy(path, err); hint != "" {
		return hint
	}
	switch err {
	case unix.EBADF:
		return "it must be open at the start; in the background only 0, 1 and 2 are"
	case unix.ENOENT:
		switch {
		case sys.Stat(dir, &st) != nil:
			return "create the directory " + dir
		case sys.Lstat(path, &st) == nil:
			return "it is a symbolic link: create what it leads to"
		}
		return "choose another directory: the file system of " + dir + " takes no files"
	case unix.ENXIO:
		if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			return "it is a socket: pass it as a descriptor, /dev/fd/N"
		}
		return "nobody reads this fifo"
	case unix.EROFS:
		return "choose a directory that can be written"
	case unix.EACCES, unix.EPERM:
		if exists {
			return "user " + user + " may not write this file, which is user " + strconv.Itoa(int(st.Uid)) + "'s"
		}
		return "choose a directory that user " + user + " may write"
	}
	return ""
}

// Detach is for a program in the background: of the caller's descriptors it has the journal only, and
// otherwise /dev/null where no file is.
func (f *Files) Detach() error {
	if err := f.NoInput(); err != nil {
		return err
	}
	for fd, from := range f.Stdio {
		if from == asFound && !sdnotify.IsJournal(fd) {
			f.Stdio[fd] = f.Stdio[0]
		}
	}
	return nil
}

// NoInput makes /dev/null the standard input.
func (f *Files) NoInput() error {
	devNull, err := sys.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fault.Error{Object: os.DevNull, Problem: "cannot be opened", Err: err}
	}
	f.Stdio[0], f.own = devNull, append(f.own, devNull)
	return nil
}

// Close closes what Open, Detach and NoInput have opened. Nil has nothing.
func (f *Files) Close() {
	if f == nil {
		return
	}
	for _, fd := range f.own {
		unix.Close(fd)
	}
	*f = Files{Stdio: [3]int{asFound, asFound, asFound}}
}

// CheckDir looks whether the context's directory can be the working directory. Another user's rights are not looked
// at: the child finds out.
func CheckDir(c *plan.Context) error {
	if c.Dir == "" {
		return nil
	}
	var st unix.Stat_t
	err := sys.Stat(c.Dir+"/", &st)
	if err == nil && c.User == nil {
		err = sys.Faccessat(unix.AT_FDCWD, c.Dir, unix.X_OK, unix.AT_EACCESS)
	}
	if err == nil {
		return nil
	}
	hint := "create it, or name another with -chdir"
	if err == unix.EACCES {
		hint = cmp.Or(safeopen.Barred(c.Dir+"/"), hint)
	}
	return &fault.Error{Object: "directory " + c.Dir, Problem: "cannot be entered", Err: err, Hint: hint}
}

// PassedSockets counts the descriptors that the service manager has passed to this process, sd_listen_fds(3). Whoever
// came in between may have closed them: where a number is free this process has opened something of its own.
func PassedSockets() (n int) {
	said, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 0
	}
	for n < said {
		flags, err := sys.FcntlInt(uintptr(plan.FirstFD+n), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			break
		}
		n++
	}
	return n
}

// CheckRead refuses what can never be a file that the program writes: that of -follow, and those of -ready-file.
func CheckRead(p *plan.Plan) error {
	for i, path := range append([]string{p.Follow}, p.ReadyFiles...) {
		if path == "" {
			continue
		}
		fd, err := safeopen.Follow(path, unix.O_PATH)
		if err != nil {
			continue // it may come
		}
		var st unix.Stat_t
		err = sys.Fstat(fd, &st)
		unix.Close(fd)
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			object := []string{"follow ", "ready-file "}[min(i, 1)] + path
			return &fault.Error{Object: object, Problem: "is not a regular file", Hint: "name the file that the program writes"}
		}
	}
	return nil
}
