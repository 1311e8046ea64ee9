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
// asked, or was delivered before noteOrigins.
func tookSent(sig syscall.Signal) bool {
	took := func(set *uint64) bool { return atomic.AndUint64(set, ^uint64(setOf(sig)))&uint64(setOf(sig)) != 0 }
	return took(&sentByProcess) || !took(&sentByKernel)
}
