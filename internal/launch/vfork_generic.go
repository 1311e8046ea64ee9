//go:build !amd64

package launch

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// vfork is clone(2). The child has a copy of this process's memory: to share the memory, a function would have to
// return twice, which takes assembly for each architecture. The flags come first, except on s390x.
//
//go:noinline
//go:norace
//go:nosplit
func vfork() (pid, errno uintptr) {
	flags, stack := unix.CLONE_VFORK|uintptr(unix.SIGCHLD), uintptr(0)
	if runtime.GOARCH == "s390x" {
		flags, stack = stack, flags
	}
	pid, _, err := syscall.RawSyscall6(unix.SYS_CLONE, flags, stack, 0, 0, 0, 0)
	return pid, uintptr(err)
}

// newResult is in a page that parent and child share.
func newResult() (*result, func(), error) {
	page, err := sys.Mmap(os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, nil, err
	}
	return (*result)(unsafe.Pointer(&page[0])), func() { _ = unix.Munmap(page) }, nil
}

// execPipe closes when the child is another program or has ended. The parent of a CLONE_VFORK waits for that; but
// qemu-user(1), where an image for another machine runs in a container, makes a fork of it.
type execPipe struct{ read, write int }

func newExecPipe() (execPipe, error) {
	var fds [2]int
	err := unix.Pipe2(fds[:], unix.O_CLOEXEC)
	return execPipe{fds[0], fds[1]}, err
}

func (p execPipe) wait() {
	unix.Close(p.write)
	_, _ = sys.Read(p.read, make([]byte, 1))
	unix.Close(p.read)
}
