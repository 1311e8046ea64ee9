package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// PROGRAM writes its PID file itself, as daemons do: into another inode.
func TestRewrittenByProgram(t *testing.T) {
	for name, c := range map[string]struct{ script, settle string }{
		"rename over":          {`echo $$ >"$0.new"; mv "$0.new" "$0"`, "100ms"},
		"rename over, at once": {`echo $$ >"$0.new"; mv "$0.new" "$0"`, "0"},
		// The settle time is only so long that no busy machine can exceed it
		// between the two commands.
		"unlink and create":      {`rm "$0"; echo $$ >"$0"`, "2s"},
		"empty for a while":      {`: >"$0.new"; mv "$0.new" "$0"; sleep 0.2; echo $$ >"$0"`, "10ms"},
		"empty, settle time 0":   {`: >"$0.new"; mv "$0.new" "$0"; sleep 0.2; echo $$ >"$0"`, "0"},
		"locked by PROGRAM":      {`exec 9>"$0.new"; flock 9; echo $$ >&9; mv "$0.new" "$0"`, "100ms"},
		"locked by PROGRAM, old": {`exec 9>"$0.new"; flock 9; echo $$ >&9; rm "$0"; mv "$0.new" "$0"`, "2s"},
	} {
		for _, end := range []string{"PROGRAM ends", "removal"} {
			t.Run(name+", "+end, func(t *testing.T) {
				t.Parallel()
				file := bed.OpenDir(t) + "/p.pid"
				r := bed.Start(t, bed.How{}, "-settle", c.settle, "-pidfile", file, "sh", "-ec", `echo ready; read x; `+c.script+`; echo done; read x || exit 5`, file)
				r.Expect(t, "ready")
				// Before the first watch the new file could be taken for the old.
				bed.AwaitWatched(t, r, file)
				r.Tell(t, "go")
				r.Expect(t, "done")
				bed.AwaitWatched(t, r, file)
				// A lock that PROGRAM holds stays PROGRAM's.
				if byPidleash := !strings.HasPrefix(name, "locked"); bed.IsLockedBy(t, file, r.PID()) != byPidleash {
					t.Errorf("locked by pidleash: %v, want %v:\n%s", !byPidleash, byPidleash, bed.ReadFile(t, "/proc/locks"))
				}
				r.ExpectQuiet(t)
				if end == "removal" {
					bed.Must(t, os.Remove(file))
					expectStopped(t, r, "removed")
					return
				}
				r.Stdin.Close()
				r.ExpectCode(t, 5)
				r.ExpectQuiet(t)
				bed.ExpectEmptyDir(t, filepath.Dir(file))
			})
		}
	}
}

// PROGRAM may be faster than the watch.
func TestRewrittenAtOnce(t *testing.T) {
	t.Parallel()
	for range 20 {
		file := bed.OpenDir(t) + "/p.pid"
		r := bed.Start(t, bed.How{}, "-pidfile", file, "sh", "-ec", `echo $$ >"$0.new"; mv "$0.new" "$0"; echo done; read x || exit 5`, file)
		r.Expect(t, "done")
		bed.Await(t, "pidleash locks the new file", func() bool { return bed.IsLockedBy(t, file, r.PID()) })
		r.Stdin.Close()
		r.ExpectCode(t, 5)
		r.ExpectQuiet(t)
		bed.ExpectEmptyDir(t, filepath.Dir(file))
	}
}

// Control of the above: the patience ends.
func TestRewrittenTooLate(t *testing.T) {
	for name, c := range map[string]struct{ script, settle, why string }{
		"settle time over": {`rm "$0"; read x`, "10ms", "removed"},
		"stays empty":      {`: >"$0.new"; mv "$0.new" "$0"; read x`, "10ms", "replaced by another file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/p.pid"
			r := bed.Start(t, bed.How{}, "-settle", c.settle, "-pidfile", file, "sh", "-ec", c.script, file)
			expectStopped(t, r, c.why)
		})
	}
}

// Somebody writes another PID into the file itself.
func TestChangedInPlace(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/p.pid"
	r, program := bed.Leashed(t, bed.How{}, "-settle", "10ms", "-pidfile", file)
	bed.AwaitWatched(t, r, file)
	bed.Must(t, os.WriteFile(file, []byte(bed.NoSuchPID), 0o644))
	bed.Nudge(t, file)
	r.AwaitStderr(t, fmt.Sprintf(`p\.pid: names another PID than %d now, going on\n`, program))
	bed.NudgeInVain(t, file)
	r.Stdin.Close()
	r.ExpectCode(t, 0)
	if r.Warnings("going on") != 1 || r.Warnings("left there, it names another PID") != 1 || r.Warnings("\n") != 2 {
		t.Errorf("want one warning, and one at the end:\n%s", r.Stderr())
	}
	if got := bed.ReadFile(t, file); got != bed.NoSuchPID {
		t.Errorf("the file has %q", got)
	}
	bed.ExpectFiles(t, dir, "p.pid")
}
