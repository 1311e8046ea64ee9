package wrapper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/pidfile"
)

// The launch. A PID is known only after the fork, and the PID file must be
// there before the program's first instruction: so something has to run in
// between, in the new process. Package syscall runs nothing of ours there. This
// file does what its forkExec does, and the publishing.
//
// The child of clone(CLONE_VFORK) without CLONE_VM is a copy of this process
// with one thread, the calling one, which the kernel suspends in the parent
// until the child has called execve or has ended. In the copy the Go runtime is
// dead: no other thread exists that could collect garbage, run goroutines or
// unlock what was locked at the moment of the fork. Hence the rules of the
// functions marked "in the child":
//
//   - nothing but raw system calls on memory that was prepared before: no
//     allocation, no defer, no interface, no map, no string conversion, no panic;
//   - go:nosplit, because the stack cannot grow; go:norace and go:noinline, so that
//     nothing is added to them;
//   - all signals blocked, until no handler of the Go runtime is left.
//
// What the child writes stays in its copy; the result comes back through a
// page that both share.

// launchPlan is everything that the child needs, in the form in which the kernel
// takes it.
type launchPlan struct {
	publish   bool
	pidFD     uintptr // writable descriptor of the hidden PID file
	pidTemp   *byte   // its name
	pidPath   *byte   // the name under which it is published
	pidText   [12]byte
	sameGroup bool
	deathSig  uintptr // 0: none
	parent    uintptr // who must still be there for deathSig to have a meaning
	nofile    *atstart.Rlimit
	ignored   atstart.SignalSet // by the program; all others have their default action
	blocked   atstart.SignalSet // by the program
	closed    [3]bool           // the descriptors 0 to 2 that the program has not got
	targets   []execTarget
	env       **byte
	result    *launchResult

	keep [][]byte // the memory behind the bytes above
}

// execTarget is one file that execve is tried on.
type execTarget struct {
	path *byte
	argv **byte
	// shArgv runs the file by /bin/sh, as execvp(3) does with a file that the
	// kernel does not recognise.
	shArgv **byte
}

// launchResult lives in the shared page. Step 0 means that all went well as far
// as the child could tell.
type launchResult struct {
	step  launchStep
	errno syscall.Errno
	// target is the index of the execTarget that errno is about.
	target uintptr
}

type launchStep uint32

const (
	stepNone launchStep = iota
	stepGroup
	stepWritePID
	stepPublish
	stepExec
)

// launch starts the program and returns its PID. With a claim the PID file is
// there when it returns. A *lostRaceError says that somebody else has published
// at the same path in the meantime; every other error is final.
//
// The calling goroutine must be locked to its thread for good: the parent-death
// signal comes when the thread ends that has forked, not the process,
// PR_SET_PDEATHSIG(2const).
func launch(cfg *Config, program *program, claim *pidfile.Claim, signals *Signals) (pid int, err error) {
	plan, err := newLaunchPlan(cfg, program, claim, signals)
	if err != nil {
		return 0, err
	}
	defer plan.free()
	if claim != nil {
		if err := claim.Clear(); err != nil {
			return 0, err
		}
	}
	// No descriptor that is still without close-on-exec may slip into the child.
	syscall.ForkLock.Lock()
	pid, errno := plan.fork()
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(plan)
	if errno != 0 {
		return 0, fmt.Errorf("cannot fork: %w", errno)
	}
	if plan.result.step == stepNone {
		return pid, nil
	}
	reapFailed(pid)
	return pid, plan.explain(program, claim)
}

// reapFailed waits for a child that did not become the program.
func reapFailed(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// errLostRace says that between the claim and the launch somebody else has
// published a PID file at the path.
var errLostRace = errors.New("another start was faster")

func (p *launchPlan) explain(program *program, claim *pidfile.Claim) error {
	r := p.result
	switch r.step {
	case stepWritePID, stepPublish:
		if r.errno == syscall.EEXIST {
			return errLostRace
		}
		e := &pidfile.Error{Path: claim.Path, Problem: "cannot be written", Err: r.errno}
		if r.errno == syscall.ENOSPC || r.errno == syscall.EDQUOT {
			e.Hint = "make room in " + filepath.Dir(claim.Path)
		}
		return e
	case stepExec:
		return program.execError(program.candidates[r.target], r.errno)
	}
	return fmt.Errorf("cannot make a process group for %s: %w", program.name, r.errno)
}

func newLaunchPlan(cfg *Config, program *program, claim *pidfile.Claim, signals *Signals) (*launchPlan, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("cannot map a shared page: %w", err)
	}
	p := &launchPlan{
		ignored:   signals.ignored,
		blocked:   signals.blocked,
		result:    (*launchResult)(unsafe.Pointer(&page[0])),
		keep:      [][]byte{page},
		sameGroup: cfg.SameGroup,
		deathSig:  uintptr(cfg.DeathSignal),
		parent:    uintptr(os.Getpid()),
		env:       cStrings(cfg.Env),
	}
	if limit, ok := atstart.Nofile(); ok {
		p.nofile = &limit
	}
	for fd := range p.closed {
		p.closed[fd] = atstart.Closed(fd)
	}
	if claim != nil {
		p.publish = true
		p.pidFD = uintptr(claim.Write)
		p.pidTemp, p.pidPath = cString(claim.Temp), cString(claim.Path)
	}
	for _, path := range program.candidates {
		p.targets = append(p.targets, execTarget{
			path:   cString(path),
			argv:   cStrings(cfg.Args),
			shArgv: cStrings(append([]string{shell, path}, cfg.Args[1:]...)),
		})
	}
	return p, nil
}

func (p *launchPlan) free() { _ = unix.Munmap(p.keep[0]) }

// cString and cStrings copy into the kernel's form. The arguments come from
// execve(2) and the file system and hold no NUL; a path that does was refused
// when the command line was read.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }

func cStrings(list []string) **byte {
	pointers := make([]*byte, len(list)+1)
	for i, s := range list {
		pointers[i] = cString(s)
	}
	return &pointers[0]
}

// fork clones and, in the parent, returns when the child has become the program
// or has failed.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) fork() (pid int, errno syscall.Errno) {
	all, saved := ^atstart.SignalSet(0), atstart.SignalSet(0)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&saved)), 8, 0, 0)
	// Flags come first on every architecture that this file is built for.
	r, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && r == 0 {
		p.inChild()
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&saved)), 0, 8, 0, 0)
	return int(r), errno
}

// inChild becomes the program, or reports why not and ends. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) inChild() {
	if !p.sameGroup {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_SETPGID, 0, 0, 0, 0, 0, 0); errno != 0 {
			p.giveUp(stepGroup, errno)
		}
	}
	if p.nofile != nil {
		// Fails only if somebody has lowered the hard limit since.
		syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(p.nofile)), 0, 0, 0)
	}
	if p.publish {
		p.publishPID()
	}
	// If the parent ended before the setting, no signal comes: look once more.
	if p.deathSig != 0 {
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, p.deathSig, 0, 0, 0, 0)
		if ppid, _, _ := syscall.RawSyscall6(unix.SYS_GETPPID, 0, 0, 0, 0, 0, 0); ppid != p.parent {
			syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 1, 0, 0, 0, 0, 0)
		}
	}
	for fd := uintptr(0); fd < 3; fd++ {
		if p.closed[fd] {
			syscall.RawSyscall6(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
		}
	}
	p.resetSignals()
	p.exec()
}

// publishPID writes the PID and moves the file into place. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) publishPID() {
	pid, _, _ := syscall.RawSyscall6(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	i := len(p.pidText) - 1
	p.pidText[i] = '\n'
	for ; pid > 0 && i > 0; pid /= 10 {
		i--
		p.pidText[i] = '0' + byte(pid%10)
	}
	length := uintptr(len(p.pidText) - i)
	n, _, errno := syscall.RawSyscall6(unix.SYS_WRITE, p.pidFD, uintptr(unsafe.Pointer(&p.pidText[i])), length, 0, 0, 0)
	if errno == 0 && n != length {
		errno = syscall.ENOSPC // write(2): fewer bytes, because there was no more room
	}
	if errno != 0 {
		p.giveUp(stepWritePID, errno)
	}
	if errno := p.movePIDFile(); errno != 0 {
		p.giveUp(stepPublish, errno)
	}
}

// movePIDFile never replaces a file. Where renameat2(2) cannot promise that (NFS,
// many file systems in user space) link(2) can. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) movePIDFile() syscall.Errno {
	at := cwd
	from, to := uintptr(unsafe.Pointer(p.pidTemp)), uintptr(unsafe.Pointer(p.pidPath))
	_, _, errno := syscall.RawSyscall6(unix.SYS_RENAMEAT2, at, from, at, to, unix.RENAME_NOREPLACE, 0)
	if errno != syscall.EINVAL && errno != syscall.ENOSYS {
		return errno
	}
	_, _, errno = syscall.RawSyscall6(unix.SYS_LINKAT, at, from, at, to, 0, 0)
	if errno == 0 {
		syscall.RawSyscall6(unix.SYS_UNLINKAT, at, from, 0, 0, 0, 0)
	}
	return errno
}

// cwd is AT_FDCWD, as a register holds it.
const cwd = ^uintptr(99)

// resetSignals gives the program its dispositions and its mask: the handlers of
// the Go runtime go first, and only then may signals come. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) resetSignals() {
	for sig := uintptr(1); sig <= 64; sig++ {
		var act sigaction
		if p.ignored&(1<<(sig-1)) != 0 {
			act[0] = sigIgn
		}
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&p.blocked)), 0, 8, 0, 0)
}

// exec tries the candidates in the order of PATH. As in execvp(3), one that may
// not be executed is remembered while the search goes on. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) exec() {
	sh := [...]byte{'/', 'b', 'i', 'n', '/', 's', 'h', 0}
	env := uintptr(unsafe.Pointer(p.env))
	for i := range p.targets {
		t := &p.targets[i]
		_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVE, uintptr(unsafe.Pointer(t.path)), uintptr(unsafe.Pointer(t.argv)), env, 0, 0, 0)
		if errno == syscall.ENOEXEC {
			_, _, errno = syscall.RawSyscall6(unix.SYS_EXECVE, uintptr(unsafe.Pointer(&sh)), uintptr(unsafe.Pointer(t.shArgv)), env, 0, 0, 0)
		}
		if p.result.errno != syscall.EACCES {
			p.result.errno, p.result.target = errno, uintptr(i)
		}
		switch errno {
		case syscall.EACCES, syscall.ENOENT, syscall.ESTALE, syscall.ENOTDIR, syscall.ENODEV, syscall.ETIMEDOUT:
			continue
		}
		p.result.errno, p.result.target = errno, uintptr(i)
		break
	}
	p.giveUp(stepExec, p.result.errno)
}

// giveUp ends the child. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) giveUp(step launchStep, errno syscall.Errno) {
	p.result.step, p.result.errno = step, errno
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 127, 0, 0, 0, 0, 0)
	}
}
