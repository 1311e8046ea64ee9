package launch

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/internal/sdnotify"
)

// asFound leaves a descriptor alone.
const asFound = -1

// Files are the program's standard input, output and error, opened for one start by Open.
type Files struct {
	Stdio [3]int // descriptors; -1: as found

	own []int // to be closed
}

// Open opens the context's files anew.
func Open(c *plan.Context) (*Files, error) {
	f := &Files{Stdio: [3]int{asFound, asFound, asFound}}
	for fd, path := range []string{1: c.Stdout, 2: c.Stderr} {
		if path == "" {
			continue
		}
		log, err := openLog(path)
		if err != nil {
			f.Close()
			object := [...]string{1: "stdout ", 2: "stderr "}[fd] + path
			return nil, &fault.Error{Object: object, Problem: "cannot be opened", Err: err, Hint: logHint(path, err)}
		}
		f.Stdio[fd], f.own = log, append(f.own, log)
	}
	return f, nil
}

// openLog opens a file to append to. Without O_NONBLOCK a fifo that nobody reads would hold the start up; the
// program gets it without that flag.
func openLog(path string) (int, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK, 0o640)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND)
	}
	return fd, err
}

func logHint(path string, err error) string {
	switch err {
	case unix.ENOENT:
		return "create the directory " + filepath.Dir(path)
	case unix.EISDIR:
		return "name a file in it"
	case unix.ENXIO:
		return "nobody reads this fifo"
	case unix.EACCES, unix.EPERM:
		return "choose a directory that user " + strconv.Itoa(os.Geteuid()) + " may write"
	}
	return ""
}

// Detach is for a program in the background: of the caller's descriptors it has the journal only, and
// otherwise /dev/null where no file is.
func (f *Files) Detach() error {
	devNull, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fault.Error{Object: os.DevNull, Problem: "cannot be opened", Err: err}
	}
	f.own = append(f.own, devNull)
	for fd, from := range f.Stdio {
		if fd == 0 || from == asFound && !sdnotify.IsJournal(fd) {
			f.Stdio[fd] = devNull
		}
	}
	return nil
}

// Close closes what Open and Detach have opened. Nil has nothing.
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
	err := unix.Stat(c.Dir+"/", &st)
	if err == nil && c.User == nil {
		err = unix.Faccessat(unix.AT_FDCWD, c.Dir, unix.X_OK, unix.AT_EACCESS)
	}
	if err == nil {
		return nil
	}
	hint := "create it, or name another with -chdir"
	if dir := barred(c.Dir + "/"); dir != "" && err == unix.EACCES {
		hint = barredHint(dir)
	}
	return &fault.Error{Object: "directory " + c.Dir, Problem: "cannot be entered", Err: err, Hint: hint}
}
