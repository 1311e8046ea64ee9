// Package bed is what the tests of the built binary stand on: the binary itself,
// programs to put behind it, terminals, real daemons, a real systemd and a real
// podman. The folders beside it have the tests, by subject; each has
//
//	func TestMain(m *testing.M) { bed.Main(m) }
//
// These variables of the environment are for the tests, none reaches pidleash:
//
//	PIDLEASH_TEST_BINARY  the binary under test; without it Main builds one
//	PIDLEASH_TEST_PLAIN   not empty: the binary is built without the entry code
//	PIDLEASH_TEST_PROBES  where compiled C programs are kept for other test
//	                      binaries; without it they go with this one
//	CI                    not empty: what is missing here is a failure
package bed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// Pidleash is the absolute path of the binary under test: static, as it is
// released, so that it runs in a container made from scratch too.
var Pidleash string

// withoutEntry is set when the binary lacks the entry code, probes is the directory of
// the compiled C programs.
var (
	withoutEntry bool
	probes       string
)

// Main runs the tests of a folder, see guard for how, and does not return.
func Main(m *testing.M) {
	defaultSignals()
	role := os.Getenv(roleVariable)
	os.Unsetenv(roleVariable)
	switch role {
	case "":
		os.Exit(startGuardian())
	case "guardian":
		os.Exit(guard())
	default:
		os.Exit(runTests(m, role))
	}
}

// runTests is what the guarded process does. The directory is its own, and the
// guardian removes it.
func runTests(m *testing.M, dir string) int {
	variable := func(name string) string {
		value := os.Getenv(name)
		os.Unsetenv(name)
		return value
	}
	withoutEntry = variable("PIDLEASH_TEST_PLAIN") != ""
	Pidleash, probes = variable("PIDLEASH_TEST_BINARY"), variable("PIDLEASH_TEST_PROBES")
	if probes == "" {
		probes = dir
	}
	if Pidleash == "" {
		Pidleash = filepath.Join(dir, "pidleash")
		if err := build(Pidleash); err != nil {
			fmt.Fprintln(os.Stderr, "build pidleash:", err)
			return 1
		}
	}
	go recordStalls()
	return m.Run()
}

func build(path string) error {
	words := []string{"-s", "-C", ModuleFile(), "build", "OUT=" + path}
	if withoutEntry {
		words = append(words, "ENTRY=", "RUNTIME=")
	}
	cmd := exec.Command("make", words...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// ModuleFile is the path of a file of the module, as seen from a test.
func ModuleFile(elem ...string) string {
	return filepath.Join(append([]string{"..", ".."}, elem...)...)
}

// Missing skips the test because the machine lacks what it needs. In CI that
// is a failure: a protection that was not tested there is not tested at all.
func Missing(t testing.TB, format string, args ...any) {
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
