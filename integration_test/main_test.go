// Package integration proves pidleash's contract on the built binary, against
// the real thing: a real systemd, real containers, real daemons.
package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// pidleash is the absolute path of the binary under test, built once by
// TestMain the way it is released: static, so that it runs in a container
// made from scratch too.
var pidleash string

func TestMain(m *testing.M) {
	defaultSignals()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pidleash-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Programs of other users run the binary, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	pidleash = filepath.Join(dir, "pidleash")
	build := exec.Command("make", "-s", "-C", "..", "build", "OUT="+pidleash)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build pidleash:", err)
		return 1
	}
	return m.Run()
}

// missing skips the test because the machine lacks what it needs. In CI that
// is a failure: a protection that was not tested there is not tested at all.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("missing in CI: "+format, args...)
	}
	t.Skipf(format, args...)
}

// defaultSignals gives every program of these tests the usual start: whoever
// runs them may ignore signals, and some do so with those of the C library, which
// the Go runtime leaves as they are.
func defaultSignals() {
	for sig := 1; sig <= 64; sig++ {
		// struct sigaction is all zero for SIG_DFL; the error is that of KILL and STOP.
		var old, none [4]uintptr
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		if old[0] == 1 { // SIG_IGN
			syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
		}
	}
}
