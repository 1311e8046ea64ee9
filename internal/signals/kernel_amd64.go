package signals

import (
	"sync/atomic"
	"syscall"
)

// The Go runtime keeps what a handler learns of a signal's origin to itself. Written in a signal handler,
// hence no fields. Bit N-1 is for signal N.
var (
	sentByProcess, sentByKernel uint64
	//lint:ignore U1000 the assembly uses it
	runtimeHandler uintptr
)

func noteOriginPC() uintptr

func noteOrigins() {
	for _, sig := range list(groups) {
		if act := action(sig); act[0] > sigIgn && act[0] != noteOriginPC() {
			runtimeHandler, act[0] = act[0], noteOriginPC() // the runtime has one for all
			setAction(sig, act)
		}
	}
}

// tookSent reports that the signal, which os/signal has delivered, came from a process since it was last
// asked, or was delivered before the kernel has sent its first one since noteOrigins. That the kernel has sent
// one is not forgotten: the second of two that came at once would look as if a process had sent it.
func tookSent(sig syscall.Signal) bool {
	bit := uint64(setOf(sig))
	return atomic.AndUint64(&sentByProcess, ^bit)&bit != 0 || atomic.LoadUint64(&sentByKernel)&bit == 0
}
