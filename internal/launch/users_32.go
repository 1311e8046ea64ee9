//go:build 386 || arm

package launch

import "golang.org/x/sys/unix"

// The calls without "32" take numbers of 16 bits there, setresuid(2): 65536 would be root.
const (
	sysSetgroups = unix.SYS_SETGROUPS32
	sysSetresgid = unix.SYS_SETRESGID32
	sysSetresuid = unix.SYS_SETRESUID32
)
