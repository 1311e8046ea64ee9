//go:build !mips && !mipsle && !mips64 && !mips64le

package atstart

// HandlerWord is which word of the kernel's struct sigaction has the handler, SetSize the bytes of its sigset_t.
const (
	HandlerWord  = 0
	SetSize      = 8
	rlimitNofile = 7
)
