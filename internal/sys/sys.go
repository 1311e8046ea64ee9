// Package sys has the calls of package unix that are made again when a signal has interrupted them. Nothing of
// pidleash's wants to know of that, and Go's scheduler sends signals to its own threads all the time. SA_RESTART is no
// help with poll(2) and its like, see signal(7), nor with file systems in user space, which answer EINTR to any call.
//
// close(2) is not among them: after EINTR the descriptor is closed, and its number may be another file's. Calls of
// package os are made again by that package.
package sys

import (
	"io/fs"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Again is for calls that have no function of their own here.
func Again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func value[T any](call func() (T, error)) (T, error) {
	for {
		if v, err := call(); err != unix.EINTR {
			return v, err
		}
	}
}

func Open(path string, flags int, mode uint32) (int, error) {
	return value(func() (int, error) { return unix.Open(path, flags, mode) })
}
func Openat(dir int, path string, flags int, mode uint32) (int, error) {
	return value(func() (int, error) { return unix.Openat(dir, path, flags, mode) })
}
func Openat2(dir int, path string, how *unix.OpenHow) (int, error) {
	return value(func() (int, error) { return unix.Openat2(dir, path, how) })
}
func Fstat(fd int, st *unix.Stat_t) error { return Again(func() error { return unix.Fstat(fd, st) }) }
func Stat(path string, st *unix.Stat_t) error {
	return Again(func() error { return unix.Stat(path, st) })
}
func Lstat(path string, st *unix.Stat_t) error {
	return Again(func() error { return unix.Lstat(path, st) })
}
func Fstatat(dir int, path string, st *unix.Stat_t, flags int) error {
	return Again(func() error { return unix.Fstatat(dir, path, st, flags) })
}
func Statx(dir int, path string, flags, mask int, st *unix.Statx_t) error {
	return Again(func() error { return unix.Statx(dir, path, flags, mask, st) })
}
func Fstatfs(fd int, fs *unix.Statfs_t) error {
	return Again(func() error { return unix.Fstatfs(fd, fs) })
}
func Statfs(path string, fs *unix.Statfs_t) error {
	return Again(func() error { return unix.Statfs(path, fs) })
}
func Faccessat(dir int, path string, mode uint32, flags int) error {
	return Again(func() error { return unix.Faccessat(dir, path, mode, flags) })
}
func Access(path string, mode uint32) error {
	return Again(func() error { return unix.Access(path, mode) })
}
func Readlinkat(dir int, path string, buf []byte) (int, error) {
	return value(func() (int, error) { return unix.Readlinkat(dir, path, buf) })
}
func Linkat(fromDir int, from string, toDir int, to string, flags int) error {
	return Again(func() error { return unix.Linkat(fromDir, from, toDir, to, flags) })
}
func Rename(from, to string) error { return Again(func() error { return unix.Rename(from, to) }) }
func Renameat(fromDir int, from string, toDir int, to string) error {
	return Again(func() error { return unix.Renameat(fromDir, from, toDir, to) })
}
func Renameat2(fromDir int, from string, toDir int, to string, flags uint) error {
	return Again(func() error { return unix.Renameat2(fromDir, from, toDir, to, flags) })
}
func Unlink(path string) error { return Again(func() error { return unix.Unlink(path) }) }
func Unlinkat(dir int, path string, flags int) error {
	return Again(func() error { return unix.Unlinkat(dir, path, flags) })
}
func Chdir(path string) error          { return Again(func() error { return unix.Chdir(path) }) }
func Fchmod(fd int, mode uint32) error { return Again(func() error { return unix.Fchmod(fd, mode) }) }
func Ftruncate(fd int, length int64) error {
	return Again(func() error { return unix.Ftruncate(fd, length) })
}
func UtimesNanoAt(dir int, path string, times []unix.Timespec, flags int) error {
	return Again(func() error { return unix.UtimesNanoAt(dir, path, times, flags) })
}
func Flock(fd, how int) error { return Again(func() error { return unix.Flock(fd, how) }) }
func Read(fd int, p []byte) (int, error) {
	return value(func() (int, error) { return unix.Read(fd, p) })
}

// ReadFile reads all of a file, of about room bytes. os.ReadFile begins with 512 bytes, and offers the
// file to Go's poller: the first one costs a thread, and /proc never blocks. The errors are those of package os.
func ReadFile(path string, room int) ([]byte, error) {
	fd, err := Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	text := make([]byte, 0, room)
	for {
		if len(text) == cap(text) {
			text = slices.Grow(text, room)
		}
		n, err := Read(fd, text[len(text):cap(text)])
		if err != nil {
			return text, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n <= 0 {
			return text, nil
		}
		text = text[:len(text)+n]
	}
}

// Pread is a loop of its own: a function value would have the compiler allocate p.
func Pread(fd int, p []byte, offset int64) (n int, err error) {
	for {
		if n, err = unix.Pread(fd, p, offset); err != unix.EINTR {
			return n, err
		}
	}
}
func Write(fd int, p []byte) (int, error) {
	return value(func() (int, error) { return unix.Write(fd, p) })
}
func Pwrite(fd int, p []byte, offset int64) (int, error) {
	return value(func() (int, error) { return unix.Pwrite(fd, p, offset) })
}
func FcntlInt(fd uintptr, command, arg int) (int, error) {
	return value(func() (int, error) { return unix.FcntlInt(fd, command, arg) })
}
func Dup3(from, to, flags int) error {
	return Again(func() error { return unix.Dup3(from, to, flags) })
}

// Poll waits for all of the timeout again.
func Poll(fds []unix.PollFd, timeout int) (int, error) {
	return value(func() (int, error) { return unix.Poll(fds, timeout) })
}
func EpollCreate1(flags int) (int, error) {
	return value(func() (int, error) { return unix.EpollCreate1(flags) })
}
func EpollCtl(fd, op, on int, event *unix.EpollEvent) error {
	return Again(func() error { return unix.EpollCtl(fd, op, on, event) })
}
func Eventfd(initial uint, flags int) (int, error) {
	return value(func() (int, error) { return unix.Eventfd(initial, flags) })
}
func Signalfd(fd int, set *unix.Sigset_t, flags int) (int, error) {
	return value(func() (int, error) { return unix.Signalfd(fd, set, flags) })
}
func Mmap(length, protection, flags int) (data []byte, err error) {
	return value(func() ([]byte, error) { return unix.Mmap(-1, 0, length, protection, flags) })
}
func Kill(pid int, sig syscall.Signal) error {
	return Again(func() error { return unix.Kill(pid, sig) })
}
func Tgkill(pid, tid int, sig syscall.Signal) error {
	return Again(func() error { return unix.Tgkill(pid, tid, sig) })
}
func PidfdOpen(pid, flags int) (int, error) {
	return value(func() (int, error) { return unix.PidfdOpen(pid, flags) })
}
func PidfdSendSignal(fd int, sig syscall.Signal) error {
	return Again(func() error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
}
func Waitid(kind, id int, info *unix.Siginfo, options int) error {
	return Again(func() error { return unix.Waitid(kind, id, info, options, nil) })
}
func Wait4(pid int, status *syscall.WaitStatus, options int) (got int, err error) {
	for {
		if got, err = syscall.Wait4(pid, status, options, nil); err != syscall.EINTR {
			return got, err
		}
	}
}

func Prctl(option int, arg2 uintptr) error {
	return Again(func() error { return unix.Prctl(option, arg2, 0, 0, 0) })
}
func Socketpair(domain, kind, protocol int) (fds [2]int, err error) {
	return value(func() ([2]int, error) { return unix.Socketpair(domain, kind, protocol) })
}
func Socket(domain, kind, protocol int) (int, error) {
	return value(func() (int, error) { return unix.Socket(domain, kind, protocol) })
}
func Bind(fd int, to unix.Sockaddr) error { return Again(func() error { return unix.Bind(fd, to) }) }
func Send(fd int, p []byte, flags int) error {
	return Again(func() error { return unix.Send(fd, p, flags) })
}
func Shutdown(fd, how int) error { return Again(func() error { return unix.Shutdown(fd, how) }) }
func Getsockname(fd int) (unix.Sockaddr, error) {
	return value(func() (unix.Sockaddr, error) { return unix.Getsockname(fd) })
}
func GetsockoptInt(fd, level, option int) (int, error) {
	return value(func() (int, error) { return unix.GetsockoptInt(fd, level, option) })
}
func SetsockoptInt(fd, level, option, n int) error {
	return Again(func() error { return unix.SetsockoptInt(fd, level, option, n) })
}
func GetsockoptUcred(fd, level, option int) (cred *unix.Ucred, err error) {
	return value(func() (*unix.Ucred, error) { return unix.GetsockoptUcred(fd, level, option) })
}
