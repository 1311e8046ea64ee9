// Package integration proves pidleash's contract on the built binary, against
// the real thing: a real systemd, real containers, real daemons.
package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// pidleash is the absolute path of the binary under test, built once by
// TestMain the way it is released: static, so that it runs in a container
// made from scratch too.
var pidleash string

func TestMain(m *testing.M) {
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
