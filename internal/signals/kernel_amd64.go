package signals

import (
	"sync/atomic"
	"syscall"
)

// The Go runtime keeps a signal's origin to itself. Written in a signal handler, hence no fields. Bit N is for signal
// N, below 32.
var (
	sentByProcess, sentByKernel uint64
	//lint:ignore U1000 the assembly uses it
	runtimeHandler uintptr
)

func noteOriginPC() uintptr

// NoteOrigins puts a handler of ours before the Go runtime's, to tell the kernel's signals from those of processes.
// Until then what came through os/signal (HUP, INT and QUIT among it) counts as not sent to the group. In pidleash's
// group and without a terminal that is nearly always right, and otherwise the program has a signal twice, which is
// better than never.
func (s *Source) NoteOrigins() {
	for _, sig := range list(groups) {
		if act := setAction(sig, nil); act[0] > sigIgn && act[0] != noteOriginPC() {
			runtimeHandler, act[0] = act[0], noteOriginPC() // the runtime has one for all
			setAction(sig, act)
		}
	}
}

// tookSent reports that a process has sent the signal since the last call, or that the kernel never has since
// NoteOrigins. That it has is not forgotten: the second of two at once would look as if a process had sent it.
func tookSent(sig syscall.Signal) bool {
	bit := uint64(1) << sig
	return atomic.AndUint64(&sentByProcess, ^bit)&bit != 0 || atomic.LoadUint64(&sentByKernel)&bit == 0
}
