package pidfile

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// program starts a process that lives until the test ends, and returns its PID.
// It reads a pipe: so it ends with the test's process, however that ends.
func program(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// zombie returns the PID of a process that has ended and that nobody has waited
// for.
func zombie(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("cat") // at the end of its input at once
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if p, err := process.Read(cmd.Process.Pid); err == nil && p.Dead() {
			return cmd.Process.Pid
		}
		if time.Now().After(end) {
			t.Fatal("cat has not ended")
		}
	}
}

// deadPID returns a number that no process has.
func deadPID(t *testing.T) int {
	t.Helper()
	limit, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(limit)))
	if err != nil {
		t.Fatal(err)
	}
	return pid + 1
}

// publish does what the child does between fork and exec.
func publish(t *testing.T, c *Claim, pid int) *File {
	t.Helper()
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(c.Write, line(pid)); err != nil {
		t.Fatal(err)
	}
	if err := c.appear(); err != nil {
		t.Fatal(err)
	}
	f := c.Published(pid)
	t.Cleanup(f.close)
	return f
}

func claim(t *testing.T, path string) *Claim {
	t.Helper()
	c, err := New(path, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// claimNamed claims the path where no file without a name can be had.
func claimNamed(t *testing.T, path string) *Claim {
	t.Helper()
	c, err := New(path, true)
	must(t, err)
	return c
}

// published claims the path and publishes the PID there.
func published(t *testing.T, path string, pid int) *File {
	t.Helper()
	return publish(t, claim(t, path), pid)
}

func line(pid int) []byte { return []byte(strconv.Itoa(pid) + "\n") }

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeOver replaces what is at the path by another inode.
func writeOver(t *testing.T, path string, content []byte) {
	t.Helper()
	write(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// names lists the directory, hidden files included.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// lockFile takes the file's lock by a description of its own, as another
// process would, and returns what releases it.
func lockFile(t *testing.T, path string) io.Closer {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatalf("lock %s: %v", path, err)
	}
	return unlocker{f}
}

// unlocker unlocks first: a child that another test forks has the descriptor, too, until it executes something.
type unlocker struct{ *os.File }

func (u unlocker) Close() error {
	_ = unix.Flock(int(u.Fd()), unix.LOCK_UN)
	return u.File.Close()
}

// isLocked reports that another description holds the lock.
func isLocked(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err {
	case nil:
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		return false
	case unix.EWOULDBLOCK:
		return true
	default:
		t.Fatal(err)
		return false
	}
}

// asNobody calls f on a thread that has no right to any file but everybody's.
// The thread ends with it; f must not end the test.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the Go runtime ends such a thread.
		runtime.LockOSThread()
		// Of one thread only; the kernel drops CAP_DAC_OVERRIDE with it, setfsuid(2).
		_ = unix.Setfsuid(65534)
		f()
	}()
	<-done
}

// in returns a path in a directory of the test's own.
func in(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(t.TempDir(), name)
}
