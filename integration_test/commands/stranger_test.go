package commands

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// A lock of somebody who may not speak for the file hides nothing and holds nothing up: neither that pidleash was
// killed, nor that a stopped one has ended.
func TestCommandsWithStrangersLock(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for way, script := range bed.LockScripts {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/p.pid"
			r, program := bed.Leashed(t, bed.How{}, "-pidfile", file)
			stranger := bed.Lock(t, file, script, bed.Nobody)
			bed.AwaitWaiter(t, file)
			s := bed.Start(t, bed.How{}, "status", file)
			s.ExpectCode(t, 0)
			r.Signal(syscall.SIGKILL)
			stranger.Expect(t, "locked")
			bed.Await(t, "PROGRAM ends", func() bool { return bed.Ended(program) })
			expectStale(t, file, program)

			// The next one, with the same stranger's lock on its file.
			r, program = bed.Leashed(t, bed.How{}, "-pidfile", file)
			stranger = bed.Lock(t, file, script, bed.Nobody)
			bed.AwaitWaiter(t, file)
			command(t, bed.Conclusion{}, "stop", "-timeout", "20s", file)
			r.ExpectSignal(t, syscall.SIGTERM)
			stranger.Expect(t, "locked")
			if !bed.Ended(program) {
				t.Error("PROGRAM runs")
			}
		})
	}
}

func expectStale(t *testing.T, file string, program int) {
	t.Helper()
	s := bed.Start(t, bed.How{}, "status", file)
	s.ExpectCode(t, 1)
	stale := fmt.Sprintf(`stale: PID %d (\(first\) has ended|does not run)`, program)
	if line := s.Line(t); !regexp.MustCompile(stale + "; held by nobody$").MatchString(line) {
		t.Errorf("status says %q", line)
	}
	command(t, ends(1, stale), "signal", "TERM", file)
	command(t, ends(1, stale), "wait", file)
	command(t, bed.Conclusion{}, "stop", file)
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// A stranger's lock on a file that PROGRAM has written itself does not hide who holds it.
func TestStopWithStrangersLockOnRewrittenFile(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, way := range []string{"shared", "exclusive"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			file := dir + "/p.pid"
			r := bed.Start(t, bed.How{}, "-pidfile", file, "-restart", "always", "-restart-delay", "0", "sh", "-c",
				`umask 022; echo $$ >"$0.new"; echo ready; read x; mv "$0.new" "$0"; echo moved; read x`, file)
			r.Expect(t, "ready")
			bed.Lock(t, file+".new", bed.LockScripts[way], bed.Nobody).Expect(t, "locked")
			r.Obey(t, "", "moved")
			bed.AwaitWatched(t, r, file)
			s := bed.Start(t, bed.How{}, "status", file)
			s.ExpectCode(t, 0)
			if line := s.Line(t); !strings.HasSuffix(line, fmt.Sprintf("held by pidleash PID %d", r.PID())) {
				t.Errorf("status says %q", line)
			}
			command(t, bed.Conclusion{}, "stop", "-timeout", "20s", file)
			r.ExpectSignal(t, syscall.SIGTERM)
			bed.ExpectEmptyDir(t, dir)
		})
	}
}
