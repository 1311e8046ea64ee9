package wrapper

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
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
// The child of clone(CLONE_VFORK) has one thread, the calling one, which the
// kernel suspends in the parent until the child has called execve or has ended.
// For the child the Go runtime is dead: no thread of it collects garbage, runs
// goroutines or unlocks what was locked at the moment of the fork. On amd64 it
// shares the parent's memory, stack included, elsewhere it has a copy. Hence the
// rules of the functions marked "in the child":
//
//   - nothing but raw system calls on memory that was prepared before: no
//     allocation, no defer, no interface, no map, no string conversion, no panic;
//   - nothing is written but the plan and the stack below fork's frame;
//   - go:nosplit, because the stack cannot grow; go:norace and go:noinline, so that
//     nothing is added to them;
//   - all signals blocked, until no handler of the Go runtime is left.
//
// The result comes back through a page that both share in either case.

// launchPlan is everything that the child needs, in the form in which the kernel
// takes it.
type launchPlan struct {
	publish   bool
	pidFD     uintptr // writable descriptor of the hidden PID file
	pidTemp   *byte   // its name
	pidPath   *byte   // the name under which it is published
	pidTimes  [2]unix.Timespec
	successor bool // in exchange for the file there
	sameGroup bool
	terminal  uintptr // descriptor of the terminal to take, if takeTTY
	takeTTY   bool
	detached  bool         // in a session of its own, and not as our child
	inherit   []descriptor // what the program gets under which number
	closeFrom uintptr      // close all descriptors from this number on; 0: none
	around    surroundingsPlan
	deathSig  uintptr // 0: none
	parent    uintptr // who must still be there for deathSig to have a meaning
	nofile    *atstart.Rlimit
	ignored   atstart.SignalSet // by the program; all others have their default action
	blocked   atstart.SignalSet // by the program
	closed    [3]bool           // the descriptors 0 to 2 that the program has not got
	targets   []execTarget
	env       **byte
	ownPID    []*[pidDigits]byte // places in env that take the program's PID
	result    *launchResult
	page      []byte // the memory behind result
}

// pidDigits is the room for a PID and a NUL: PIDs are below 2^22, proc(5).
const pidDigits = 12

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
	pid   uintptr // the program's
	// target is the index of the execTarget that errno is about.
	target uintptr
}

type launchStep uint32

const (
	stepNone launchStep = iota
	stepDetach
	stepGroup
	stepDescriptors
	stepNice
	stepOOMScoreAdj
	stepWritePID
	stepPublish
	stepGroups
	stepUser
	stepDir
	stepExec
)

// launchSpec is what to start. The zero value of a field is "none" or "as
// pidleash".
type launchSpec struct {
	program     *program
	args, env   []string
	claim       *pidfile.Claim
	signals     *Signals
	sameGroup   bool
	terminal    *terminal // to take from pidleash
	deathSignal syscall.Signal
	around      *surroundings
	// detached starts it in a session of its own, as a child of whoever adopts
	// orphans here.
	detached bool
	// inPlace makes this process the program.
	inPlace bool
	// inherit has the descriptors that it gets beside those without close-on-exec.
	inherit []descriptor
	// takeBack is called with the PID of a child that has failed while nobody else can
	// have it. nil: there is nothing to do.
	takeBack func(pid int)
	// closeFrom closes all descriptors from this number on.
	closeFrom int
}

// descriptor becomes number to.
type descriptor struct{ fd, to uintptr }

// launch starts the program and returns its PID. With a claim the PID file is
// there when it returns. pidfile.ErrLostRace says that somebody else has published
// at the same path in the meantime; every other error is final.
//
// The parent-death signal comes when the thread ends that has forked, not the
// process, PR_SET_PDEATHSIG(2const). The runtime ends a thread only with a
// goroutine that is locked to it: the caller locks itself and never ends.
func launch(spec launchSpec) (pid int, err error) {
	plan, err := newLaunchPlan(&spec)
	if err != nil {
		return 0, err
	}
	defer plan.free()
	if spec.claim != nil {
		if err := spec.claim.Clear(); err != nil {
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
	if spec.detached {
		reapFailed(pid) // it has only made the session
		pid = int(plan.result.pid)
	}
	if plan.result.step == stepNone {
		return pid, nil
	}
	if pid != 0 { // a detached child may have failed before it was there
		if spec.takeBack != nil {
			spec.takeBack(pid)
		}
		reapFailed(pid)
	}
	return pid, plan.explain(&spec)
}

// reapFailed waits for a child that did not become the program.
func reapFailed(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

func (p *launchPlan) explain(spec *launchSpec) error {
	r, program, claim := p.result, spec.program, spec.claim
	switch r.step {
	case stepWritePID, stepPublish:
		switch {
		case r.errno == syscall.EEXIST:
			return pidfile.ErrLostRace
		case r.errno == syscall.ENOENT && claim.Successor:
			return pidfile.ErrRemoved
		}
		return pidfile.WriteError(claim.Path, r.errno)
	case stepExec:
		return program.execError(program.candidates[r.target], r.errno)
	case stepDetach:
		return fmt.Errorf("cannot make a session for %s: %w", program.name, r.errno)
	case stepGroup:
		return fmt.Errorf("cannot make a process group for %s: %w", program.name, r.errno)
	case stepDescriptors:
		return fmt.Errorf("cannot place the descriptors of %s: %w", program.name, r.errno)
	}
	return spec.around.explain(r.step, r.errno)
}

func newLaunchPlan(spec *launchSpec) (*launchPlan, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("cannot map a shared page: %w", err)
	}
	p := &launchPlan{
		ignored:   spec.signals.ignored,
		blocked:   spec.signals.blocked,
		result:    (*launchResult)(unsafe.Pointer(&page[0])),
		page:      page,
		sameGroup: spec.sameGroup,
		deathSig:  uintptr(spec.deathSignal),
		parent:    uintptr(os.Getpid()),
		detached:  spec.detached,
		inherit:   slices.Clone(spec.inherit),
		closeFrom: uintptr(spec.closeFrom),
		around:    spec.around.plan(),
	}
	p.setEnv(spec.env, spec.inPlace)
	if limit, ok := atstart.Nofile(); ok {
		p.nofile = &limit
	}
	for fd := range p.closed {
		p.closed[fd] = atstart.Closed(fd) && p.around.stdio[fd] == asIs
	}
	if spec.claim != nil {
		p.publish, p.successor = true, spec.claim.Successor
		p.pidFD = uintptr(spec.claim.Write)
		p.pidTemp, p.pidPath = cString(spec.claim.Temp), cString(spec.claim.Path)
		p.pidTimes = spec.claim.Stamp()
	}
	if spec.terminal != nil {
		p.takeTTY, p.terminal = true, uintptr(spec.terminal.fd)
	}
	for _, path := range spec.program.candidates {
		p.targets = append(p.targets, execTarget{
			path:   cString(path),
			argv:   cStrings(spec.args),
			shArgv: cStrings(append([]string{shell, path}, spec.args[1:]...)),
		})
	}
	return p, nil
}

// ownPIDVariables tell a process that a message of the service manager is for it:
// the sockets it was given, the watchdog, the invocation; sd_listen_fds(3),
// sd_watchdog_enabled(3), systemd.exec(5). They name pidleash and must name the
// program, or its libraries ignore the rest.
var ownPIDVariables = [...]string{"LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"}

// setEnv makes room for the program's PID where a variable names pidleash's.
func (p *launchPlan) setEnv(env []string, inPlace bool) {
	self := strconv.Itoa(os.Getpid())
	othersSockets := !inPlace && slices.Contains(env, "LISTEN_PID="+self)
	var pointers []*byte
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case slices.Contains(ownPIDVariables[:], name) && value == self:
			room := append([]byte(name+"="), make([]byte, pidDigits)...)
			pointers = append(pointers, &room[0])
			p.ownPID = append(p.ownPID, (*[pidDigits]byte)(room[len(name)+1:]))
		case name == "LISTEN_PIDFDID" && othersSockets:
			// Since systemd 258 it says by the inode of a pidfd what LISTEN_PID
			// says, and refuses as that does. It may be missing.
		default:
			pointers = append(pointers, cString(entry))
		}
	}
	pointers = append(pointers, nil)
	p.env = &pointers[0]
}

func (p *launchPlan) free() { _ = unix.Munmap(p.page) }

// cString and cStrings copy into the kernel's form. The arguments come from
// execve(2) and the file system and hold no NUL.
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
	child, failure := vfork(vforkFlags)
	if child == 0 && failure == 0 {
		p.inChild()
		exitChild()
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&saved)), 0, 8, 0, 0)
	return int(child), syscall.Errno(failure)
}

// inChild becomes the program, or returns when result says why not. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) inChild() {
	if p.detached && !p.detach() {
		return
	}
	pid, _, _ := syscall.RawSyscall6(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	p.result.pid = pid
	if !p.sameGroup {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_SETPGID, 0, 0, 0, 0, 0, 0); errno != 0 {
			p.giveUp(stepGroup, errno)
			return
		}
	}
	if p.nofile != nil {
		// Fails only if somebody has lowered the hard limit since.
		syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(p.nofile)), 0, 0, 0)
	}
	if p.takeTTY {
		// SIGTTOU is blocked. It fails when the terminal is gone: so be it.
		group := int32(pid)
		syscall.RawSyscall6(unix.SYS_IOCTL, p.terminal, unix.TIOCSPGRP, uintptr(unsafe.Pointer(&group)), 0, 0, 0)
	}
	for i := range p.ownPID {
		spell(p.ownPID[i], pid, 0)
	}
	if !p.arrange() || p.publish && !p.publishPID(pid) || !p.changeUser() || !p.passDescriptors() {
		return
	}
	// After the change of user, which clears it, PR_SET_PDEATHSIG(2const). If the
	// parent ended before the setting, no signal comes: look once more.
	if p.deathSig != 0 {
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, p.deathSig, 0, 0, 0, 0)
		if ppid, _, _ := syscall.RawSyscall6(unix.SYS_GETPPID, 0, 0, 0, 0, 0, 0); ppid != p.parent {
			exitChild()
		}
	}
	p.resetSignals()
	p.exec()
}

// detach makes a session of its own and goes on in a child, which is not the
// session's leader: it can never get a controlling terminal, daemon(7). That child
// has lost its parent by then. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) detach() bool {
	if _, _, errno := syscall.RawSyscall6(unix.SYS_SETSID, 0, 0, 0, 0, 0, 0); errno != 0 {
		p.giveUp(stepDetach, errno)
		return false
	}
	child, failure := vfork(vforkFlags)
	switch {
	case failure != 0:
		p.giveUp(stepDetach, syscall.Errno(failure))
		return false
	case child != 0:
		exitChild()
	}
	return true
}

// passDescriptors leaves the program those that it is to have. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) passDescriptors() bool {
	for fd := uintptr(0); fd < 3; fd++ {
		if p.closed[fd] {
			syscall.RawSyscall6(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
		}
	}
	for i := range p.inherit {
		if !p.place(p.inherit[i]) {
			return false
		}
	}
	if p.closeFrom != 0 {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, p.closeFrom, ^uintptr(0)>>32, 0, 0, 0, 0); errno != 0 {
			for fd := p.closeFrom; fd < 1<<16; fd++ { // before Linux 5.9
				syscall.RawSyscall6(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
			}
		}
	}
	return true
}

// place gives a descriptor its number, for the program to have. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) place(d descriptor) bool {
	var errno syscall.Errno
	if d.fd == d.to {
		_, _, errno = syscall.RawSyscall6(unix.SYS_FCNTL, d.fd, unix.F_SETFD, 0, 0, 0, 0)
	} else {
		_, _, errno = syscall.RawSyscall6(unix.SYS_DUP3, d.fd, d.to, 0, 0, 0, 0)
	}
	if errno != 0 {
		p.giveUp(stepDescriptors, errno)
	}
	return errno == 0
}

// spell writes the decimal digits of a PID, and the byte after them, and returns
// their number. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func spell(to *[pidDigits]byte, pid uintptr, after byte) uintptr {
	digits := 1
	for rest := pid; rest >= 10; rest /= 10 {
		digits++
	}
	to[digits%pidDigits] = after
	for i := digits - 1; i >= 0; i-- {
		to[i%pidDigits] = '0' + byte(pid%10)
		pid /= 10
	}
	return uintptr(digits)
}

// publishPID writes the PID and moves the file into place. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) publishPID(pid uintptr) bool {
	var text [pidDigits]byte
	length := spell(&text, pid, '\n') + 1
	n, _, errno := syscall.RawSyscall6(unix.SYS_WRITE, p.pidFD, uintptr(unsafe.Pointer(&text)), length, 0, 0, 0)
	if errno == 0 && n != length {
		errno = syscall.ENOSPC // write(2): fewer bytes, because there was no more room
	}
	if errno != 0 {
		p.giveUp(stepWritePID, errno)
		return false
	}
	// Where it fails the program is taken to have written the file.
	syscall.RawSyscall6(unix.SYS_UTIMENSAT, p.pidFD, 0, uintptr(unsafe.Pointer(&p.pidTimes)), 0, 0, 0)
	if errno := p.movePIDFile(); errno != 0 {
		p.giveUp(stepPublish, errno)
		return false
	}
	return true
}

// movePIDFile never replaces another's file. Where renameat2(2) cannot promise that
// (NFS, many file systems in user space) link(2) can; one of our own is replaced by
// rename(2) there, which is one step, too. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) movePIDFile() syscall.Errno {
	at := cwd
	from, to := uintptr(unsafe.Pointer(p.pidTemp)), uintptr(unsafe.Pointer(p.pidPath))
	flags := uintptr(unix.RENAME_NOREPLACE)
	if p.successor {
		flags = unix.RENAME_EXCHANGE
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_RENAMEAT2, at, from, at, to, flags, 0)
	if errno != syscall.EINVAL && errno != syscall.ENOSYS {
		return errno
	}
	if p.successor {
		_, _, errno = syscall.RawSyscall6(unix.SYS_RENAMEAT2, at, from, at, to, 0, 0)
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

// giveUp notes why the child does not become the program. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func (p *launchPlan) giveUp(step launchStep, errno syscall.Errno) {
	p.result.step, p.result.errno = step, errno
}

// exitChild ends the child. In the child.
//
//go:noinline
//go:norace
//go:nosplit
func exitChild() {
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 127, 0, 0, 0, 0, 0)
	}
}
