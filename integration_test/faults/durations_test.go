package faults

import (
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// TestLongestDelay restarts never, not at once.
func TestLongestDelay(t *testing.T) {
	t.Parallel()
	r := bed.Start(t, bed.How{}, "-restart", "always", "-restart-delay", "2562047h47m16s", "sh", "-c", "exit 1")
	r.AwaitStderr(t, "restarting in ")
	if text := r.Stderr(); !strings.Contains(text, "restarting in 2562047h47m16") || strings.Count(text, "\n") != 1 {
		t.Errorf("standard error has %q", text)
	}
	r.Signal(syscall.SIGTERM)
	r.ExpectSignal(t, syscall.SIGTERM)
}

// TestLongestWaits has a schedule, a settle time and a start timeout that never pass.
func TestLongestWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const longest = "2562047h47m16s"
	r, _ := bed.Leashed(t, bed.How{}, "-pidfile", dir+"/p.pid", "-settle", "0",
		"-start-timeout", longest, "-ready", "fd:3", "-stop", "TERM/"+longest+"/KILL")
	bed.RemoveFile(t, dir+"/p.pid")
	r.ExpectSignal(t, syscall.SIGTERM)
}
