package wrapper

import (
	"sync/atomic"
	"syscall"
)

// The Go runtime keeps what a handler learns of a signal's origin to itself.
// Written in a signal handler, hence no fields.
var (
	sentByProcess uint64 // bit N-1 for signal N, as atstart.SignalSet
	//lint:ignore U1000 the assembly uses it
	runtimeHandler uintptr
)

func noteOriginPC() uintptr

// noteOrigins begins to tell the terminal's signals from those of processes.
func noteOrigins() {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		var act sigaction
		if !canBeGroupwide(sig) {
			continue
		}
		rtSigaction(sig, nil, &act)
		if act[0] <= sigIgn {
			continue
		}
		runtimeHandler, act[0] = act[0], noteOriginPC() // the runtime has one for all
		rtSigaction(sig, &act, nil)
	}
}

// tookSent reports that the signal, which os/signal has delivered, came from a
// process since it was last asked.
func tookSent(sig syscall.Signal) bool {
	bit := uint64(1) << (sig - 1)
	return atomic.AndUint64(&sentByProcess, ^bit)&bit != 0
}
