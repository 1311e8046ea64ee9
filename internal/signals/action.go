package signals

import (
	"bytes"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/sys"
)

// Default lets signals do to this process what they do to any other. The calling goroutine must live as long as the
// process; a signal may arrive on its thread.
func Default() {
	ignored, blocked := atStart()
	runtime.LockOSThread()
	restoreActions(ignored)
	setMask(unix.SIG_SETMASK, blocked)
}

// restoreActions sets those of the start, but for what the Go runtime needs.
func restoreActions(ignored atstart.SignalSet) {
	free := ^(uncatchable | faults | setOf(syscall.SIGPIPE, syscall.SIGCHLD, syscall.SIGURG))
	setActions(free&ignored, ignore)
	setActions(free&^ignored, byDefault)
}

// Outlive ignores what is meant for the program or for everybody in the unit: the keeper removes the file when the
// program has ended, not before.
func Outlive() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGXCPU, syscall.SIGSYS, syscall.SIGTRAP)
}

// Release ends the collecting, for a process that is about to become the program. From its beginning on, no signal is
// lost: one that ends a process by default ends this one, or is the result (0: there was none). One that was blocked
// at start waits for the program, unless Go never blocks it. Only the kernel can lose one that writes a core, QUIT
// first of all, in execve(2), when another thread has taken it: do_group_exit in kernel/exit.c.
//
// Afterwards every such signal has its default action, unless it was ignored at start, and so have those that stop a
// process; PIPE and the processor's faults stay with Go until execve(2). The goroutine stays locked to its thread,
// which has the mask of the start.
func (s *Source) Release() (end syscall.Signal) {
	runtime.LockOSThread()
	// Before os/signal stops, whose handlers would then swallow USR1 and print the goroutines on QUIT.
	restoreActions(s.ignored)
	awaitHandlers()  // while os/signal still wants what they have got
	signal.Stop(s.c) // delivers what handlers have left, then nothing more
	var got []syscall.Signal
	for stopped := false; !stopped || len(s.c) > 0; {
		select {
		case s.taking <- struct{}{}: // for good: what is not in c stays in the kernel
			stopped = true
		case sig := <-s.c: // read may wait for room
			got = append(got, s.Read(sig).Signal)
		}
	}
	// All other threads block these signals if anything had been blocked.
	setMask(unix.SIG_SETMASK, s.blocked)
	for _, sig := range got {
		switch {
		case has(harmless|s.ignored, sig):
		case has(s.blocked&s.inThreads, sig):
			_ = sys.Kill(os.Getpid(), sig) // it waits again
		case end == 0:
			end = sig
		}
	}
	return end
}

// awaitHandlers returns when no other thread is about to run a handler that was in place until now: the kernel has
// taken the signal from the queue for it, and execve would end it before its turn. Such a thread is runnable, or
// waits for a page; one that was seen asleep has none to run.
func awaitHandlers() {
	until := time.Now().Add(100 * time.Millisecond) // threads may be busy with something else
	for time.Now().Before(until) {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil || !slices.ContainsFunc(tasks, isBusy) {
			return
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// isBusy reports a thread, other than the calling one, that is not asleep.
func isBusy(task os.DirEntry) bool {
	stat, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/stat")
	_, state, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" ")) // after the name, proc_pid_stat(5)
	return ok && task.Name() != strconv.Itoa(unix.Gettid()) && bytes.ContainsAny(state[:1], "RD")
}

// StopSelf stops this process, or with pid 0 its whole process group, as the terminal would have: a script or the
// other commands of a pipeline may be in it. It returns when this process is continued, and does not collect that
// SIGCONT from a signalfd. The goroutine must be locked to its thread.
func (s *Source) StopSelf(sig syscall.Signal, pid int) {
	// Otherwise the reader of the signalfd could be faster than the stop.
	s.leave(setOf(sig, syscall.SIGCONT))
	// To ignore a signal discards it if it is pending, sigaction(2): the terminal's would stop pidleash a second
	// time.
	was := setAction(sig, ignore)
	setAction(sig, byDefault)
	mask := setMask(unix.SIG_UNBLOCK, setOf(sig))
	_ = sys.Kill(pid, sig) // pidleash stops in here
	// Or here, if the kernel has chosen another thread, which has not taken it yet: this one looks again for signals
	// when its mask changes.
	setMask(unix.SIG_SETMASK, ^setOf(sig))
	setMask(unix.SIG_SETMASK, mask)
	setAction(sig, was)
	setAction(syscall.SIGCONT, setAction(syscall.SIGCONT, ignore))
	s.leave(0)
}

// Die ends this process by the signal. It returns in PID 1, which survives every signal of its own.
func Die(sig syscall.Signal) {
	// The program's core is of interest, a wrapper's is not.
	_ = sys.Prctl(unix.PR_SET_DUMPABLE, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	setAction(sig, byDefault)
	runtime.LockOSThread()
	setMask(unix.SIG_SETMASK, 0)
	_ = sys.Tgkill(os.Getpid(), unix.Gettid(), sig)
}
