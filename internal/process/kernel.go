package process

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// Path is a path as the kernel takes it, for who looks at it as long as pidleash runs: package unix copies a path for
// each call, and Go collects what is left of that at 4 MiB.
type Path []byte

// At has no NUL inside, as no argument of a program has.
func At(path string) Path { return append([]byte(path), 0) }

// Statx is statx(2), and allocates nothing.
func (p Path) Statx(flags, mask int, st *unix.Statx_t) error {
	const here = ^uintptr(-unix.AT_FDCWD - 1)
	return sys.Again(func() error {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, here, uintptr(unsafe.Pointer(&p[0])), uintptr(flags), uintptr(mask),
			uintptr(unsafe.Pointer(st)), 0) // the addresses are taken here, see package unsafe: a stack may move
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// peek asks waitid(2) for a child, and leaves it there to be waited for. Zero: there is none now. The error is ECHILD
// when there cannot be one.
func peek(kind, id, options int) (pid int, err error) {
	var info unix.Siginfo
	err = sys.Waitid(kind, id, &info, options|unix.WNOWAIT)
	// si_pid, sigaction(2), stays 0 if there is none. It comes behind three ints, where a pointer can stand.
	const word = unsafe.Sizeof(uintptr(0))
	const place = (3*unsafe.Sizeof(info.Signo) + word - 1) / word * word
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), place))), err
}

// exitStatus asks PIDFD_GET_INFO of ioctl_pidfd(2), Linux 6.15, which tells when the parent has waited for the
// process. An error: it never will.
func exitStatus(pidfd int) (status syscall.WaitStatus, known bool, err error) {
	// Twice: in the moment of the wait the kernel first finds no status, then no process.
	for range 2 {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
		if errno == 0 || errno == unix.EINTR {
			return syscall.WaitStatus(info.Exit_code), errno == 0 && info.Mask&unix.PIDFD_INFO_EXIT != 0, nil
		}
		err = errno
	}
	return 0, false, err // ESRCH: nothing was kept; others: an older kernel
}
