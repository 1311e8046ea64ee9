package exit

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// waitForAll has a PROGRAM that ends with 4 and leaves a child, which waits at the gate.
func waitForAll(t *testing.T, child string, options ...string) (a *bed.Attempt, r *bed.Run) {
	a = bed.NewAttempt(t)
	a.NewGate(t)
	a.Options = append([]string{"-wait-all", "-settle", "0"}, options...)
	a.Shell(`(` + child + `) <"$0/gate" & exit 4`)
	r = a.Start(t, bed.StartModes[0])
	awaitProgramsEnd(t, a, r)
	return a, r
}

// awaitProgramsEnd returns when the file names pidleash: the program has ended, and not all of its descendants have.
func awaitProgramsEnd(t *testing.T, a *bed.Attempt, r *bed.Run) {
	t.Helper()
	bed.Await(t, "the file names pidleash", func() bool {
		text, _ := os.ReadFile(a.PIDFile)
		return string(text) == strconv.Itoa(r.PID())+"\n"
	})
}

func TestWaitAll(t *testing.T) {
	t.Parallel()
	a, r := waitForAll(t, `read x`)
	a.Open(t)
	bed.Conclusion{Code: 4}.Expect(t, r)
	a.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, a.Dir)
}

// Those who are left get the signals, and are stopped when the file is removed.
func TestWaitAllStops(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stop func(*testing.T, *bed.Attempt, *bed.Run)
		line string
	}{
		"by a signal": {func(_ *testing.T, _ *bed.Attempt, r *bed.Run) { r.Signal(syscall.SIGTERM) }, ""},
		"by a removal": {func(t *testing.T, a *bed.Attempt, _ *bed.Run) { bed.RemoveFile(t, a.PIDFile) },
			`pidfile .*: removed, stopping the descendants that are left`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := waitForAll(t, `exec sleep 600`)
			a.Open(t)
			bed.Await(t, "the child sleeps", func() bool { return isChildSleeping(r) })
			c.stop(t, a, r)
			bed.Conclusion{Code: 4, Line: c.line}.Expect(t, r)
			a.Mark.ExpectNobody(t)
			bed.ExpectEmptyDir(t, a.Dir)
		})
	}
}

// A restart comes when all have ended.
func TestWaitAllRestarts(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.NewGate(t)
	a.Options = []string{"-wait-all", "-restart", "on-failure", "-restart-delay", "0"}
	a.Shell(`test -e "$0/again" && exit 0; : >"$0/again"; { read x; test ! -e "$0/done" && : >"$0/first"; } <"$0/gate" & exit 4`)
	r := a.Start(t, bed.StartModes[0])
	awaitProgramsEnd(t, a, r)
	a.Open(t)
	bed.Conclusion{}.Expect(t, r)
	bed.ExpectFiles(t, a.Other, "again", "first", "gate")
}

func isChildSleeping(r *bed.Run) bool {
	for _, pid := range bed.Descendants(r.PID()) {
		name, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
		if string(name) == "sleep\n" {
			return true
		}
	}
	return false
}
