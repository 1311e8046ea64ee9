package cli

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pidleash/internal/pidfile"
)

// defaultAudit is where a system keeps its PID files, file-hierarchy(7).
const defaultAudit = "/run"

// list reports each file given, and what looks like a PID file below each
// directory. It returns the highest of the files' codes.
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
		text.WriteString(visible("no PID files in "+strings.Join(c.files, ", ")) + "\n")
	default:
		text.WriteString(newTable(a.found).String())
	}
	return max(code, l.print(text.String()))
}

// audit is a walk through directories.
type audit struct {
	log   *log
	found []record
}

// look takes a path of the command line: there, a directory may be a symbolic link, as /var/run is.
func (a *audit) look(path string) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		a.add(pidfile.Inspect(path))
		return
	}
	if path != "/" {
		path = strings.TrimRight(path, "/")
	}
	a.walk(path, 0, 0)
}

func (a *audit) add(r pidfile.Report) { a.found = append(a.found, newRecord(r)) }

// walk looks at everything below a directory, in the order of the names. kind is
// that of the file system around it, 0 for none; flags are further ones of open(2).
func (a *audit) walk(path string, kind int64, flags int) {
	switch dir, kind, err := openDirectory(path, kind, flags); err {
	case nil:
		a.enter(dir, kind)
	case errOtherKind:
		a.log.Info("directory " + path + ": not entered: " + err.Error())
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP: // gone, or no directory any more
	default:
		a.unreadable(path, err)
	}
}

func (a *audit) unreadable(dir string, err error) {
	var named *fs.PathError
	if errors.As(err, &named) {
		err = named.Err
	}
	a.add(pidfile.Report{Path: dir + "/", Verdict: pidfile.Unreadable, Reason: "directory: " + err.Error()})
}

func (a *audit) enter(dir *os.File, kind int64) {
	entries, err := dir.ReadDir(-1)
	dir.Close()
	if err != nil {
		a.unreadable(dir.Name(), err)
	}
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return strings.Compare(x.Name(), y.Name()) })
	for _, e := range entries {
		path := strings.TrimSuffix(dir.Name(), "/") + "/" + e.Name()
		switch {
		case e.IsDir():
			a.walk(path, kind, unix.O_NOFOLLOW)
		case isPIDFileName(e.Name()):
			if r := pidfile.Inspect(path); r.Verdict != pidfile.Missing { // gone meanwhile
				a.add(r)
			}
		}
	}
}

// isPIDFileName goes by the names in use: nginx.pid, conmon.pidfile, tor/pid.
func isPIDFileName(name string) bool {
	return strings.HasSuffix(name, ".pid") || strings.HasSuffix(name, ".pidfile") || name == "pid" || name == "pidfile"
}
