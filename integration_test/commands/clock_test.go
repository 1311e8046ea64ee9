package commands

import (
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// Where a step of the clock can be seen that explains the difference, nobody knows whether the process is the one that
// the file means: it is neither hit nor taken for gone.
func TestCommandsAfterStepOfClock(t *testing.T) {
	t.Parallel()
	file, pid := bed.OpenDir(t)+"/p.pid", bed.PlainProgram(t)
	for name, c := range map[string]struct {
		step, age time.Duration
		code      int
		text      string
	}{
		"explained":     {2 * time.Minute, time.Minute, 4, "started after the file was written, or the clock was set: it is "},
		"not explained": {time.Minute, time.Hour, 1, "started after the file was written"},
		"no step":       {0, time.Minute, 1, "started after the file was written"},
	} {
		bed.PlantPIDAt(t, file, pid, time.Now().Add(-c.age))
		h := bed.AfterStep(t, c.step)
		for _, words := range [][]string{{"status", file}, {"signal", "KILL", file}, {"wait", file}, {"stop", "-stop", "KILL", file}} {
			r := bed.Start(t, h, words...)
			code := c.code
			if words[0] == "stop" && code == 1 {
				code = 0 // it says nothing
			} else if r.Wait(t); !strings.Contains(r.Rest(t)+r.Stderr(), c.text) {
				t.Errorf("%s: %v: %s", name, words, r.Stderr())
			}
			r.ExpectCode(t, code)
		}
	}
	r := bed.Start(t, bed.AfterStep(t, time.Hour), "status", "-json", file)
	if line := r.Line(t); !strings.Contains(line, `"code":4,"state":"unsure"`) {
		t.Errorf("status says %s", line)
	}
	if bed.Ended(pid) {
		t.Error("it was hit")
	}
}
