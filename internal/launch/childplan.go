package launch

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/plan"
)

// childPlan is everything that the child needs, in the form in which the kernel takes it.
type childPlan struct {
	Spec
	calls      []call // made in this order
	kept       []any  // what they point to: the garbage collector does not see it in a number
	publishAt  int    // index of the first call that comes after the PID file
	temp       *byte  // the hidden file's name
	path       *byte  // the name under which it is published
	absentLock *byte  // what must not be there then; nil: no matter
	times      [2]unix.Timespec
	parent     uintptr // who must still be there for its death signal to come; 0: none is wanted
	targets    []target
	env        **byte
	ownPID     []*[pidDigits]byte // places in env that take the program's PID
	result     *result            // shared with the child
	free       func()             // frees result
}

// target is one file that execve is tried on.
type target struct {
	path         *byte
	argv, shArgv **byte // shArgv runs it by /bin/sh, as execvp(3) does with what the kernel does not recognise
}

// result is what the child tells its parent.
type result struct {
	step  step // stepNone: all went well as far as the child could tell
	errno syscall.Errno
	index int      // of the call, or of the target, that errno is about
	pid   int32    // the program's
	head  [80]byte // of a file that is no program
}

// step is what a child may fail at.
type step uint32

const (
	stepNone step = iota
	stepDetach
	stepCall
	stepPublish
	stepExec
)

func newChildPlan(s *Spec) (*childPlan, error) {
	shared, free, err := newResult()
	if err != nil {
		return nil, s.failure("cannot be started: no shared page", err)
	}
	p := &childPlan{Spec: *s, result: shared, free: free}
	if p.Context == nil {
		p.Context = &plan.Context{}
	}
	if p.Files == nil {
		p.Files, _ = Open(&plan.Context{})
	}
	p.calls = make([]call, 0, 96) // more than there ever are, but for many descriptors
	p.addPlace()
	p.addPrivileged()
	p.publishAt = len(p.calls)
	p.addUser()
	p.addDescriptors()
	if p.DeathSignal != 0 { // after the change of user, which clears it, PR_SET_PDEATHSIG(2const)
		p.add(nil, unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(p.DeathSignal))
		p.parent = uintptr(os.Getpid())
	}
	p.addSignals()
	if p.Claim != nil {
		p.temp, p.path, p.times = cString(p.Claim.Temp), cString(p.Claim.Path), p.Claim.Stamp()
		if p.Claim.AbsentLock != "" {
			p.absentLock = cString(p.Claim.AbsentLock)
		}
	}
	p.setEnv()
	argv := cStrings(p.Args)
	for _, file := range p.Program.candidates {
		path := cString(file)
		shArgv := append([]*byte{cString(shell), path}, argv[1:]...)
		p.targets = append(p.targets, target{path, &argv[0], &shArgv[0]})
	}
	return p, nil
}

// ownPIDVariables tell a process that a message of the service manager is for it: the sockets that it was given,
// the watchdog, the invocation; sd_listen_fds(3), sd_watchdog_enabled(3), systemd.exec(5). If they do not name
// the program, its libraries ignore the rest.
var ownPIDVariables = [...]string{"LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"}

// setEnv has room for the program's PID where a variable names this process.
func (p *childPlan) setEnv() {
	self := strconv.Itoa(os.Getpid())
	ownSockets := slices.Contains(p.Env, "LISTEN_PID="+self)
	var list []*byte
	for _, entry := range p.Env {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case name == "LISTEN_PIDFDID" && ownSockets:
			// Since systemd 258 it says by the inode of a pidfd what LISTEN_PID says. It may be missing.
		case value == self && slices.Contains(ownPIDVariables[:], name):
			text := append([]byte(name+"="), make([]byte, pidDigits)...)
			p.ownPID = append(p.ownPID, (*[pidDigits]byte)(text[len(name)+1:]))
			list = append(list, &text[0])
		default:
			list = append(list, cString(entry))
		}
	}
	p.env = &append(list, nil)[0]
}

// explain says what the kernel has refused, and the remedy.
func (p *childPlan) explain() error {
	r := p.result
	switch r.step {
	case stepExec:
		return p.Program.execError(p.Program.candidates[r.index], r.errno, p.Context.User)
	case stepPublish:
		return p.Claim.PublishError(r.errno)
	case stepDetach:
		return p.failure("cannot get a session of its own", r.errno)
	}
	failure := *p.calls[r.index].failure
	failure.Err = r.errno
	return &failure
}

// cString and cStrings copy into the kernel's form. What comes from execve(2) and the file system holds no NUL.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }

func cStrings(list []string) (pointers []*byte) {
	for _, s := range list {
		pointers = append(pointers, cString(s))
	}
	return append(pointers, nil)
}
