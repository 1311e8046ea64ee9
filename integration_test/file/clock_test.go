package file

import (
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// A second database is not started beside the first one because the clock was set; another program is.
func TestStartAfterStepOfClock(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	pid, first := bed.PlainProgram(t), bed.CompileC(t, "first.c")
	start := func(step time.Duration, program ...string) *bed.Run {
		bed.PlantPIDAt(t, file, pid, time.Now().Add(-time.Minute))
		h := bed.AfterStep(t, step)
		return bed.Start(t, h, append([]string{"-log-level", "info", "-pidfile", file}, program...)...)
	}
	r := start(2*time.Minute, first, "hold")
	r.ExpectCode(t, 120)
	r.ExpectOneLine(t, `already running as PID \d+ \(first\), held by nobody: `)
	for name, step := range map[string]time.Duration{"another program": 2 * time.Minute, "no step is visible": 0} {
		r := start(step, "true")
		r.ExpectCode(t, 0)
		if r.Warnings("stale, replacing it: ") != 1 {
			t.Errorf("%s: %s", name, r.Stderr())
		}
	}
	// Control: without a step the same program is started.
	r = start(0, first, "hold")
	r.Stdin.Close()
	r.ExpectCode(t, 0)
}
