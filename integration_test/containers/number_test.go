package containers

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// startWithNumber starts a program in a PID namespace of its own, where it has this number.
func startWithNumber(t *testing.T, number int, file string, options ...string) *bed.Run {
	t.Helper()
	var r *bed.Run
	bed.Await(t, fmt.Sprintf("a program whose PID is %d", number), func() bool {
		r = bed.Start(t, elsewhere(), append(append([]string{"-pidfile", file}, options...), bed.CompileC(t, "first.c"), "hold")...)
		if r.Number(t) == number {
			return true
		}
		r.Stdin.Close()
		r.ExpectCode(t, 0)
		return false
	})
	return r
}

// In two containers that share a directory, the two programs may have the same number. The first pidleash does not take
// the second one's file for its own program's: it stops its program, and leaves the file alone.
func TestSameNumberElsewhere(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, name := range []string{"while it stops its program", "before it has looked"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/p.pid"
			first := bed.Start(t, elsewhere(), "-pidfile", file, "-ignore", "TERM", "-stop", "TERM", bed.CompileC(t, "first.c"), "hold")
			number := first.Number(t)
			keeper := bed.ChildPIDs(first.PID())[0]
			if name == "before it has looked" {
				bed.Must(t, syscall.Kill(keeper, syscall.SIGSTOP))
				bed.Await(t, "the keeper stops", func() bool { return bed.ProcessState(keeper) == "T" })
				bed.RemoveFile(t, file)
			} else {
				bed.RemoveFile(t, file)
				first.AwaitStderr(t, "pidfile "+file+": removed, stopping PID ")
			}
			second := startWithNumber(t, number, file)
			bed.Must(t, syscall.Kill(keeper, syscall.SIGCONT))
			first.AwaitStderr(t, "pidfile "+file+": (removed|replaced by another file), stopping PID ")
			first.Stdin.Close()
			first.ExpectCode(t, 0)
			if got := bed.PIDIn(t, file); got != number {
				t.Fatalf("the file names PID %d", got)
			}
			second.Stdin.Close()
			second.ExpectCode(t, 0)
			second.ExpectQuiet(t)
			bed.ExpectEmptyDir(t, filepath.Dir(file))
		})
	}
}
