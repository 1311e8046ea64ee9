package launch

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/fault"
)

// call is a system call of the child's, and how its failure reads.
type call struct {
	number   uintptr
	args     [4]uintptr
	onResult bool         // its first argument is what the call before has returned
	failure  *fault.Error // without the cause; nil: it may fail
}

// calls are made in this order. What they point to is kept: the garbage collector does not see it in a
// number.
type calls struct {
	list []call
	kept []any
}

func (c *calls) add(failure *fault.Error, number uintptr, args ...uintptr) *call {
	next := call{number: number, failure: failure}
	copy(next.args[:], args)
	c.list = append(c.list, next)
	return &c.list[len(c.list)-1]
}

// keep is the address of v, for as long as the calls are there.
func keep[T any](c *calls, v *T) uintptr {
	c.kept = append(c.kept, v)
	return uintptr(unsafe.Pointer(v))
}

// addPlace is about where the child belongs.
func (c *calls) addPlace(s *Spec, pid *int32) {
	if !s.SameGroup {
		c.add(s.failure("cannot get a process group of its own", nil), unix.SYS_SETPGID, 0, 0)
	}
	c.addNofile()
	if s.Terminal != 0 {
		// SIGTTOU is blocked. It fails when the terminal is gone: so be it.
		c.add(nil, unix.SYS_IOCTL, uintptr(s.Terminal), unix.TIOCSPGRP, keep(c, pid))
	}
}

// addNofile undoes what package syscall has done to the limit of open files.
func (c *calls) addNofile() {
	if limit, ok := atstart.Nofile(); ok {
		// It fails only if somebody has lowered the hard limit since.
		c.add(nil, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, keep(c, &limit), 0)
	}
}

// addPrivileged does what needs the rights that pidleash has.
func (c *calls) addPrivileged(s *Spec) {
	for to, fd := range s.Files.Stdio {
		if fd != asFound {
			c.addDescriptor(s, Descriptor{fd, to})
		}
	}
	context := s.Context
	if context.Umask != nil {
		c.add(nil, unix.SYS_UMASK, uintptr(*context.Umask))
	}
	if nice := context.Nice; nice != nil {
		c.add(&fault.Error{Object: "nice " + strconv.Itoa(*nice), Problem: "cannot be set", Hint: "below the present value only root may, or who has RLIMIT_NICE"},
			unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, uintptr(*nice))
	}
	if adjust := context.OOMScoreAdj; adjust != nil {
		text := strconv.Itoa(*adjust)
		failure := &fault.Error{Object: "oom-score-adj " + text, Problem: "cannot be set", Hint: "below the present value only root may"}
		c.add(failure, unix.SYS_OPENAT, cwd, keep(c, cString("/proc/self/oom_score_adj")), unix.O_WRONLY|unix.O_CLOEXEC)
		c.add(failure, unix.SYS_WRITE, 0, keep(c, cString(text)), uintptr(len(text))).onResult = true
	}
	if s.DirAsFound {
		c.addDir(s)
	}
}

// addUser gives up the rights that the program is not to have, and enters the directory with what is left.
func (c *calls) addUser(s *Spec) {
	context := s.Context
	if u := context.User; u != nil {
		failure := &fault.Error{Object: "user " + u.Name, Problem: "cannot become it", Hint: "only root can; without -user the program runs as who starts it"}
		var groups uintptr
		if len(u.Groups) > 0 {
			groups = keep(c, &u.Groups[0])
		}
		uid, gid := uintptr(u.UID), uintptr(u.GID)
		c.add(failure, unix.SYS_SETGROUPS, uintptr(len(u.Groups)), groups)
		c.add(failure, unix.SYS_SETRESGID, gid, gid, gid)
		c.add(failure, unix.SYS_SETRESUID, uid, uid, uid)
	}
	if !s.DirAsFound {
		c.addDir(s)
	}
}

func (c *calls) addDir(s *Spec) {
	context := s.Context
	if context.Dir == "" {
		return
	}
	failure := &fault.Error{Object: "directory " + context.Dir, Problem: "cannot be entered"}
	if context.User != nil && !s.DirAsFound {
		failure.Hint = "user " + context.User.Name + " must be able to enter it"
	}
	c.add(failure, unix.SYS_CHDIR, keep(c, cString(context.Dir)))
}

// addClosed closes those of 0 to 2 that this process was not given: the Go runtime has opened /dev/null
// there.
func (c *calls) addClosed(s *Spec) {
	for fd, from := range s.Files.Stdio {
		if from == asFound && atstart.Closed(fd) {
			c.add(nil, unix.SYS_CLOSE, uintptr(fd))
		}
	}
}

func (c *calls) addDescriptor(s *Spec, d Descriptor) {
	failure := s.failure("cannot get descriptor "+strconv.Itoa(d.To), nil)
	if d.FD == d.To {
		c.add(failure, unix.SYS_FCNTL, uintptr(d.FD), unix.F_SETFD, 0)
	} else {
		c.add(failure, unix.SYS_DUP3, uintptr(d.FD), uintptr(d.To), 0)
	}
}

// sigaction is the kernel's. Its first word is the handler; the order of the others differs by architecture,
// and all are zero here.
type sigaction [4]uintptr

// addSignals sets dispositions and then the mask: signals may come when no handler of the Go runtime is left.
func (c *calls) addSignals(s *Spec) {
	const sigIgn = 1 // sigaction(2)
	byDefault, ignore := keep(c, &sigaction{}), keep(c, &sigaction{sigIgn})
	for sig := 1; sig <= 64; sig++ {
		action := byDefault
		if s.Ignored.Has(sig) {
			action = ignore
		}
		c.add(nil, unix.SYS_RT_SIGACTION, uintptr(sig), action, 0, 8)
	}
	blocked := s.Blocked
	c.add(nil, unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, keep(c, &blocked), 0, 8)
}
