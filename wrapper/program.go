package wrapper

import (
	"errors"
	"fmt"
	"os"
	"pidleash/internal/fault"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// shell runs a script without "#!", exec(3).
const shell = "/bin/sh"

// defaultPath is searched when PATH is not set, as in the C library,
// confstr(3) _CS_PATH.
const defaultPath = "/bin:/usr/bin"

// program is what execvp(3) would try for a name, in its order.
type program struct {
	name       string
	candidates []string
	around     *Config // has the directory that relative ones begin in
}

// findProgram looks for the files that can be executed under the name, so that
// a mistake shows before anything is done. os/exec's LookPath is not execvp(3):
// it refuses what the current directory offers and knows no default path.
func findProgram(name string, around *Config) (*program, error) {
	p := &program{name: name, around: around}
	if strings.Contains(name, "/") {
		p.candidates = []string{name}
		if err := executable(around.from(name)); err != nil {
			return nil, p.notExecutable(name, err)
		}
		return p, nil
	}
	return p, p.search(name)
}

func (p *program) search(name string) error {
	path, set := os.LookupEnv("PATH")
	if !set {
		path = defaultPath
	}
	var refused error
	var refusedFile string
	for _, dir := range strings.Split(path, ":") {
		file := name
		if dir != "" { // an empty element is the current directory
			file = dir + "/" + name
		}
		switch err := executable(p.around.from(file)); {
		case err == nil:
			p.candidates = append(p.candidates, file)
		case refused == nil && !missingFile(err):
			refused, refusedFile = err, file
		}
	}
	switch {
	case name == "" || len(p.candidates) == 0 && refused == nil:
		return &fault.Error{Object: quoteName(name), Problem: "not found in PATH", Hint: "give its full path", Code: fault.NotFound}
	case len(p.candidates) == 0:
		return p.notExecutable(refusedFile, refused)
	}
	return nil
}

// quoteName makes an empty name visible.
func quoteName(name string) string {
	if name == "" {
		return `""`
	}
	return name
}

var errDirectory = errors.New("is a directory")

// executable asks the kernel, with the effective user as execve does.
func executable(file string) error {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return errDirectory
	default:
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS)
}

func missingFile(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

func (p *program) notExecutable(file string, err error) error {
	switch {
	case missingFile(err):
		return &fault.Error{Object: file, Problem: "not found", Code: fault.NotFound}
	case err == errDirectory:
		return &fault.Error{Object: file, Problem: "is a directory", Code: fault.CannotExec}
	case err == unix.EACCES:
		return &fault.Error{Object: file, Problem: "cannot be executed", Err: err, Hint: accessHint(p.around.from(file)), Code: fault.CannotExec}
	}
	return &fault.Error{Object: file, Problem: "cannot be executed", Err: err, Code: fault.CannotExec}
}

// accessHint tells the two reasons apart why an existing file gives EACCES.
func accessHint(file string) string {
	var fs unix.Statfs_t
	if unix.Statfs(file, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0 {
		return "its file system is mounted noexec"
	}
	return "chmod +x"
}

// execError explains why execve refused a file that looked executable.
func (p *program) execError(file string, errno syscall.Errno) error {
	e := &fault.Error{Object: file, Problem: "cannot be executed", Err: errno, Code: fault.CannotExec}
	switch errno {
	case syscall.ENOENT:
		if executable(p.around.from(file)) != nil {
			return p.notExecutable(file, errno)
		}
		// execve(2): the file is there, so it is its interpreter that is missing.
		e.Problem = fmt.Sprintf("its interpreter%s is missing", interpreter(p.around.from(file)))
	case syscall.EACCES:
		e.Hint = "its file system may be mounted noexec, or its interpreter may not be executable"
		if p.around.User != nil {
			e.Hint = "user " + p.around.User.Name + " may not execute it, or its file system is mounted noexec"
		}
	case syscall.ETXTBSY:
		e.Hint = "somebody has it open for writing"
	case syscall.E2BIG:
		e.Hint = "fewer or shorter arguments and environment variables"
	}
	return e
}

// interpreter returns " NAME" from a script's first line, or nothing.
func interpreter(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 256) // BINPRM_BUF_SIZE: what the kernel itself looks at
	n, _ := f.Read(head)
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	rest, isScript := strings.CutPrefix(line, "#!")
	if words := strings.Fields(rest); isScript && len(words) > 0 {
		return " " + words[0]
	}
	return ""
}
