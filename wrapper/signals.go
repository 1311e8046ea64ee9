package wrapper

import (
	"encoding/binary"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
)

// Signals receives what is sent to pidleash.
type Signals struct {
	// forward has those that are meant for the program. os/signal drops what does
	// not fit; equal pending signals merge in the kernel, so that 128 are plenty.
	forward chan os.Signal
	// groupwide has those that the kernel itself has sent, which reached pidleash's
	// whole process group: ^C and the like.
	groupwide chan os.Signal
	// caught has those that came through os/signal, of either kind.
	caught chan os.Signal
	// ignored and blocked are the program's.
	ignored, blocked atstart.SignalSet
	// fd is the signalfd(2) that most signals are read from; -1: there is none.
	fd int
	// sibling is the program's PID when it is in pidleash's process group: what it
	// sends to the group, as editors do with SIGTSTP, it has had itself.
	sibling atomic.Uint32
	ready   chan struct{} // closed when all of this is in place
}

// sigIgn is SIG_IGN of sigaction(2).
const sigIgn = 1

// CatchSignals starts to collect signals; call it before anything else.
func CatchSignals() *Signals {
	s := &Signals{
		forward:   make(chan os.Signal, 128),
		groupwide: make(chan os.Signal, 128),
		caught:    make(chan os.Signal, 128),
		ready:     make(chan struct{}),
		fd:        -1,
	}
	s.ignored, s.blocked = programSignals()
	surviveUncatchable()
	// In the background: for each signal that os/signal enables, the runtime talks
	// to another thread, 20 to 60 µs. That is time to read the command line in.
	go s.catch()
	return s
}

// prepare returns when every signal is being collected.
func (s *Signals) prepare(cfg *Config) {
	<-s.ready
	if cfg.Ignored != nil {
		s.ignored = 0
		for _, sig := range cfg.Ignored {
			s.ignored |= 1 << (sig - 1)
		}
	}
}

// lateLimit is how much later than others in its control group a process may learn
// that all of them are told to end.
const lateLimit = 50 * time.Millisecond

// late returns the signal that tells this process to end, as it has told others
// already, 0 for none.
func (s *Signals) late() syscall.Signal {
	limit := time.After(lateLimit)
	for {
		var got os.Signal
		select {
		case got = <-s.caught:
		case got = <-s.forward:
		case got = <-s.groupwide:
		case <-limit:
			return 0
		}
		switch sig := got.(syscall.Signal); sig {
		case syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT:
			return sig
		}
	}
}

// pending returns a signal that has been collected, 0 when there is none.
func (s *Signals) pending() syscall.Signal {
	var got os.Signal
	select {
	case got = <-s.caught:
	case got = <-s.forward:
	case got = <-s.groupwide:
	default:
		return 0
	}
	return got.(syscall.Signal)
}

func (s *Signals) catch() {
	defer close(s.ready)
	if _, _, blocked := atstart.Signals(); blocked {
		if fd, err := unix.Signalfd(-1, sigset(wanted()), unix.SFD_CLOEXEC); err == nil {
			s.fd = fd
			noteOrigins()
			signal.Notify(s.caught, unblockable()...)
			go s.read()
			return
		}
	}
	// A reader of standard error who went away must not end anybody: nobody
	// reads this channel.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var list []os.Signal
	for _, sig := range wanted() {
		list = append(list, sig)
	}
	noteOrigins()
	signal.Notify(s.caught, list...)
}

// unblockable are the wanted signals that the Go runtime unblocks in each of its
// threads, whatever was blocked at start: its own faults, and those that end a Go
// program (blockableSig in runtime/signal_unix.go).
func unblockable() (list []os.Signal) {
	for _, sig := range wanted() {
		switch sig {
		case syscall.SIGTERM:
			// First: a thread that began to die of it before is to be done with that when
			// the program is started.
			list = append([]os.Signal{sig}, list...)
		case syscall.SIGILL, syscall.SIGTRAP, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSTKFLT,
			syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSYS:
			list = append(list, sig)
		}
	}
	return list
}

// leave takes nothing but these signals out of what is read from the signalfd.
func (s *Signals) leave(left ...syscall.Signal) {
	if s.fd < 0 {
		return
	}
	set := sigset(wanted())
	for _, sig := range left {
		set.Val[0] &^= 1 << (sig - 1)
	}
	_, _ = unix.Signalfd(s.fd, set, unix.SFD_CLOEXEC)
}

// read passes on what comes through the signalfd(2), in the kernel's order.
func (s *Signals) read() {
	var info [unsafe.Sizeof(unix.SignalfdSiginfo{})]byte
	for {
		n, err := unix.Read(s.fd, info[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || n != len(info): // never, signalfd(2)
			return
		}
		sig, code := syscall.Signal(binary.NativeEndian.Uint32(info[0:])), binary.NativeEndian.Uint32(info[8:])
		sender := binary.NativeEndian.Uint32(info[12:])
		if (code == siKernel || sender != 0 && sender == s.sibling.Load()) && canBeGroupwide(sig) {
			s.groupwide <- sig
		} else {
			s.forward <- sig
		}
	}
}

// canBeGroupwide reports a signal that the kernel sends to a whole process group:
// the terminal's, and what an orphaned group gets.
func canBeGroupwide(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGWINCH,
		syscall.SIGHUP, syscall.SIGCONT:
		return true
	}
	return false
}

// siKernel is SI_KERNEL of sigaction(2): the terminal's signals have it.
const siKernel = 0x80

// wanted lists the signals to collect for the program.
func wanted() []syscall.Signal {
	var list []syscall.Signal
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if Forwarded(sig) && !keptIgnored(sig) {
			list = append(list, sig)
		}
	}
	return list
}

func sigset(list []syscall.Signal) *unix.Sigset_t {
	var set unix.Sigset_t
	for _, sig := range list {
		set.Val[0] |= 1 << (sig - 1)
	}
	return &set
}

// Forwarded reports that a signal sent to pidleash is meant for the program
// and can be caught.
func Forwarded(sig syscall.Signal) bool {
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

// surviveUncatchable keeps the signals from killing pidleash that Go cannot
// catch. Call it after programSignals.
func surviveUncatchable() {
	for _, sig := range []syscall.Signal{32, 33, 34} {
		setHandler(sig, sigIgn)
	}
}

// programSignals returns the signals that the program ignores and those that it
// blocks: what pidleash was started with. Without our entry code it is what the Go
// runtime has left of that.
func programSignals() (ignored, blocked atstart.SignalSet) {
	if ignored, blocked, ok := atstart.Signals(); ok {
		return ignored, blocked
	}
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if handlerOf(sig) == sigIgn {
			ignored |= 1 << (sig - 1)
		}
	}
	if os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) {
		ignored |= 1 << (syscall.SIGPIPE - 1) // IgnoreSIGPIPE=yes, systemd.exec(5)
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, 0, uintptr(unsafe.Pointer(&blocked)), 8, 0, 0)
	return ignored, blocked
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

func rtSigaction(sig syscall.Signal, act, old *sigaction) {
	// It cannot fail: the signal exists and the pointers are good.
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
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
	runtime.LockOSThread()
	var none unix.Sigset_t
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil)
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), sig)
}
