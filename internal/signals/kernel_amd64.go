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

// tookSent reports whether a process has sent the signal since the last call. It is also true as long as the
// kernel has not sent that signal since noteOrigins. It does not forget that the kernel has sent one: the
// second of two that came at once would look as if a process had sent it.
func tookSent(sig syscall.Signal) bool {
	bit := uint64(setOf(sig))
	return atomic.AndUint64(&sentByProcess, ^bit)&bit != 0 || atomic.LoadUint64(&sentByKernel)&bit == 0
}
