package launch

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childPlan is everything that the child needs, in the form in which the kernel takes it.
type childPlan struct {
	detached   bool
	calls      calls
	publishAt  int // index of the first call that comes after the PID file
	publishing publishingPlan
	closeFrom  uintptr // 0: none
	parent     uintptr // who must still be there for its death signal to come; 0: none is wanted
	targets    []target
	env        **byte
	ownPID     []*[pidDigits]byte // places in env that take the program's PID
	result     *result
	page       []byte // the memory behind result
}

// target is one file that execve is tried on.
type target struct {
	path         *byte
	argv, shArgv **byte // shArgv runs it by /bin/sh, see shellArgs
}

// result lives in a page that parent and child share.
type result struct {
	step  step // stepNone: all went well as far as the child could tell
	errno syscall.Errno
	index int   // of the call, or of the target, that errno is about
	pid   int32 // the program's
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

// newPlan has no call yet.
func newPlan(s *Spec) (*childPlan, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, s.failure("cannot be started: no shared page", err)
	}
	list := make([]call, 0, 96) // more than there ever are, but for many descriptors
	return &childPlan{calls: calls{list: list}, result: (*result)(unsafe.Pointer(&page[0])), page: page}, nil
}

// newChildPlan is the plan of a child.
func newChildPlan(s *Spec) (*childPlan, error) {
	p, err := newPlan(s)
	if err != nil {
		return nil, err
	}
	p.calls.addPlace(s, &p.result.pid)
	p.calls.addPrivileged(s)
	p.publishAt = len(p.calls.list)
	p.calls.addUser(s)
	p.calls.addClosed(s)
	for _, d := range s.Inherit {
		p.calls.addDescriptor(s, d)
	}
	if s.DeathSignal != 0 { // after the change of user, which clears it, PR_SET_PDEATHSIG(2const)
		p.calls.add(nil, unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(s.DeathSignal))
		p.parent = uintptr(os.Getpid())
	}
	p.calls.addSignals(s)
	p.detached, p.closeFrom = s.Detached, uintptr(s.CloseFrom)
	p.publishing = newPublishingPlan(s.Claim)
	p.setEnv(s.Env)
	for _, file := range s.Program.candidates {
		p.targets = append(p.targets, target{cString(file), &cStrings(s.Args)[0], &cStrings(shellArgs(file, s.Args))[0]})
	}
	return p, nil
}

func (p *childPlan) free() { _ = unix.Munmap(p.page) }

// explain says what the kernel has refused, and the remedy.
func (p *childPlan) explain(s *Spec) error {
	r := p.result
	switch r.step {
	case stepExec:
		return s.Program.execError(s.Program.candidates[r.index], r.errno, s.Context.User)
	case stepPublish:
		return publishError(s.Claim, r.errno)
	case stepDetach:
		return s.failure("cannot get a session of its own", r.errno)
	}
	failure := *p.calls.list[r.index].failure
	failure.Err = r.errno
	return &failure
}

// cString and cStrings copy into the kernel's form. What comes from execve(2) and the file system holds no
// NUL.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }

func cStrings(list []string) []*byte {
	pointers := make([]*byte, len(list)+1)
	for i, s := range list {
		pointers[i] = cString(s)
	}
	return pointers
}
