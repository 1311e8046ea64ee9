package background

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// voluntary is how often the threads of a process went to sleep.
var voluntary = regexp.MustCompile(`(?m)^voluntary_ctxt_switches:\t([0-9]+)$`)

func switches(t *testing.T, pid int) (n int) {
	t.Helper()
	tasks, err := filepath.Glob(bed.ProcFile(pid, "task/*/status"))
	bed.Must(t, err)
	for _, task := range tasks {
		status, _ := os.ReadFile(task)
		if m := voluntary.FindSubmatch(status); m != nil {
			k, _ := strconv.Atoi(string(m[1]))
			n += k
		}
	}
	return n
}

// An idle keeper wakes every five seconds, in every mode. Each time its threads switch up to 10 times, or about 30
// times on a busy machine. A keeper that looked every 100 ms would switch about 600 times.
func TestIdle(t *testing.T) {
	t.Parallel()
	lasting := filepath.Join(bed.OpenDir(t), "lasting.pid")
	bed.WriteFile(t, lasting, strconv.Itoa(os.Getpid())+"\n", 0o644)
	for _, m := range append(slices.Clone(bed.StartModes),
		bed.StartMode{Name: "while running", Options: []string{"-while-running", lasting}}) {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			if m.Name == "forking" || m.Name == "daemon forking" {
				a.Shell("sleep 600 &")
			}
			r := a.Start(t, m)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			keeper := r.PID()
			if slices.Contains(m.Options, "-daemon") || slices.Contains(m.Options, "-sidecar") {
				bed.Await(t, "the keeper is alone", func() bool { keeper = a.Mark.Watchdog(); return keeper != 0 })
			}
			time.Sleep(2 * time.Second) // what the start has left to do is not idleness
			before := switches(t, keeper)
			time.Sleep(6 * time.Second)
			if n := switches(t, keeper) - before; n > 120 {
				t.Errorf("%d switches in 6 s", n)
			}
			bed.RemoveFile(t, a.PIDFile)
			a.Mark.ExpectNobody(t)
		})
	}
}
