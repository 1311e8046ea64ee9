package scale

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// TestListOfMany shows that list reads /proc/locks once, not once for each file. Each reading would touch at least two
// new pages of memory. The test counts minor faults, because times depend on what else runs on the machine.
func TestListOfMany(t *testing.T) {
	n := 2_000
	if bed.Long() {
		n = 20_000
	}
	dir := t.TempDir()
	for i := range n {
		bed.Must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.pid", i)), fmt.Appendln(nil, 1<<22+1+i), 0o644))
	}
	list := exec.Command(bed.Pidleash, "list", dir)
	out, _ := list.Output() // its code is that of a stale file
	if got := strings.Count(string(out), "stale: PID"); got != n {
		t.Errorf("%d files, want %d", got, n)
	}
	took := list.ProcessState.UserTime() + list.ProcessState.SystemTime()
	faults := list.ProcessState.SysUsage().(*syscall.Rusage).Minflt
	t.Logf("list of %d files: %v of processor time, %d minor faults", n, took, faults)
	if faults > int64(n)*3/2 {
		t.Errorf("list of %d files makes %d minor faults, want at most 1.5 for each", n, faults)
	}
}
