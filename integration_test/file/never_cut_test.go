package file

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// The leash is never cut: a removal after a TERM that PROGRAM has outlived goes on in the schedule
// from where that TERM stands.
func TestRemovalAfterTerm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stop string
		got  []syscall.Signal // after the removal, each with CONT
	}{
		{"TERM/200ms/KILL", nil},
		{"INT/1h/TERM/200ms/KILL", nil},
		{"TERM/200ms/INT/200ms/KILL", []syscall.Signal{syscall.SIGINT}},
		{"INT/200ms/KILL", []syscall.Signal{syscall.SIGINT}}, // there is no TERM in it
	} {
		t.Run(c.stop, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "p.pid")
			p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-stop", c.stop)
			p.Signal(syscall.SIGTERM)
			p.Got(t, syscall.SIGTERM)
			p.Signal(syscall.SIGTERM) // a second one is forwarded, too
			p.Got(t, syscall.SIGTERM)
			bed.RemoveFile(t, file)
			for _, sig := range c.got {
				p.GotWithCont(t, sig)
			}
			if rest := p.Rest(t); rest != "" {
				t.Errorf("PROGRAM got more: %q", rest)
			}
			p.ExpectSignal(t, syscall.SIGKILL)
		})
	}
}

// A file that PROGRAM has written itself may vanish after a TERM: PROGRAM cleans up.
func TestCleanUpAfterTerm(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Options = []string{"-settle", "0", "-stop", "KILL"}
	a.Shell(`echo $$ >"$0/own"; mv "$0/own" "` + a.PIDFile + `"
		trap 'rm "` + a.PIDFile + `"; echo removed; read x; exit 7' TERM
		echo ready; while :; do sleep 0.01; done`)
	r := a.Start(t, bed.StartModes[0])
	r.Expect(t, "ready")
	bed.AwaitWatched(t, r, a.PIDFile) // it has taken the file that PROGRAM has written
	r.Signal(syscall.SIGTERM)
	r.Expect(t, "removed")
	// pidleash has looked by then: a file that it made itself is followed by KILL within a second.
	bed.Await(t, "the watch rests no longer", func() bool { return strings.Contains(inotifies(t, r.PID()), "inotify") })
	r.Tell(t, "end")
	r.ExpectCode(t, 7)
}

// inotifies tells what the process watches.
func inotifies(t *testing.T, pid int) (text string) {
	t.Helper()
	dir := bed.ProcFile(pid, "fdinfo")
	entries, err := os.ReadDir(dir)
	bed.Must(t, err)
	for _, e := range entries {
		info, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		text += string(info)
	}
	return text
}
