package scale

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// What list needs for one file does not grow with their number. Processor time is
// counted, not the time that passes: other processes need the machine as well.
func TestListOfMany(t *testing.T) {
	n, limit := 2_000, 300*time.Millisecond // a look that reads /proc/locks for each file takes more than 400
	if bed.Long() {
		n, limit = 20_000, 2*time.Second
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
	t.Logf("list of %d files: %v of processor time", n, took)
	if took > limit {
		t.Errorf("list of %d files takes %v of processor time, want at most %v", n, took, limit)
	}
}
