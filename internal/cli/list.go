package cli

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/safeopen"
	"pidleash/internal/sys"
)

// defaultAudit is where a system keeps its PID files, file-hierarchy(7).
const defaultAudit = "/run"

// list reports each file given, and what looks like a PID file below each directory. It returns the highest of the
// files' codes.
func (c *command) list(l *log) (code int) {
	a := &audit{log: l}
	for _, path := range c.files {
		a.look(path)
	}
	var text strings.Builder
	for _, r := range a.found {
		code = max(code, r.Code)
		if c.json {
			text.WriteString(jsonLine(r))
		}
	}
	switch {
	case c.json:
	case len(a.found) == 0:
		text.WriteString(fault.Visible("no PID files in "+strings.Join(c.files, ", ")) + "\n")
	default:
		text.WriteString(newTable(a.found).String())
	}
	return max(code, l.print(text.String()))
}

// audit is a walk through directories.
type audit struct {
	log       *log
	inspector pidfile.Inspector
	found     []record
}

func (a *audit) add(r pidfile.Report) { a.found = append(a.found, newRecord(r)) }

// look takes a path of the command line: there, a directory may be a symbolic link, as /var/run is.
func (a *audit) look(path string) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		a.add(a.inspector.Inspect(path))
		return
	}
	if path != "/" {
		path = strings.TrimRight(path, "/")
	}
	a.walk(path, 0, safeopen.Follow)
}

// walk looks at everything below a directory, in the order of the names. outer is the kind of the file system around
// it, 0 for none.
func (a *audit) walk(path string, outer int64, openDirectory opener) {
	entries, kind, err := readDirectory(path, outer, openDirectory)
	switch err {
	case nil, unix.ENOENT, unix.ENOTDIR, unix.ELOOP: // gone, or no directory any more
	case errOtherKind:
		a.log.Info("directory " + path + ": not entered: " + err.Error())
	default:
		if named, ok := errors.AsType[*fs.PathError](err); ok {
			err = named.Err
		}
		a.add(pidfile.Report{Path: path + "/", Verdict: pidfile.Unreadable, Reason: "directory: " + err.Error()})
	}
	for _, e := range entries {
		path := strings.TrimSuffix(path, "/") + "/" + e.Name()
		switch {
		case e.IsDir():
			a.walk(path, kind, openNoFollow)
		case isPIDFileName(e.Name()):
			if r := a.inspector.Inspect(path); r.Verdict != pidfile.Missing { // gone meanwhile
				a.add(r)
			}
		}
	}
}

// opener opens a directory.
type opener func(path string, flags int) (int, error)

func openNoFollow(path string, flags int) (int, error) { return safeopen.Open(path, flags, 0) }

// errOtherKind is the error of readDirectory for a directory that it does not enter.
var errOtherKind = errors.New("another kind of file system is mounted there")

// readDirectory returns the entries of a directory, and the kind of its file system. It enters only file systems of the
// kind outer, and those in memory; outer 0 is any kind. A file system of another kind may be the root of a container,
// whose PIDs mean nothing here, or may block until a network or a user's process answers.
func readDirectory(path string, outer int64, openDirectory opener) (entries []fs.DirEntry, kind int64, err error) {
	// With O_PATH, opening the directory does not trigger an automount, open(2).
	at, err := openDirectory(path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(at)
	var st unix.Statfs_t
	if err := sys.Fstatfs(at, &st); err != nil {
		return nil, 0, err
	}
	kind = int64(st.Type)
	if outer != 0 && kind != outer && kind != unix.TMPFS_MAGIC && kind != unix.RAMFS_MAGIC {
		return nil, 0, errOtherKind
	}
	fd, err := sys.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	entries, err = dir.ReadDir(-1)
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return strings.Compare(x.Name(), y.Name()) })
	return entries, kind, err
}

// isPIDFileName goes by the names in use: nginx.pid, conmon.pidfile, tor/pid.
func isPIDFileName(name string) bool {
	return strings.HasSuffix(name, ".pid") || strings.HasSuffix(name, ".pidfile") || name == "pid" || name == "pidfile"
}
