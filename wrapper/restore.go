package wrapper

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// RestoreSignals lets signals do to this process what they do to any other: it is
// for who runs no program, instead of CatchSignals. The calling goroutine must live
// as long as the process; a signal may arrive on its thread.
func RestoreSignals() {
	ignored, blocked := programSignals()
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		switch {
		case !Forwarded(sig) || isFault(sig): // the Go runtime needs them
		case ignored.Has(int(sig)):
			setHandler(sig, sigIgn)
		default:
			setHandler(sig, sigDfl)
		}
	}
	runtime.LockOSThread()
	mask := unix.Sigset_t{Val: [16]uint64{uint64(blocked)}}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil)
}

// sigDfl is SIG_DFL of sigaction(2).
const sigDfl = 0

// isFault reports a signal of the processor's, which Go makes a panic of.
func isFault(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGILL, syscall.SIGTRAP, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV:
		return true
	}
	return false
}
