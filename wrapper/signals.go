package wrapper

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signals receives what is sent to pidleash.
type Signals struct {
	// forward has those that are meant for the program. Equal pending signals
	// merge in the kernel, so 64 slots could hold one of each.
	forward chan os.Signal
	// child has SIGCHLD, in a channel of its own: os/signal drops what does not
	// fit, and a lost SIGCHLD would be a program that never ends.
	child chan os.Signal
	ready chan struct{}
}

// sigIgn is SIG_IGN of sigaction(2).
const sigIgn = 1

// CatchSignals starts to collect signals; call it before anything else. It
// returns at once: for each signal the runtime talks to another thread, some
// 20 µs each, which is time to read the command line in.
func CatchSignals() *Signals {
	s := &Signals{
		forward: make(chan os.Signal, 128),
		child:   make(chan os.Signal, 1),
		ready:   make(chan struct{}),
	}
	go s.catch()
	return s
}

// wait returns when every signal is being collected.
func (s *Signals) wait() { <-s.ready }

func (s *Signals) catch() {
	defer close(s.ready)
	signal.Notify(s.child, syscall.SIGCHLD)
	// A reader of standard error who went away must not end anybody: nobody
	// reads this channel.
	signal.Notify(make(chan os.Signal), syscall.SIGPIPE)
	var meant []os.Signal
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if forwarded(sig) && !keptIgnored(sig) {
			meant = append(meant, sig)
		}
	}
	signal.Notify(s.forward, meant...)
}

// forwarded reports that a signal sent to pidleash is meant for the program
// and can be caught.
func forwarded(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGKILL, syscall.SIGSTOP: // nobody catches these, signal(7)
		return false
	case syscall.SIGCHLD, syscall.SIGPIPE: // about pidleash's own children and pipes
		return false
	case syscall.SIGURG, syscall.SIGPROF: // the Go runtime's own
		return false
	case 32, 33, 34: // the Go runtime leaves them to the C library
		return false
	}
	return true
}

// keptIgnored reports a signal that was ignored at start and that the Go runtime
// leaves so: nohup(1) and a shell's background jobs count on it, and the program
// inherits it by itself.
func keptIgnored(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		return handlerOf(sig) == sigIgn
	}
	return false
}

// signalSet is the kernel's sigset_t: bit N-1 for signal N.
type signalSet uint64

func (s signalSet) has(sig syscall.Signal) bool { return s&(1<<(sig-1)) != 0 }
func (s *signalSet) add(sig syscall.Signal)     { *s |= 1 << (sig - 1) }

// surviveUncatchable keeps the signals from killing pidleash that Go cannot
// catch, and returns those that had their default action, which the program
// gets back.
func surviveUncatchable() (changed signalSet) {
	for _, sig := range []syscall.Signal{32, 33, 34} {
		if handlerOf(sig) == 0 {
			setHandler(sig, sigIgn)
			changed.add(sig)
		}
	}
	return changed
}

// sigaction is the kernel's struct sigaction. Its first word is the handler; the
// order of the others differs by architecture, and all of them are zero here.
type sigaction [4]uintptr

func handlerOf(sig syscall.Signal) uintptr {
	var old sigaction
	rtSigaction(sig, nil, &old)
	return old[0]
}

func setHandler(sig syscall.Signal, handler uintptr) {
	rtSigaction(sig, &sigaction{handler}, nil)
}

// die ends this process by the signal, as wait(2) will tell its parent. It
// returns when that is impossible: PID 1 survives every signal of its own.
func die(sig syscall.Signal) {
	// The program's core is of interest, a wrapper's is not.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	if sig != syscall.SIGKILL && sig != syscall.SIGSTOP {
		setHandler(sig, 0)
	}
	unblockAll()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), sig)
}
