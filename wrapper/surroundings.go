package wrapper

import (
	"fmt"
	"os"
	"path/filepath"
	"pidleash/internal/fault"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// check looks for what can be seen to be wrong before anything is done.
func (cfg *Config) check() error {
	if cfg.Dir == "" {
		return nil
	}
	var st unix.Stat_t
	err := unix.Stat(cfg.Dir, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if err != nil {
		return &fault.Error{Object: "directory " + cfg.Dir, Problem: "cannot be entered", Err: err, Hint: "create it, or name another with -chdir"}
	}
	return nil
}

// surroundings are the plan's, with their files open.
type surroundings struct {
	*Config
	stdio [3]int // what becomes the program's 0 to 2; asIs: nothing
}

// asIs leaves a descriptor alone.
const asIs = -1

// open opens the files anew, for one start. The caller closes them.
func (cfg *Config) open() (*surroundings, error) {
	opened := &surroundings{Config: cfg, stdio: [3]int{asIs, asIs, asIs}}
	for fd, path := range []string{1: cfg.Stdout, 2: cfg.Stderr} {
		if path == "" {
			continue
		}
		var err error
		if opened.stdio[fd], err = openLog(path); err != nil {
			opened.close()
			object := [...]string{1: "stdout ", 2: "stderr "}[fd] + path
			return nil, &fault.Error{Object: object, Problem: "cannot be opened", Err: err, Hint: logHint(path, err)}
		}
	}
	return opened, nil
}

// openLog opens a file to append to. Without O_NONBLOCK a fifo that nobody reads
// would hold the start up; the program gets it without that flag.
func openLog(path string) (int, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return asIs, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND); err != nil {
		unix.Close(fd)
		return asIs, err
	}
	return fd, nil
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

func (s *surroundings) close() {
	if s == nil {
		return
	}
	for i, fd := range s.stdio {
		if fd > 2 && !slices.Contains(s.stdio[:i], fd) {
			unix.Close(fd)
		}
	}
	s.stdio = [3]int{asIs, asIs, asIs}
}

// surroundingsPlan is the same in the form in which the kernel takes it.
type surroundingsPlan struct {
	stdio              [3]int
	setUmask           bool
	umask              uintptr
	dir                *byte // nil: as found
	dirAsFound         bool  // to be entered with the rights that pidleash has
	setUser            bool
	uid, gid           uintptr
	groups             *uint32
	numGroups          uintptr
	setNice            bool
	nice               uintptr
	oomPath, oomAdjust *byte // nil: as found
	oomLength          uintptr
}

// plan prepares the surroundings for the child; nil has nothing to prepare.
func (s *surroundings) plan() surroundingsPlan {
	p := surroundingsPlan{stdio: [3]int{asIs, asIs, asIs}}
	if s == nil {
		return p
	}
	p.stdio = s.stdio
	if s.Umask != nil {
		p.setUmask, p.umask = true, uintptr(*s.Umask)
	}
	if s.Dir != "" {
		p.dir, p.dirAsFound = cString(s.Dir), s.dirAsFound
	}
	if u := s.User; u != nil {
		p.setUser, p.uid, p.gid = true, uintptr(u.UID), uintptr(u.GID)
		if p.numGroups = uintptr(len(u.Groups)); p.numGroups > 0 {
			p.groups = &u.Groups[0]
		}
	}
	if s.Nice != nil {
		p.setNice, p.nice = true, uintptr(*s.Nice)
	}
	if s.OOMScoreAdj != nil {
		text := strconv.Itoa(*s.OOMScoreAdj)
		p.oomPath, p.oomAdjust, p.oomLength = cString("/proc/self/oom_score_adj"), cString(text), uintptr(len(text))
	}
	return p
}

// arrange does what needs the rights that pidleash has. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) arrange() bool {
	a := &p.around
	for to := range a.stdio {
		if fd := a.stdio[to]; fd != asIs && !p.place(descriptor{uintptr(fd), uintptr(to)}) {
			return false
		}
	}
	if a.setUmask {
		syscall.RawSyscall6(unix.SYS_UMASK, a.umask, 0, 0, 0, 0, 0)
	}
	if a.setNice {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, a.nice, 0, 0, 0); errno != 0 {
			p.giveUp(stepNice, errno)
			return false
		}
	}
	if a.oomPath != nil {
		fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, cwd, uintptr(unsafe.Pointer(a.oomPath)), unix.O_WRONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == 0 {
			_, _, errno = syscall.RawSyscall6(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(a.oomAdjust)), a.oomLength, 0, 0, 0)
		}
		if errno != 0 {
			p.giveUp(stepOOMScoreAdj, errno)
			return false
		}
	}
	return !a.dirAsFound || p.enterDir()
}

// enterDir enters the working directory, if there is one to enter. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) enterDir() bool {
	if p.around.dir == nil {
		return true
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_CHDIR, uintptr(unsafe.Pointer(p.around.dir)), 0, 0, 0, 0, 0)
	if errno != 0 {
		p.giveUp(stepDir, errno)
	}
	return errno == 0
}

// changeUser gives up the rights that the program is not to have, and enters the
// directory with those that are left. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) changeUser() bool {
	a := &p.around
	if a.setUser {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_SETGROUPS, a.numGroups, uintptr(unsafe.Pointer(a.groups)), 0, 0, 0, 0); errno != 0 {
			p.giveUp(stepGroups, errno)
			return false
		}
		_, _, errno := syscall.RawSyscall6(unix.SYS_SETRESGID, a.gid, a.gid, a.gid, 0, 0, 0)
		if errno == 0 {
			_, _, errno = syscall.RawSyscall6(unix.SYS_SETRESUID, a.uid, a.uid, a.uid, 0, 0, 0)
		}
		if errno != 0 {
			p.giveUp(stepUser, errno)
			return false
		}
	}
	return a.dirAsFound || p.enterDir()
}

// explain says what of it the kernel has refused.
func (s *surroundings) explain(step launchStep, errno syscall.Errno) error {
	switch step {
	case stepNice:
		return &fault.Error{Object: fmt.Sprintf("nice %d", *s.Nice), Problem: "cannot be set", Err: errno, Hint: "below the present value only root may, or who has RLIMIT_NICE"}
	case stepOOMScoreAdj:
		return &fault.Error{Object: fmt.Sprintf("oom-score-adj %d", *s.OOMScoreAdj), Problem: "cannot be set", Err: errno, Hint: "below the present value only root may"}
	case stepGroups, stepUser:
		return &fault.Error{Object: "user " + s.User.Name, Problem: "cannot become it", Err: errno, Hint: "only root can; without -user the program runs as who starts it"}
	case stepDir:
		hint := ""
		if s.User != nil && !s.dirAsFound {
			hint = "user " + s.User.Name + " must be able to enter it"
		}
		return &fault.Error{Object: "directory " + s.Dir, Problem: "cannot be entered", Err: errno, Hint: hint}
	}
	return fmt.Errorf("launch step %d: %w", step, errno)
}

// from is where the program would find a relative path.
func (cfg *Config) from(path string) string {
	if cfg.Dir == "" || filepath.IsAbs(path) {
		return path
	}
	return strings.TrimSuffix(cfg.Dir, "/") + "/" + path
}
