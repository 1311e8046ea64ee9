package signals

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
)

// Sets of signals, which nobody changes; signal(7).
var (
	uncatchable = setOf(syscall.SIGKILL, syscall.SIGSTOP)
	// The Go runtime leaves 32 to 34 to the C library, and cannot catch them.
	libraries = setOf(32, 33, 34)
	// The last four are about pidleash itself: its children and pipes, and its Go runtime.
	forwarded = ^(uncatchable | libraries | setOf(syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGPROF))
	// harmless are those whose default action does not end a process.
	harmless = setOf(syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGSTOP)
	// groups are those that the kernel sends to a whole process group: the terminal's, and an orphaned group's.
	groups = setOf(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
		syscall.SIGWINCH, syscall.SIGHUP, syscall.SIGCONT)
	// faults are the processor's, which Go makes a panic of.
	faults = setOf(syscall.SIGILL, syscall.SIGTRAP, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV)
	// kept stay ignored if they were at start, as nohup(1) and shells do for the program, which inherits it.
	kept = setOf(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
)

// Forwarded reports that a signal sent to pidleash is meant for the program and can be caught.
func Forwarded(sig syscall.Signal) bool { return has(forwarded, sig) }

// ignoredNow are those of asked that are ignored.
func ignoredNow(asked atstart.SignalSet) (set atstart.SignalSet) {
	for _, sig := range list(asked) {
		if setAction(sig, nil)[atstart.HandlerWord] == sigIgn {
			set |= setOf(sig)
		}
	}
	return set
}

// atStart returns the signals that were ignored and blocked at start. Without our entry code it is what the Go
// runtime has left of that: call it before anything changes a disposition.
func atStart() (ignored, blocked atstart.SignalSet) {
	if ignored, blocked, ok := atstart.Signals(); ok {
		return ignored, blocked
	}
	ignored = ignoredNow(^atstart.SignalSet(0))
	if os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) {
		ignored |= setOf(syscall.SIGPIPE) // IgnoreSIGPIPE=yes, systemd.exec(5)
	}
	return ignored, setMask(unix.SIG_BLOCK, 0)
}

func setOf(list ...syscall.Signal) (set atstart.SignalSet) {
	for _, sig := range list {
		set |= 1 << (sig - 1)
	}
	return set
}

func list(set atstart.SignalSet) (list []syscall.Signal) {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if has(set, sig) {
			list = append(list, sig)
		}
	}
	return list
}

func has(set atstart.SignalSet, sig syscall.Signal) bool { return set.Has(int(sig)) }

func sigset(s atstart.SignalSet) *unix.Sigset_t {
	var set unix.Sigset_t
	atstart.Store(set.Val[:], s)
	return &set
}
