package file

import (
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// PROGRAM may unlink and write its own file anew: then that one counts.
func TestSettle(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-settle", "10s", "-stop", "TERM")
	bed.RemoveFile(t, file)
	p.RoundTrips(t) // without a -settle it would be stopped by now
	bed.WriteFile(t, file, strconv.Itoa(p.Program)+"\n", 0o644)
	bed.Await(t, "pidleash has locked the new file", func() bool { return bed.IsLockedBy(t, file, p.PID()) })
	p.RoundTrips(t)
	p.ExpectQuiet(t)
	bed.RemoveFile(t, file)
	p.GotWithCont(t, syscall.SIGTERM)
	p.Finish(t)
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
