//go:build mips || mipsle || mips64 || mips64le

package atstart

// The flags come first in struct sigaction there, and there are 128 signals.
const (
	HandlerWord  = 1
	SetSize      = 16
	rlimitNofile = 5
)
