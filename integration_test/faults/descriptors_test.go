package faults

import (
	"fmt"
	"os/exec"
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

// TestFewDescriptorsLetGo has as few as a start just accepts: the watchdog still lets go of the caller's standard error,
// or who reads that would wait for PROGRAM's end.
func TestFewDescriptorsLetGo(t *testing.T) {
	t.Parallel()
	const start = `x=$(prlimit --nofile=%d "$0" -daemon -stdout out -stderr err -supervisor-pidfile s.pid -pidfile p.pid -- "$1" runs 2>&1)`
	mark, works := bed.CompileC(t, "mark.c"), 0
	for limit := 17; limit < 24; limit++ {
		sh := exec.Command("sh", "-c", fmt.Sprintf(start, limit), bed.Pidleash, mark)
		sh.Dir = bed.OpenDir(t)
		r := bed.Launch(t, sh)
		if r.Wait(t).ExitStatus() == 0 {
			works++
			stop := exec.Command(bed.Pidleash, "stop", "p.pid")
			stop.Dir = sh.Dir
			bed.Must(t, stop.Run())
		}
	}
	if works == 0 || works == 7 {
		t.Errorf("%d of 7 starts work", works)
	}
}
