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
