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

// A lock that refuses a start is no secret to the commands: root's, or that of the file's owner.
func TestCommandsWithTrustedLockOnStaleFile(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	const by = `held by PID \d+ \((sh|cat)\), which is no pidleash` // the shell becomes cat after its word
	for way, script := range bed.LockScripts {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			for i, want := range []struct{ content, status, list, error string }{
				{bed.NoSuchPID, `: stale: PID 4194305 does not run; ` + by, `  stale: PID 4194305 does not run; ` + by, `stale: PID 4194305 does not run; ` + by},
				{"", `: empty: ` + by, `  empty: ` + by, `stale: it is empty; ` + by},
			} {
				file := fmt.Sprintf("%s/%d.pid", bed.OpenDir(t), i)
				bed.WriteFile(t, file, want.content, 0o644)
				bed.Lock(t, file, script, 0).Expect(t, "locked")
				for name, state := range map[string]string{"status": want.status, "list": want.list} {
					s := bed.Start(t, bed.How{}, name, file)
					s.ExpectCode(t, 1)
					if text := s.Rest(t); !regexp.MustCompile(state + "\n$").MatchString(text) {
						t.Errorf("%s says %q", name, text)
					}
				}
				command(t, ends(1, want.error), "signal", "TERM", file)
				command(t, ends(1, want.error), "wait", file)
				command(t, ends(4, want.error+"; hint: every start is refused"), "stop", file)
				start := bed.Start(t, bed.How{}, "-pidfile", file, "true")
				start.ExpectCode(t, 120)
				start.ExpectOneLine(t, `already in use, `+by+`; hint: stop it first`)
			}
		})
	}
}
