package faults

import (
	"bufio"
	"debug/elf"
	"debug/gosym"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// injection is what fails: one call at its place in the program, once, or all calls of these numbers.
type injection struct {
	calls []int
	at    string // "PART:SITE" of inject.c; empty: all of them
	errno syscall.Errno
}

// traced is a pidleash under inject.c.
type traced struct {
	cmd   *exec.Cmd
	ended chan struct{}      // closed when pidleash has ended
	over  chan struct{}      // closed when all that is traced has
	state syscall.WaitStatus // of pidleash, after ended
	hits  int                // calls that have failed, after over
	calls []string           // lines of a trace, after over
}

// startTraced starts pidleash with a mark; a zero injection only traces.
func startTraced(in injection, mark bed.Mark, environ []string, program string, stderr, stdout *os.File, words ...string) (*traced, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	r := &traced{ended: make(chan struct{}), over: make(chan struct{})}
	r.cmd = exec.Command(program, append([]string{string(mark), bed.Pidleash}, words...)...)
	var numbers string
	for _, n := range in.calls {
		numbers += fmt.Sprintf(",%d,", n)
	}
	r.cmd.Env = append(slices.Clone(environ), "INJECT_CALLS="+numbers, "INJECT_AT="+in.at,
		fmt.Sprintf("INJECT_ERRNO=%d", int(in.errno)), "INJECT_SPARE="+symbols().runtime)
	r.cmd.ExtraFiles, r.cmd.Stderr, r.cmd.Stdout = []*os.File{write}, stderr, stdout
	err = r.cmd.Start()
	write.Close()
	if err != nil {
		read.Close()
		return nil, err
	}
	go r.listen(read)
	return r, nil
}

func (r *traced) listen(read *os.File) {
	defer close(r.over)
	defer read.Close()
	lines := bufio.NewScanner(read)
	for lines.Scan() {
		switch word, rest, _ := strings.Cut(lines.Text(), " "); word {
		case "call":
			r.calls = append(r.calls, rest)
		case "hit":
			r.hits++
		case "end":
			n, _ := strconv.Atoi(rest)
			r.state = syscall.WaitStatus(n)
			close(r.ended)
		}
	}
	_ = r.cmd.Wait()
	select {
	case <-r.ended:
	default:
		r.state = 0x7f00 // the tracer was killed
		close(r.ended)
	}
}

// site is where a call is made.
type site struct {
	part   string // of inject.c
	id     string
	number int
	frames []string // the functions, the innermost first
}

func (s site) at() string { return s.part + ":" + s.id }

// maker is the function that wanted the call: none of those that only pass it on to the kernel.
func (s site) maker() string {
	for _, f := range s.frames {
		if !passesOn(f) {
			return f
		}
	}
	return "?"
}

func passesOn(function string) bool {
	return function == "?" || function == "runtime.fcntl" || function == "runtime.netpollopen" ||
		slices.ContainsFunc(wrappers, func(prefix string) bool { return strings.HasPrefix(function, prefix) })
}

var wrappers = []string{"internal/runtime/syscall/", "syscall.", "golang.org/x/sys/unix.",
	"internal/syscall/unix.", "pidleash/internal/sys."}

// chain is for people: the functions of pidleash on the way to the call.
func (s site) chain() string {
	var names []string
	for _, f := range s.frames {
		if !passesOn(f) && !strings.HasPrefix(f, "runtime.goexit") && len(names) < 6 {
			names = append(names, strings.TrimPrefix(strings.TrimPrefix(f, "pidleash/internal/"), "pidleash/"))
		}
	}
	return s.part + " " + strings.Join(names, " < ")
}

// sites are the different ones of a trace, in the order of their first call.
func sites(calls []string) (list []site) {
	seen := map[string]bool{}
	for _, line := range calls {
		words := strings.Fields(line)
		n, _ := strconv.Atoi(words[1])
		s := site{part: words[0], number: n, id: words[2]}
		if key := words[1] + s.at(); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		for _, word := range words[3:] {
			pc, _ := strconv.ParseUint(word, 16, 64)
			name := "?"
			if f := symbols().table.PCToFunc(pc); f != nil {
				name = f.Name
			}
			s.frames = append(s.frames, name)
		}
		list = append(list, s)
	}
	return list
}

// functions are those of the binary: its line table is there, although it is stripped.
type functions struct {
	table   *gosym.Table
	runtime string // the range of what the runtime calls the kernel with
}

var symbols = sync.OnceValue(func() functions {
	file, err := elf.Open(bed.Pidleash)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	data, err := file.Section(".gopclntab").Data()
	if err != nil {
		panic(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, file.Section(".text").Addr))
	if err != nil {
		panic(err)
	}
	low, high := ^uint64(0), uint64(0)
	for _, f := range table.Funcs {
		if name, _, _ := table.PCToLine(f.Entry); strings.HasSuffix(name, "runtime/sys_linux_amd64.s") {
			low, high = min(low, f.Entry), max(high, f.End)
		}
	}
	return functions{table, fmt.Sprintf("%x-%x", low, high)}
})

// spared are the calls that are left alone where Go's runtime makes them for itself, and what for.
var spared = []struct {
	name   string
	number int
	why    string
}{
	{"arch_prctl", unix.SYS_ARCH_PRCTL, "the register that each thread finds its data by; the kernel refuses it to nobody"},
	{"clone", unix.SYS_CLONE, "a thread; those that PROGRAM's end will need are made before PROGRAM is, or the start is refused"},
	{"close", unix.SYS_CLOSE, "what it has read at its start"},
	{"epoll_create1", unix.SYS_EPOLL_CREATE1, "its poller; pidleash has tried the same just before, and was not refused"},
	{"epoll_ctl", unix.SYS_EPOLL_CTL, "its poller, likewise"},
	{"epoll_pwait", unix.SYS_EPOLL_PWAIT, "its poller waits; any error but EINTR ends the process"},
	{"eventfd2", unix.SYS_EVENTFD2, "its poller, likewise"},
	{"exit", unix.SYS_EXIT, "the end of a thread, which has no answer"},
	{"exit_group", unix.SYS_EXIT_GROUP, "the end, which has no answer"},
	{"fcntl", unix.SYS_FCNTL, "whether 0 to 2 are open, before anything else; any error but EBADF ends the process"},
	{"futex", unix.SYS_FUTEX, "how its threads wait; any error but EAGAIN and EINTR ends the process"},
	{"madvise", unix.SYS_MADVISE, "advice about its memory; it does not look at the answer"},
	{"mmap", unix.SYS_MMAP, "its memory, without which no program goes on"},
	{"munmap", unix.SYS_MUNMAP, "the same"},
	{"nanosleep", unix.SYS_NANOSLEEP, "a pause of its scheduler; it does not look at the answer"},
	{"openat", unix.SYS_OPENAT, "the size of huge pages, at its start; it goes on without"},
	{"read", unix.SYS_READ, "the same, and what has woken its poller"},
	{"restart_syscall", unix.SYS_RESTART_SYSCALL, "a pause that goes on after a signal"},
	{"rt_sigaction", unix.SYS_RT_SIGACTION, "its handlers; the kernel refuses it to nobody"},
	{"rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, "the mask of a thread; likewise"},
	{"rt_sigreturn", unix.SYS_RT_SIGRETURN, "the end of a handler, which has no answer"},
	{"sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, "how many processors there are; it takes one"},
	{"sched_yield", unix.SYS_SCHED_YIELD, "a pause of its scheduler; it cannot fail"},
	{"sigaltstack", unix.SYS_SIGALTSTACK, "the stack of its handlers; the kernel refuses it to nobody"},
	{"tgkill", unix.SYS_TGKILL, "it interrupts its own threads; it does not look at the answer"},
	{"timer_create", unix.SYS_TIMER_CREATE, "a profiler that does not run"},
	{"write", unix.SYS_WRITE, "it wakes its poller, by a descriptor of its own"},
}

// neverFail have no errors, by their man pages.
var neverFail = []int{unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETPPID, unix.SYS_GETUID, unix.SYS_GETEUID,
	unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETPGRP, unix.SYS_UMASK, unix.SYS_EXIT_GROUP, unix.SYS_EXIT}

// neverInterrupted are those of which the man pages have no EINTR, and whose answer nobody looks at: what they do is
// only done if the kernel can, and the kernel always can.
var neverInterrupted = []int{unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_EPOLL_PWAIT}

// isSpared: there is nothing to be seen of a failure that cannot be, or that Go cannot live with.
func (s site) isSpared() bool {
	if slices.Contains(neverFail, s.number) {
		return true
	}
	return s.isRuntimes() && s.isListed()
}

func (s site) isListed() bool {
	for _, c := range spared {
		if c.number == s.number {
			return true
		}
	}
	return false
}

// isOutOfReach: inject.c leaves all calls alone that are made there.
func (s site) isOutOfReach() bool {
	return strings.HasPrefix(s.frames[0], "runtime.") && s.frames[0] != "runtime.fcntl"
}

// isRuntimes: what it asks for itself, in its own assembly or by package cgroup, is not for pidleash.
func (s site) isRuntimes() bool {
	return s.isOutOfReach() || strings.HasPrefix(s.maker(), "runtime.")
}

// trace runs pidleash to its end in a mode, and has the places of its calls.
func (m *injectMode) trace(t *testing.T, times int) []site {
	t.Helper()
	list := map[string]site{}
	var order []string
	for range times { // the scheduler decides who makes some of them
		a := m.attempt(injection{})
		if a.fault != "" {
			t.Errorf("%s, without any error: %s: %s, %q", m.name, a.fault, a.code, a.text)
			return nil
		}
		for _, s := range sites(a.calls) {
			if s.isOutOfReach() && !s.isSpared() {
				t.Errorf("%s: call %d of Go's runtime is not in the table of what is left alone: %s", m.name, s.number, s.chain())
			}
			key := fmt.Sprint(s.number, s.at())
			if _, known := list[key]; !known && !s.isSpared() {
				list[key] = s
				order = append(order, key)
			}
		}
		m.usual = a.code
	}
	var all []site
	for _, key := range order {
		all = append(all, list[key])
	}
	return all
}
