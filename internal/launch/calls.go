package launch

import (
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/fault"
	"pidleash/internal/plan"
)

// call is a system call of the child's, and how its failure reads.
type call struct {
	number   uintptr
	args     [4]uintptr
	onResult bool         // its first argument is what the call before has returned
	failure  *fault.Error // without the cause; nil: it may fail
}

func (p *childPlan) add(failure *fault.Error, number uintptr, args ...uintptr) *call {
	next := call{number: number, failure: failure}
	copy(next.args[:], args)
	p.calls = append(p.calls, next)
	return &p.calls[len(p.calls)-1]
}

// keep is the address of v, for as long as the plan is there.
func keep[T any](p *childPlan, v *T) uintptr {
	p.kept = append(p.kept, v)
	return uintptr(unsafe.Pointer(v))
}

// addPlace is about where the child belongs.
func (p *childPlan) addPlace() {
	if !p.SameGroup {
		p.add(p.failure("cannot get a process group of its own", nil), unix.SYS_SETPGID, 0, 0)
	}
	if limit, ok := atstart.Nofile(); ok { // package syscall has raised it
		// It fails only if somebody has lowered the hard limit since.
		p.add(nil, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, keep(p, &limit), 0)
	}
	if p.Terminal != 0 {
		// SIGTTOU is blocked. The call fails when the terminal is gone, and then nobody needs it.
		p.add(nil, unix.SYS_IOCTL, uintptr(p.Terminal), unix.TIOCSPGRP, keep(p, &p.result.pid))
	}
}

// addPrivileged does what needs the rights that pidleash has.
func (p *childPlan) addPrivileged() {
	for to, fd := range p.Files.Stdio {
		if fd != asFound {
			p.addDescriptor(Descriptor{fd, to})
		}
	}
	if p.Context.Umask != nil {
		p.add(nil, unix.SYS_UMASK, uintptr(*p.Context.Umask))
	}
	if nice := p.Context.Nice; nice != nil {
		failure := &fault.Error{Object: "nice " + strconv.Itoa(*nice), Problem: "cannot be set"}
		failure.Hint = "below the present value it needs CAP_SYS_NICE, which root may lack in a container, or RLIMIT_NICE"
		p.add(failure, unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, uintptr(*nice))
	}
	if adjust := p.Context.OOMScoreAdj; adjust != nil {
		text, file := strconv.Itoa(*adjust), cString("/proc/self/oom_score_adj")
		failure := &fault.Error{Object: "oom-score-adj " + text, Problem: "cannot be set"}
		failure.Hint = "below the present value it needs CAP_SYS_RESOURCE, which root may lack in a container"
		p.add(failure, unix.SYS_OPENAT, cwd, keep(p, file), unix.O_WRONLY|unix.O_CLOEXEC)
		p.add(failure, unix.SYS_WRITE, 0, keep(p, cString(text)), uintptr(len(text))).onResult = true
	}
	if p.Context.DirAsFound {
		p.addDir("")
	}
}

// addUser gives up the rights that the program is not to have, and enters the directory with what is left.
func (p *childPlan) addUser() {
	hint := ""
	if u := p.Context.User; u != nil {
		p.addCredentials(u)
		hint = "user " + u.Name + " must be able to enter it"
	}
	if !p.Context.DirAsFound {
		p.addDir(hint)
	}
}

// addCredentials makes the calls that change something: others need no right. Where nothing but the supplementary
// groups differ, the program may keep those that its user has here already: a container or a session has chosen them,
// and user_namespaces(7) may deny setgroups(2) to everybody.
func (p *childPlan) addCredentials(u *plan.User) {
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	groups, _ := unix.Getgroups()
	uid, gid := int(u.UID), int(u.GID)
	isUser, isGroup := ruid == uid && euid == uid && suid == uid, rgid == gid && egid == gid && sgid == gid
	failure := func(name string) *fault.Error {
		return &fault.Error{
			Object: "user " + u.Name, Problem: "cannot become it: " + name,
			Hint: "only root can, in a user namespace only with what is mapped there; without -user the program runs as who starts it",
		}
	}
	if !sameGroups(groups, u.Groups) {
		var list uintptr
		if len(u.Groups) > 0 {
			list = keep(p, &u.Groups[0])
		}
		refused := failure("setgroups(2)")
		if isUser && isGroup {
			refused = nil
		}
		p.add(refused, sysSetgroups, uintptr(len(u.Groups)), list)
	}
	if !isGroup {
		p.add(failure("setresgid(2)"), sysSetresgid, uintptr(gid), uintptr(gid), uintptr(gid))
	}
	if !isUser {
		p.add(failure("setresuid(2)"), sysSetresuid, uintptr(uid), uintptr(uid), uintptr(uid))
	}
}

// sameGroups compares what the kernel sorts with what /etc/group does not.
func sameGroups(present []int, wanted []uint32) bool {
	for _, id := range wanted {
		if !slices.Contains(present, int(id)) {
			return false
		}
	}
	for _, id := range present {
		if !slices.Contains(wanted, uint32(id)) {
			return false
		}
	}
	return true
}

func (p *childPlan) addDir(hint string) {
	if dir := p.Context.Dir; dir != "" {
		failure := &fault.Error{Object: "directory " + dir, Problem: "cannot be entered", Hint: hint}
		p.add(failure, unix.SYS_CHDIR, keep(p, cString(dir)))
	}
}

// addDescriptors closes those of 0 to 2 that this process was not given, where the Go runtime has opened
// /dev/null, and places those that are inherited.
func (p *childPlan) addDescriptors() {
	for fd, from := range p.Files.Stdio {
		if from == asFound && atstart.Closed(fd) {
			p.add(nil, unix.SYS_CLOSE, uintptr(fd))
		}
	}
	for _, d := range p.Inherit {
		p.addDescriptor(d)
	}
}

func (p *childPlan) addDescriptor(d Descriptor) {
	failure := p.failure("cannot get descriptor "+strconv.Itoa(d.To), nil)
	if d.FD == d.To {
		p.add(failure, unix.SYS_FCNTL, uintptr(d.FD), unix.F_SETFD, 0)
	} else {
		p.add(failure, unix.SYS_DUP3, uintptr(d.FD), uintptr(d.To), 0)
	}
}

// addSignals sets dispositions and then the mask: signals may come when no handler of the Go runtime is left.
func (p *childPlan) addSignals() {
	const sigIgn = 1 // sigaction(2)
	byDefault, ignore := keep(p, atstart.Disposition(0)), keep(p, atstart.Disposition(sigIgn))
	for sig := 1; sig <= 64; sig++ {
		action := byDefault
		if p.Ignored.Has(sig) {
			action = ignore
		}
		p.add(nil, unix.SYS_RT_SIGACTION, uintptr(sig), action, 0, atstart.SetSize)
	}
	var blocked unix.Sigset_t
	atstart.Store(blocked.Val[:], p.Blocked)
	p.add(p.failure("cannot get its mask of signals", nil), unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, keep(p, &blocked), 0, atstart.SetSize)
}
