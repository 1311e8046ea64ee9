package signals

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/sys"
)

// SIG_IGN and SI_KERNEL of sigaction(2): the terminal's signals have that.
const sigIgn, siKernel = 1, 0x80

var byDefault, ignore = atstart.Disposition(0), atstart.Disposition(sigIgn)

// setAction returns what a signal's disposition was; nil leaves it. The kernel refuses KILL and STOP only.
func setAction(sig syscall.Signal, act *atstart.Sigaction) *atstart.Sigaction {
	var was atstart.Sigaction
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)),
		uintptr(unsafe.Pointer(&was)), atstart.SetSize, 0, 0)
	return &was
}

func setActions(set atstart.SignalSet, act *atstart.Sigaction) {
	for _, sig := range list(set) {
		setAction(sig, act)
	}
}

// setMask changes the calling thread's, and returns what it was.
func setMask(how int, set atstart.SignalSet) atstart.SignalSet {
	var was unix.Sigset_t
	_ = unix.PthreadSigmask(how, sigset(set), &was)
	return atstart.Load(was.Val[:])
}

// readSignalfd takes one signal, signalfd(2); ok is false when there is none.
func readSignalfd(fd int) (info unix.SignalfdSiginfo, ok bool) {
	n, _ := sys.Read(fd, (*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info))[:])
	return info, n > 0
}
