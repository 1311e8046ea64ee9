package signals

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
)

// SIG_IGN and SI_KERNEL of sigaction(2): the terminal's signals have that.
const sigIgn, siKernel = 1, 0x80

// sigaction is the kernel's struct sigaction. Its first word is the handler; the order of the others differs
// by architecture, and all of them are zero here.
type sigaction [4]uintptr

var byDefault, ignore = sigaction{}, sigaction{sigIgn}

// action returns a signal's disposition. Here and below the kernel refuses KILL and STOP only.
func action(sig syscall.Signal) (act sigaction) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&act)), 8, 0, 0)
	return act
}

func setAction(sig syscall.Signal, act sigaction) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
}

func setActions(set atstart.SignalSet, act sigaction) {
	for _, sig := range list(set) {
		setAction(sig, act)
	}
}

// readSignalfd takes one signal, signalfd(2); ok is false when there is none.
func readSignalfd(fd int) (sig syscall.Signal, code, sender uint32, ok bool) {
	var info [unsafe.Sizeof(unix.SignalfdSiginfo{})]byte
	n, _ := unix.Read(fd, info[:])
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(info[at:]) }
	return syscall.Signal(word(0)), word(8), word(12), n == len(info)
}
