package faults

import (
	"fmt"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// TestFewDescriptors has ever fewer of them: either the leash holds, or nothing has happened.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		if strings.Contains(m.Name, "forking") { // it stays in the foreground
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			works, refused := 0, 0
			for limit := 4; limit < 30; limit++ {
				if fewDescriptors(t, m, limit) {
					works++
				} else {
					refused++
				}
				if t.Failed() {
					t.Fatalf("with %d descriptors", limit)
				}
			}
			if works == 0 || refused == 0 {
				t.Errorf("%d starts work, %d are refused", works, refused)
			}
		})
	}
}

// fewDescriptors reports that PROGRAM was started.
func fewDescriptors(t *testing.T, m bed.StartMode, limit int) bool {
	a := bed.NewAttempt(t)
	a.How.Before = []string{"prlimit", fmt.Sprintf("--nofile=%d", limit)}
	a.Options = []string{"-settle", "0", "-stop", "TERM/1s/KILL"}
	a.Program = []string{bed.CompileC(t, "mark.c"), a.Other + "/runs"}
	r := a.Start(t, m)
	runs := func() bool { return !bed.IsGone(a.Other + "/runs") }
	hasEnded := func() bool { return len(bed.StillRunning([]*bed.Run{r})) == 0 }
	bed.Await(t, "PROGRAM runs or pidleash has ended", func() bool { return runs() || hasEnded() })
	if m.Name == "daemon" || m.Name == "daemon supervisor" {
		r.Wait(t)
	}
	if !runs() && (m.Name == "foreground" || m.Name == "sidecar" || r.Wait(t).ExitStatus() != 0) {
		bed.Conclusion{Code: 125, Line: "open files: pidleash needs .*; hint: ulimit -n"}.Expect(t, r)
		a.Mark.ExpectNobody(t)
		bed.ExpectEmptyDir(t, a.Dir)
		return false
	}
	bed.Await(t, "PROGRAM runs", runs)
	bed.RemoveFile(t, a.PIDFile)
	a.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, a.Dir)
	if text := r.Stderr(); strings.Contains(text, "goroutine") {
		t.Errorf("pidleash has crashed:\n%s", text)
	}
	return true
}
