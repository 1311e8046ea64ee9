package atstart

// SignalSet is the kernel's sigset_t: bit N-1 for signal N.
type SignalSet uint64

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
