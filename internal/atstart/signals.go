package atstart

// SignalSet is what all kernels' sigset_t have in common: bit N-1 for signal N.
type SignalSet uint64

// Sigaction is the kernel's struct sigaction, or longer. All but the handler is zero here.
type Sigaction [6]uintptr

// Disposition has a handler: 0 for the default action, 1 to ignore the signal.
func Disposition(handler uintptr) *Sigaction {
	var act Sigaction
	act[HandlerWord] = handler
	return &act
}

// Store writes the set to the words of a unix.Sigset_t, which has 1,024 bits, in words of 32 or 64.
func Store[W uint32 | uint64](words []W, s SignalSet) {
	for i, bits := 0, 1024/len(words); i*bits < 64; i++ {
		words[i] = W(s >> (i * bits))
	}
}

// Load reads the set from such words.
func Load[W uint32 | uint64](words []W) (s SignalSet) {
	for i, bits := 0, 1024/len(words); i*bits < 64; i++ {
		s |= SignalSet(words[i]) << (i * bits)
	}
	return s
}

// Has reports that the set has signal number sig, 1 to 64.
func (s SignalSet) Has(sig int) bool { return s&(1<<(sig-1)) != 0 }

// Written by the entry code, before the Go runtime starts; only read afterwards.
var (
	entered bool
	ignored SignalSet
	blocked SignalSet
	closed  uint64
)

// Signals returns the signals that were ignored and those that were blocked. When ok, every signal has been
// blocked since the first instruction. Not ok: the binary was linked without our entry code, as "go run"
// does; nothing is known, and nothing was blocked.
func Signals() (ignoredSet, blockedSet SignalSet, ok bool) { return ignored, blocked, entered }

// Closed reports that one of the descriptors 0 to 2 was closed and that the Go runtime has opened /dev/null
// there. It is false when that is not known.
func Closed(fd int) bool { return closed&(1<<fd) != 0 }
