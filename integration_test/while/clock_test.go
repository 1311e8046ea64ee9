package while

import (
	"os"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// A process that was accepted once is known by its PID and its start in the kernel's count: no clock takes it away.
func TestWhileRunningAfterStepOfClock(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]time.Time{"a step that cannot be seen": bed.LongAgo, "one that can": time.Now().Add(-time.Minute)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/db.pid"
			db := serveDaemon(t)
			db.names(t, file)
			p := bed.StartTeller(t, bed.AfterStep(t, 2*time.Minute), bed.ForEver, "-settle", "0", "-stop", "TERM", "-while-running", file)
			bed.Must(t, os.Chtimes(file, back, back))
			bed.NudgeInVain(t, file)
			p.ExpectQuiet(t)
			db.kill()
			p.GotWithCont(t, syscall.SIGTERM)
			p.Finish(t)
			p.ExpectOneLine(t, "while-running "+file+": not running, stopping PID ")
		})
	}
}

// One that was never accepted is not believed.
func TestWhileRunningUnsureAtFirst(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/db.pid"
	db := serveDaemon(t)
	db.names(t, file)
	before := time.Now().Add(-time.Minute)
	bed.Must(t, os.Chtimes(file, before, before))
	r := bed.Start(t, bed.AfterStep(t, 2*time.Minute), "-while-running", file, bed.CompileC(t, "first.c"), "hold")
	r.AwaitStderr(t, "while-running "+file+": PID .* or the clock was set: .*\n")
	bed.NudgeInVain(t, file)
	if r.Warnings("\n") != 1 {
		t.Errorf("want one warning:\n%s", r.Stderr())
	}
	db.names(t, file)
	r.Number(t)
	leave(r, t)
}
