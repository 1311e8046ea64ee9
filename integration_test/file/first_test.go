package file

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"pidleash/integration_test/bed"
)

// keepCoresBusy lets every process of the test compete for the processor.
func keepCoresBusy(t testing.TB) {
	t.Helper()
	for range 2 {
		cmd := exec.Command(bed.CompileC(t, "first.c"), "busy")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
	}
}

// TestFileIsThereFirst lets PROGRAM's first act be to read the PID file.
func TestFileIsThereFirst(t *testing.T) {
	t.Run("1000 times", func(t *testing.T) { checkFirst(t, 2, 500) })
	t.Run("garbage collector busy", func(t *testing.T) {
		checkFirst(t, 2, 50, "GOGC=1")
	})
	t.Run("garbage collector stops the world", func(t *testing.T) {
		checkFirst(t, 2, 50, "GOGC=1", "GODEBUG=gcstoptheworld=1")
	})
	t.Run("cores busy", func(t *testing.T) {
		keepCoresBusy(t)
		checkFirst(t, 8, 25, "GOGC=1")
	})
}

// checkFirst starts the program again and again, on as many paths at a time as
// there are workers.
func checkFirst(t *testing.T, workers, times int, env ...string) {
	program := bed.CompileC(t, "first.c")
	var wg sync.WaitGroup
	for range workers {
		file := filepath.Join(bed.OpenDir(t), "p.pid")
		wg.Go(func() {
			for i := range times {
				cmd := exec.Command(bed.Pidleash, "-pidfile", file, program, "check", file)
				cmd.Env = append(os.Environ(), env...)
				if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
					t.Errorf("start %d: %v: %s", i, err, out)
					return
				}
			}
			bed.ExpectEmptyDir(t, filepath.Dir(file))
		})
	}
	wg.Wait()
}
