package file

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// PROGRAM may unlink and write its own file anew: then that one counts.
func TestSettle(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-settle", "3s", "-stop", "TERM")
	bed.RemoveFile(t, file)
	p.RoundTrips(t) // without a -settle it would be stopped by now
	bed.WriteFile(t, file, strconv.Itoa(p.Program)+"\n", 0o644)
	bed.Await(t, "pidleash has locked the new file", func() bool { return lockHeld(t, file) })
	p.RoundTrips(t)
	p.ExpectQuiet(t)
	bed.RemoveFile(t, file)
	p.GotWithCont(t, syscall.SIGTERM)
	p.Finish(t)
}

// lockHeld reads /proc/locks: to try the lock would be to hold it for a moment.
func lockHeld(t testing.TB, path string) bool {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return false
		}
		t.Fatal(err)
	}
	for line := range strings.Lines(bed.ReadFile(t, "/proc/locks")) {
		f := strings.Fields(line)
		if len(f) > 5 && f[1] == "FLOCK" && strings.HasSuffix(f[5], fmt.Sprintf(":%d", st.Ino)) {
			return true
		}
	}
	return false
}

// Nothing is waited for: an hour would be noticed.
func TestSettleZero(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "p.pid")
	p := bed.StartTeller(t, bed.How{Env: []string{"PIDLEASH_SETTLE=1h"}}, bed.ForEver, "-pidfile", file, "-settle", "0", "-stop", "TERM")
	bed.RemoveFile(t, file)
	p.GotWithCont(t, syscall.SIGTERM)
	p.Finish(t)
	bed.ExpectEmptyDir(t, dir)
}
