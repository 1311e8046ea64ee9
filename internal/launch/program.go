package launch

import (
	"cmp"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/internal/safeopen"
	"pidleash/internal/sys"
)

const (
	shell       = "/bin/sh"        // runs a script without "#!", exec(3)
	defaultPath = "/bin:/usr/bin"  // when PATH is not set, as in the C library, confstr(3) _CS_PATH
	selfFile    = "/proc/self/exe" // this binary, even if it has been removed, proc_pid_exe(5)
)

// Program is what execvp(3) would try for a name, in its order.
type Program struct {
	Name string // as it was given, for messages

	candidates []string
	dir        string // where relative ones begin; "": here
}

// Self is this binary.
func Self() *Program { return &Program{Name: "pidleash", candidates: []string{selfFile}} }

// Shell is /bin/sh.
func Shell() *Program { return &Program{Name: shell, candidates: []string{shell}} }

// Find looks for the files that can be executed under the name; dir is where a relative path begins, "": here.
// os/exec's LookPath refuses what the current directory offers and knows no default path.
func Find(name, dir string) (*Program, error) {
	p := &Program{Name: name, dir: dir}
	var refused error // why the first file that is there cannot be executed
	for _, file := range lookups(name) {
		switch err := executable(p.from(file)); {
		case err == nil:
			p.candidates = append(p.candidates, file)
		case refused == nil && !missingFile(err):
			refused = p.notExecutable(file, err)
		}
	}
	switch {
	case len(p.candidates) > 0:
		return p, nil
	case refused != nil:
		return nil, refused
	case strings.Contains(name, "/"):
		return nil, p.notExecutable(name, unix.ENOENT)
	}
	name = cmp.Or(name, `""`) // make it visible
	return nil, &fault.Error{Object: name, Problem: "not found in PATH", Hint: "give its full path", Code: fault.NotFound}
}

// lookups is where a name is looked for.
func lookups(name string) (files []string) {
	switch {
	case name == "":
		return nil
	case strings.Contains(name, "/"):
		return []string{name}
	}
	path, set := os.LookupEnv("PATH")
	if !set {
		path = defaultPath
	}
	for dir := range strings.SplitSeq(path, ":") {
		if dir != "" { // an empty element is the current directory
			dir += "/"
		}
		files = append(files, dir+name)
	}
	return files
}

// Files are those that it may be; nil: none.
func (p *Program) Files() (paths []string) {
	if p != nil {
		for _, file := range p.candidates {
			paths = append(paths, p.from(file))
		}
	}
	return paths
}

// from is where the program would find a relative path.
func (p *Program) from(path string) string {
	if p.dir == "" || strings.HasPrefix(path, "/") {
		return path
	}
	return p.dir + "/" + path
}

// executable asks the kernel, with the effective user as execve does.
func executable(file string) error {
	var st unix.Stat_t
	if err := sys.Stat(file, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return sys.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS)
	case unix.S_IFDIR:
		return unix.EISDIR
	}
	return unix.EACCES
}

func missingFile(err error) bool { return err == unix.ENOENT || err == unix.ENOTDIR }

func (p *Program) notExecutable(file string, err error) error {
	e := &fault.Error{Object: file, Problem: "cannot be executed", Err: err, Code: fault.CannotExec}
	var fs unix.Statfs_t
	switch {
	case missingFile(err):
		return &fault.Error{Object: file, Problem: "not found", Code: fault.NotFound}
	case err == unix.EISDIR:
		e.Problem, e.Err = "is a directory", nil
	case err == unix.EACCES && sys.Statfs(p.from(file), &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0:
		e.Hint = "its file system is mounted noexec"
	case err == unix.EACCES:
		e.Hint = cmp.Or(safeopen.Barred(p.from(file)), "chmod +x")
	}
	return e
}

// execError explains why execve refused a file that looked executable. user executes it; nil: pidleash's.
func (p *Program) execError(file string, errno syscall.Errno, user *plan.User) error {
	if file == selfFile {
		return &fault.Error{Object: p.Name, Problem: "cannot be started from " + file, Err: errno, Hint: "mount /proc"}
	}
	e := &fault.Error{Object: file, Problem: "cannot be executed", Err: errno, Code: fault.CannotExec}
	switch errno {
	case syscall.ENOENT:
		if executable(p.from(file)) != nil {
			return p.notExecutable(file, errno)
		}
		// execve(2): the file is there, so it is its interpreter that is missing.
		name, isCR := strings.CutSuffix(interpreter(p.from(file)), "\r")
		e.Problem, e.Hint = strings.TrimSuffix("its interpreter "+name, " ")+" is missing", "install it"
		if isCR {
			e.Problem = "its lines end in CRLF, so that its interpreter " + name + " is not found"
			e.Err, e.Hint = nil, "sed -i 's/\\r$//' "+file
		}
	case syscall.ENOEXEC:
		e.Hint = "it is neither a script nor a program for this machine"
		if text := foreign(p.from(file)); text != "" {
			e.Problem, e.Err, e.Hint = text+", and this machine is "+runtime.GOARCH, nil, "install it for "+runtime.GOARCH
		}
	case syscall.EACCES:
		e.Hint = "its file system may be mounted noexec, or its interpreter may not be executable"
		if user != nil {
			e.Hint = "user " + user.Name + " may not execute it or enter its directory, or its file system is mounted noexec"
		}
	case syscall.ETXTBSY:
		e.Hint = "somebody has it open for writing"
	case syscall.E2BIG:
		e.Hint = "fewer or shorter arguments and environment variables"
	}
	return e
}

// interpreter returns the name in a script's first line as the kernel reads it, or nothing.
func interpreter(file string) string {
	line, _, _ := strings.Cut(string(head(file)), "\n")
	rest, isScript := strings.CutPrefix(line, "#!")
	if !isScript {
		return ""
	}
	name, _, _ := strings.Cut(strings.ReplaceAll(strings.TrimLeft(rest, " \t"), "\t", " "), " ")
	return name
}

// head is what the kernel itself looks at in a file, its first BINPRM_BUF_SIZE bytes.
func head(file string) []byte {
	f, _ := os.Open(file)
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.Read(head) // below 1 if f is nil
	return head[:max(n, 0)]
}

// machine is Go's name for one of elf(5).
func machine(number uint16) string {
	names := map[uint16]string{
		3: "386", 8: "mips", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64",
	}
	return cmp.Or(names[number], "machine "+strconv.Itoa(int(number))+" of elf(5)")
}

// foreign says that a program, or a script's interpreter, is made for another machine; empty: it is not.
func foreign(file string) string {
	what := "is for "
	if name := interpreter(file); name != "" {
		file, what = name, "its interpreter "+name+" is for "
	}
	text := head(file)
	if len(text) < 20 || string(text[:4]) != "\x7fELF" {
		return ""
	}
	number := uint16(text[18]) | uint16(text[19])<<8
	if text[5] == 2 { // ELFDATA2MSB
		number = number>>8 | number<<8
	}
	// A mips or ppc64 may be of the other byte order or word size, which has another name in Go.
	if name := machine(number); !strings.HasPrefix(runtime.GOARCH, name) {
		return what + name
	}
	return ""
}
