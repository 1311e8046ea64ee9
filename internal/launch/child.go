package launch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
)

// The child. A PID is known only after the fork, and the PID file must be there before the program's first
// instruction: something has to run in between, in the new process. Package syscall runs nothing of ours there;
// this does what its forkExec does, and the publishing.
//
// In the child of clone(CLONE_VFORK) the Go runtime is dead: nothing collects garbage, runs goroutines or unlocks
// what was locked at the fork. The thread that has forked waits until the child has called execve or has ended.
// On amd64 the child shares the parent's memory, stack included; elsewhere it has a copy. Hence the rules of the
// functions marked "in the child":
//
//   - nothing but raw system calls on memory that was prepared before: no allocation, no defer, no interface, no
//     map, no string conversion, no panic;
//   - nothing is written but the plan and the stack below fork's frame;
//   - nosplit: the stack cannot grow; norace: nothing is added; noinline: vfork returns twice in a frame;
//   - all signals blocked, until no handler of the Go runtime is left.
//
// The result comes back through memory that both share in either case.

// fork clones and, in the parent, returns when the child has become the program or has failed.
//
//go:noinline
//go:norace
//go:nosplit
func (p *childPlan) fork() (pid int, errno syscall.Errno) {
	all, saved := [2]atstart.SignalSet{^atstart.SignalSet(0), ^atstart.SignalSet(0)}, [2]atstart.SignalSet{}
	kernel(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&saved)), atstart.SetSize, 0)
	child, failure := vfork()
	for syscall.Errno(failure) == syscall.EINTR {
		child, failure = vfork()
	}
	if child == 0 && failure == 0 {
		p.inChild()
		exitChild()
	}
	kernel(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&saved)), 0, atstart.SetSize, 0)
	return int(child), syscall.Errno(failure)
}

// inChild becomes the program, or returns when result says why not. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *childPlan) inChild() {
	if p.Detached && !p.detach() {
		return
	}
	pid, _ := kernel(unix.SYS_GETPID, 0, 0, 0, 0, 0)
	p.result.pid = int32(pid)
	for _, place := range p.ownPID {
		spell(place, pid, 0)
	}
	if !p.run(0, p.publishAt) || p.Claim != nil && !p.publishPID(pid) || !p.run(p.publishAt, len(p.calls)) {
		return
	}
	if first := uintptr(p.CloseFrom); first != 0 {
		_, errno := kernel(unix.SYS_CLOSE_RANGE, first, uintptr(^uint32(0)), 0, 0, 0)
		for fd := first; errno != 0 && fd < 1<<16; fd++ { // before Linux 5.9
			kernel(unix.SYS_CLOSE, fd, 0, 0, 0, 0)
		}
	}
	// If the parent ended before its death signal was asked for, none comes.
	ppid, _ := kernel(unix.SYS_GETPPID, 0, 0, 0, 0, 0)
	if p.parent != 0 && ppid != p.parent {
		exitChild()
	}
	p.exec()
}

// run makes the calls from one index to before another, up to the first that fails. In the child.
//
//go:norace
//go:nosplit
func (p *childPlan) run(from, to int) bool {
	result := uintptr(0)
	for i := from; i < to; i++ {
		c := &p.calls[i]
		first := c.args[0]
		if c.onResult {
			first = result
		}
		var errno syscall.Errno
		result, errno = kernel(c.number, first, c.args[1], c.args[2], c.args[3], 0)
		if errno != 0 && c.failure != nil {
			return p.fail(stepCall, i, errno)
		}
	}
	return true
}

// detach makes a session and goes on in a child, which does not lead it and so can never get a controlling
// terminal, daemon(7). Its parent ends. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *childPlan) detach() bool {
	if _, errno := kernel(unix.SYS_SETSID, 0, 0, 0, 0, 0); errno != 0 {
		return p.fail(stepDetach, 0, errno)
	}
	child, failure := vfork()
	for syscall.Errno(failure) == syscall.EINTR {
		child, failure = vfork()
	}
	switch {
	case failure != 0:
		return p.fail(stepDetach, 0, syscall.Errno(failure))
	case child != 0:
		exitChild()
	}
	return true
}

// exec tries the candidates in the order of PATH. In the child.
//
//go:norace
//go:nosplit
func (p *childPlan) exec() {
	env := uintptr(unsafe.Pointer(p.env))
	for i := range p.targets {
		t := &p.targets[i]
		_, errno := kernel(unix.SYS_EXECVE, uintptr(unsafe.Pointer(t.path)), uintptr(unsafe.Pointer(t.argv)), env, 0, 0)
		if errno == syscall.ENOEXEC && !p.isBinary(t.path) {
			_, errno = kernel(unix.SYS_EXECVE, uintptr(unsafe.Pointer(*t.shArgv)), uintptr(unsafe.Pointer(t.shArgv)), env, 0, 0)
		}
		if !p.result.refused(i, errno) {
			break
		}
	}
	p.fail(stepExec, p.result.index, p.result.errno)
}

// isBinary reports a file with a NUL in its first line. That is no script, and /bin/sh would read it as one: bash
// refuses it as well, and POSIX lets a shell do so. In the child.
//
//go:norace
//go:nosplit
func (p *childPlan) isBinary(path *byte) bool {
	head := &p.result.head
	name := uintptr(unsafe.Pointer(path))
	fd, errno := kernel(unix.SYS_OPENAT, cwd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return false
	}
	n, errno := kernel(unix.SYS_READ, fd, uintptr(unsafe.Pointer(head)), uintptr(len(head)), 0, 0)
	kernel(unix.SYS_CLOSE, fd, 0, 0, 0, 0)
	for i := 0; errno == 0 && i < int(n) && i < len(head) && head[i] != '\n'; i++ {
		if head[i] == 0 {
			return true
		}
	}
	return false
}

// refused notes why a file was not executed, and reports that the next one is to be tried. As in execvp(3),
// EACCES is remembered while the search goes on. In the child.
//
//go:norace
//go:nosplit
func (r *result) refused(index int, errno syscall.Errno) (next bool) {
	switch errno {
	case syscall.EACCES, syscall.ENOENT, syscall.ESTALE, syscall.ENOTDIR, syscall.ENODEV, syscall.ETIMEDOUT:
		next = true
	}
	if !next || r.errno != syscall.EACCES {
		r.errno, r.index = errno, index
	}
	return next
}

// fail notes why the child does not become the program, and is false. In the child.
//
//go:norace
//go:nosplit
func (p *childPlan) fail(at step, index int, errno syscall.Errno) bool {
	p.result.step, p.result.index, p.result.errno = at, index, errno
	return false
}

// kernel makes a system call, and again if a signal or a file system in user space has interrupted it, as package sys
// does where Go runs. In the child.
//
//go:norace
//go:nosplit
func kernel(number, a1, a2, a3, a4, a5 uintptr) (result uintptr, errno syscall.Errno) {
	errno = syscall.EINTR
	for errno == syscall.EINTR {
		result, _, errno = syscall.RawSyscall6(number, a1, a2, a3, a4, a5, 0)
	}
	return result, errno
}

// exitChild ends the child. In the child.
//
//go:norace
//go:nosplit
func exitChild() {
	for {
		kernel(unix.SYS_EXIT_GROUP, 127, 0, 0, 0, 0)
	}
}
