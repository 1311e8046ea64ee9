package launch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// publishPID writes the PID and moves the file into place. In the child.
//
//go:norace
//go:nosplit
func (p *childPlan) publishPID(pid uintptr) bool {
	var text [pidDigits]byte
	length := spell(&text, pid, '\n') + 1
	n, errno := kernel(unix.SYS_WRITE, uintptr(p.Claim.Write), uintptr(unsafe.Pointer(&text)), length, 0, 0)
	if errno == 0 && n != length {
		errno = syscall.ENOSPC // write(2): fewer bytes, because there was no more room
	}
	if errno == 0 {
		// Where it fails the program is taken to have written the file.
		kernel(unix.SYS_UTIMENSAT, uintptr(p.Claim.Write), 0, uintptr(unsafe.Pointer(&p.times)), 0, 0)
		errno = p.movePIDFile()
	}
	if errno == 0 && p.absentLock != nil {
		if _, absent := kernel(unix.SYS_FACCESSAT, cwd, uintptr(unsafe.Pointer(p.absentLock)), unix.F_OK, 0, 0); absent == 0 {
			errno = syscall.EEXIST // the path is somebody else's
		}
	}
	return errno == 0 || p.fail(stepPublish, 0, errno)
}

// movePIDFile never replaces another's file. Where renameat2(2) cannot promise that (NFS, many file systems in user
// space, a kernel or sandbox without that call) link(2) can; one of our own is replaced by rename(2) there, also in
// one step. In the child.
//
//go:norace
//go:nosplit
func (p *childPlan) movePIDFile() syscall.Errno {
	at := cwd
	from, to := uintptr(unsafe.Pointer(p.temp)), uintptr(unsafe.Pointer(p.path))
	if p.Claim.Unnamed {
		_, errno := kernel(unix.SYS_LINKAT, at, from, at, to, unix.AT_SYMLINK_FOLLOW)
		return errno
	}
	flags := uintptr(unix.RENAME_NOREPLACE)
	if p.Claim.Exchanges {
		flags = unix.RENAME_EXCHANGE
	}
	_, errno := kernel(unix.SYS_RENAMEAT2, at, from, at, to, flags)
	switch {
	case errno != syscall.EINVAL && errno != syscall.ENOSYS && errno != syscall.EPERM && errno != syscall.EACCES:
	case p.Claim.Exchanges:
		_, errno = kernel(sysRename, at, from, at, to, 0)
	default:
		if _, errno = kernel(unix.SYS_LINKAT, at, from, at, to, 0); errno == 0 {
			kernel(unix.SYS_UNLINKAT, at, from, 0, 0, 0)
		}
	}
	return errno
}

// cwd is AT_FDCWD, as a register holds it.
const cwd = ^uintptr(99)

// pidDigits is more than the room for a PID and a byte: PIDs are below 2^22, proc(5).
const pidDigits = 12

// spell writes the decimal digits of a PID, and a byte after them, and returns their number. In the child.
//
//go:norace
//go:nosplit
func spell(to *[pidDigits]byte, pid uintptr, after byte) uintptr {
	digits := uintptr(0)
	for unit := uintptr(1e6); unit > 0; unit /= 10 {
		if pid >= unit {
			to[digits%pidDigits] = '0' + byte(pid/unit%10)
			digits++
		}
	}
	to[digits%pidDigits] = after
	return digits
}
