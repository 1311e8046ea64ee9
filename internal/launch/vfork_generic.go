//go:build !amd64

package launch

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// sysRenameat has no flags here: newer architectures have nothing else.
const sysRenameat = unix.SYS_RENAMEAT2

// vfork is clone(2). The child has a copy of this process's memory: to share it takes a function that returns twice,
// which is assembly for each architecture. Flags come first on every one that the released binary is built for.
//
//go:noinline
//go:norace
//go:nosplit
func vfork() (pid, errno uintptr) {
	pid, _, err := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	return pid, uintptr(err)
}
