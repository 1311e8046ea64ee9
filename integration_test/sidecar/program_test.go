package sidecar

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// The process that was started is PROGRAM, with its PID, parent and end.
func TestSidecarIsProgram(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script string
		want   bed.Conclusion
	}{
		{"exit 0", bed.Conclusion{}}, {"exit 3", bed.Conclusion{Code: 3}}, {"kill -TERM $$", bed.Conclusion{Signal: syscall.SIGTERM}},
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.Program = []string{"sh", "-c", `echo $$ $PPID; cat "$0"; read x; ` + c.script, a.PIDFile}
			r := a.Start(t, bed.StartModes[4])
			r.Expect(t, fmt.Sprintf("%d %d", r.PID(), os.Getpid()))
			r.Expect(t, strconv.Itoa(r.PID()))
			r.Tell(t, "go on")
			c.want.Expect(t, r)
			a.Mark.ExpectNobody(t)
			bed.ExpectEmptyDir(t, a.Dir)
		})
	}
}

// In a shell with job control the program leads the process group of its pipeline. The other processes of the pipeline
// do not belong to the program: after the removal they still handle its last output.
func TestSidecarInAPipeline(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Program = []string{"sh", "-c", `trap 'echo last; exit' TERM; sleep 600 & echo up; while :; do wait; done`}
	gate := bed.NewFIFO(t)
	const script = `set -m; gate=$1; shift; "$@" | sh -c 'while read -r x; do echo "$x"; done; read -r x <"$0"; echo end' "$gate"`
	a.How.Before = []string{"bash", "-c", script, "bash", gate}
	r := a.Start(t, bed.StartModes[4])
	r.Expect(t, "up")
	bed.RemoveFile(t, a.PIDFile)
	r.Expect(t, "last")
	bed.Await(t, "the watchdog's end", func() bool { return a.Mark.Watchdog() == 0 })
	bed.OpenGate(t, gate)
	r.Expect(t, "end")
	r.ExpectCode(t, 0)
	a.Mark.ExpectNobody(t)
}
