package file

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// expectStopped fails the test unless PROGRAM was stopped because of its file,
// and pidleash has said so in one line.
func expectStopped(t testing.TB, r *bed.Run, why string) {
	t.Helper()
	r.ExpectSignal(t, syscall.SIGTERM)
	r.ExpectOneLine(t, `^pidleash: pidfile [^ ]*: `+why+`, stopping PID [0-9]+\n$`)
}

func TestRemovalStopsProgram(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, file string)
		why  string
		left string // what is in the directory at the end
	}{
		"unlink":      {func(t *testing.T, file string) { bed.Must(t, os.Remove(file)) }, "removed", ""},
		"rename away": {func(t *testing.T, file string) { bed.Must(t, os.Rename(file, file+".old")) }, "removed", "p.pid.old"},
		"directory removed": {func(t *testing.T, file string) {
			bed.Must(t, os.RemoveAll(filepath.Dir(file)))
			t.Cleanup(func() { os.Mkdir(filepath.Dir(file), 0o755) })
		}, "removed", ""},
		"rename over": {func(t *testing.T, file string) {
			bed.WriteFile(t, file+".new", bed.NoSuchPID, 0o644)
			bed.Must(t, os.Rename(file+".new", file))
		}, "replaced by another file", "p.pid"},
		"other file": {func(t *testing.T, file string) {
			bed.Must(t, os.Remove(file))
			bed.WriteFile(t, file, "somebody else's\n", 0o644)
		}, "replaced by another file", "p.pid"},
		"link": {func(t *testing.T, file string) {
			bed.Must(t, os.Rename(file, file+".old"))
			bed.Must(t, os.Symlink(file+".old", file))
		}, "replaced by another file", "p.pid p.pid.old"},
	} {
		for _, settle := range []string{"100ms", "0"} {
			t.Run(name+" "+settle, func(t *testing.T) {
				t.Parallel()
				dir := bed.OpenDir(t)
				file := dir + "/p.pid"
				// A settle time of 0 may see an other file's path empty.
				why := c.why
				if name != "unlink" && settle == "0" {
					why = "(removed|" + why + ")"
				}
				r, _ := bed.Leashed(t, bed.How{}, "-settle", settle, "-pidfile", file)
				bed.AwaitWatched(t, r, file)
				begin := time.Now()
				c.do(t, file)
				before, _ := os.Lstat(file)
				expectStopped(t, r, why)
				if took := bed.Since(begin); took > bed.ByEvent {
					t.Errorf("it took %v: no event", took)
				}
				if after, err := os.Lstat(file); before != nil && (err != nil || !os.SameFile(before, after)) {
					t.Errorf("what is at the path now was touched: %v", err)
				}
				if c.left != "" {
					bed.ExpectFiles(t, dir, strings.Fields(c.left)...)
				}
			})
		}
	}
}

// No event tells of these: the second look does.
func TestRemovalWithoutEvent(t *testing.T) {
	for name, c := range map[string]struct {
		script string // runs in pidleash's mount namespace; $0 is the directory
		left   bool   // the file is still somewhere, and stays
	}{
		"directory renamed":        {`mv "$0" "$0.old"`, true},
		"parent directory renamed": {`mv "${0%/*}" "${0%/*}.old"`, true},
		"mounted over":             {`mount -t tmpfs none "$0"`, true},
		"lazily unmounted":         {`umount -l "$0"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := bed.OpenDir(t)
			dir := top + "/a/b"
			bed.Must(t, os.MkdirAll(dir, 0o755))
			script := ":"
			if name == "lazily unmounted" {
				script = `mount -t tmpfs none "$0"`
			}
			r, program := bed.Leashed(t, bed.InMountNamespace(t, script, dir), "-pidfile", dir+"/p.pid")
			nsenter := exec.Command("nsenter", "-t", fmt.Sprint(r.PID()), "-m", "sh", "-ec", c.script, dir)
			if out, err := nsenter.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			expectStopped(t, r, "removed")
			var found []string
			filepath.WalkDir(top, func(path string, _ os.DirEntry, _ error) error {
				if filepath.Base(path) == "p.pid" && bed.ReadFile(t, path) == fmt.Sprintln(program) {
					found = append(found, path)
				}
				return nil
			})
			if c.left != (len(found) == 1) {
				t.Errorf("the file is at %q", found)
			}
		})
	}
}

// Between the launch and the watch nothing may be lost. A file that is replaced
// then is never seen by the watch: that finds the new inode, and no event comes.
func TestReplacedBeforeTheWatch(t *testing.T) {
	t.Parallel()
	for range 20 {
		file := bed.OpenDir(t) + "/p.pid"
		bed.WriteFile(t, file+".new", bed.NoSuchPID, 0o644)
		r := bed.Start(t, bed.How{}, "-settle", "0", "-pidfile", file, bed.CompileC(t, "first.c"), "replace", file)
		r.Expect(t, "replaced")
		begin := time.Now()
		expectStopped(t, r, "replaced by another file")
		if took := bed.Since(begin); took > bed.ByEvent {
			t.Fatalf("it took %v: the watch came without a first look", took)
		}
	}
}

func TestRemovedBeforeTheWatch(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	r := bed.Start(t, bed.How{}, "-pidfile", file, "sh", "-c", `rm "$0"; read x`, file)
	expectStopped(t, r, "removed")
}

// A program that cleans up after itself is no victim.
func TestProgramRemovesItsFileLast(t *testing.T) {
	t.Parallel()
	for range 20 {
		file := bed.OpenDir(t) + "/p.pid"
		// The settle time cannot be over before PROGRAM has ended.
		r := bed.Start(t, bed.How{}, "-settle", "10s", "-removed-exit", "9", "-pidfile", file, "sh", "-c", `rm "$0"; exit 5`, file)
		r.ExpectCode(t, 5)
		r.ExpectQuiet(t)
	}
}

// A PROGRAM that removes its file on TERM, and ends within a second of that, is not killed for it.
func TestRemovalBetweenTermAndEnd(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	r := bed.Start(t, bed.How{}, "-stop", "KILL", "-settle", "0", "-pidfile", file, bed.CompileC(t, "first.c"), "remove", file)
	r.Number(t)
	bed.AwaitWatched(t, r, file)
	r.Signal(syscall.SIGTERM)
	r.Expect(t, "removed")
	r.Stdin.Close()
	r.ExpectCode(t, 7)
	if got := r.Rest(t); got != "" {
		t.Errorf("a second TERM came: %q", got)
	}
}

// Control of the above: other signals excuse nothing.
func TestRemovalAfterOtherSignal(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	r, _ := bed.Leashed(t, bed.How{}, "-stop", "KILL", "-settle", "10ms", "-pidfile", file)
	bed.AwaitWatched(t, r, file)
	r.Signal(syscall.SIGWINCH) // ignored by default
	r.Signal(syscall.SIGCONT)
	bed.Must(t, os.Remove(file))
	r.ExpectSignal(t, syscall.SIGKILL)
}

// A removed file frees the path at once. The next start runs beside the old
// PROGRAM, and the old instance never touches the new file.
func TestStartOnAFreedPath(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/p.pid"
	old := bed.Start(t, bed.How{}, "-stop", "TERM", "-pidfile", file, bed.CompileC(t, "first.c"), "ignore")
	oldProgram := old.Number(t)
	bed.AwaitWatched(t, old, file)
	bed.Must(t, os.Remove(file))
	next, program := bed.Leashed(t, bed.How{}, "-pidfile", file)
	want := fmt.Sprintln(program)
	if got := bed.ReadFile(t, file); got != want {
		t.Errorf("the file has %q, want %q", got, want)
	}
	old.AwaitStderr(t, "stopping PID")
	if bed.Ended(oldProgram) {
		t.Error("the old PROGRAM has ended: nothing is shown")
	}
	old.Stdin.Close()
	old.ExpectCode(t, 0)
	if got := bed.ReadFile(t, file); got != want {
		t.Errorf("after the old one's end the file has %q, want %q", got, want)
	}
	if !bed.IsLockedBy(t, file, next.PID()) {
		t.Errorf("the new file is not locked by %d:\n%s", next.PID(), bed.ReadFile(t, "/proc/locks"))
	}
	next.Stdin.Close()
	next.ExpectCode(t, 0)
	next.ExpectQuiet(t)
	bed.ExpectEmptyDir(t, dir)
}
