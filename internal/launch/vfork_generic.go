//go:build !amd64

package launch

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// vforkFlags give the child a copy of this process's memory: to share it takes a function that returns twice,
// which is assembly for each architecture.
const vforkFlags = unix.CLONE_VFORK | uintptr(unix.SIGCHLD)

// vfork is clone(2). Flags come first on every architecture that the released binary is built for.
//
//go:noinline
//go:norace
//go:nosplit
func vfork(flags uintptr) (pid, errno uintptr) {
	pid, _, err := syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	return pid, uintptr(err)
}
