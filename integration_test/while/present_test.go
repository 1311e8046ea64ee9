package while

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// startWaiting runs pidleash before a PROGRAM that lives until its standard input
// ends. It returns when pidleash waits for the files that the options name.
func startWaiting(t testing.TB, h bed.How, options ...string) *bed.Run {
	t.Helper()
	r := bed.Start(t, h, append(append([]string{"-log-level", "info"}, options...), "--", bed.CompileC(t, "first.c"), "hold")...)
	r.AwaitStderr(t, `pidleash: waiting for /`)
	if programs := bed.Descendants(r.PID()); len(programs) > 0 {
		t.Fatalf("it waits, and PROGRAM runs as PID %v", programs)
	}
	return r
}

// expectStarted fails the test unless an event makes pidleash start PROGRAM.
func expectStarted(r *bed.Run, t testing.TB, begin time.Time) (program int) {
	t.Helper()
	program = r.Number(t)
	if took := bed.Since(begin); took > bed.ByEvent {
		t.Errorf("it took %v: no event", took)
	}
	return program
}

// leave lets PROGRAM end by itself, and pidleash with it.
func leave(r *bed.Run, t testing.TB) {
	t.Helper()
	r.Stdin.Close()
	r.ExpectCode(t, 0)
}

// expectNeverStarted fails the test if PROGRAM has said a word.
func expectNeverStarted(r *bed.Run, t testing.TB) {
	t.Helper()
	if text := r.Rest(t); text != "" {
		t.Errorf("PROGRAM was started and wrote %q", text)
	}
}

// expectShut fails the test unless an event has made pidleash stop PROGRAM, and it
// has said in one line for which file.
func expectShut(r *bed.Run, t testing.TB, begin time.Time, why string) {
	t.Helper()
	r.ExpectSignal(t, syscall.SIGTERM)
	if took := bed.Since(begin); took > bed.ByEvent {
		t.Errorf("it took %v: no event", took)
	}
	r.ExpectOneLine(t, `^pidleash: `+why+`, stopping PID [0-9]+\n$`)
}

func sh(t testing.TB, script, dir string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script, dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// presences are what counts as FILE at $0/file.
var presences = map[string]string{
	"empty file": `: >"$0/file"`,
	"file":       `echo 1 >"$0/file"`,
	"directory":  `mkdir "$0/file"`,
	"fifo":       `mkfifo "$0/file"`,
	"unreadable": `: >"$0/file"; chmod 0 "$0/file"`,
	"link":       `: >"$0/other"; ln -s other "$0/file"`,
}

func TestWhilePresent(t *testing.T) {
	for name, script := range presences {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := bed.How{}
			if name == "unreadable" {
				bed.NeedRoot(t)
				h = bed.AsNobody()
			}
			dir := bed.OpenDir(t)
			file := dir + "/file"
			sh(t, script, dir)
			r, program := bed.Leashed(t, h, "-settle", "0", "-while", file)
			// Another inode is a file as good, even for a moment's look. What may not
			// be read cannot be watched, inotify(7): it is looked at every second.
			if name != "directory" && name != "unreadable" {
				bed.AwaitWatched(t, r, file)
				bed.WriteFile(t, dir+"/new", "", 0o600)
				bed.Must(t, os.Rename(dir+"/new", file))
				bed.AwaitWatched(t, r, file)
			}
			if bed.Ended(program) {
				t.Fatalf("another file at the path has ended PROGRAM:\n%s", r.Stderr())
			}
			r.ExpectQuiet(t)
			begin := time.Now()
			bed.Must(t, os.Remove(file))
			expectShut(r, t, begin, "while "+file+": gone")
		})
	}
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		file := bed.OpenDir(t) + "/file"
		socket, err := net.Listen("unix", file)
		bed.Must(t, err)
		defer socket.Close()
		r, _ := bed.Leashed(t, bed.How{}, "-while", file)
		begin := time.Now()
		socket.Close()
		expectShut(r, t, begin, "while "+file+": gone")
	})
}

func TestWhileGone(t *testing.T) {
	for name, script := range map[string]string{
		"unlink":            `rm "$0/a/b/file"`,
		"rename":            `mv "$0/a/b/file" "$0/a/b/other"`,
		"directory removed": `rm -r "$0/a"`,
		"directory is one":  `rm -r "$0/a/b"; : >"$0/a/b"`,
		"dangling link":     `ln -s nothing "$0/a/b/link"; mv "$0/a/b/link" "$0/a/b/file"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			file := dir + "/a/b/file"
			sh(t, `mkdir -p "$0/a/b"; : >"$0/a/b/file"`, dir)
			r, _ := bed.Leashed(t, bed.How{}, "-while", file)
			bed.AwaitWatched(t, r, file)
			begin := time.Now()
			sh(t, script, dir)
			expectShut(r, t, begin, "while "+file+": gone")
		})
	}
}

// No event tells of a parent directory that is renamed, nor of a link whose target
// stays.
func TestWhileGoneWithoutEvent(t *testing.T) {
	for name, script := range map[string]string{
		"directory renamed": `mv "$0/a" "$0/c"`,
		"link removed":      `rm "$0/a/b/file"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			sh(t, `mkdir -p "$0/a/b"; : >"$0/other"; ln -s ../../other "$0/a/b/file"`, dir)
			r, _ := bed.Leashed(t, bed.How{}, "-while", dir+"/a/b/file")
			sh(t, script, dir)
			r.ExpectSignal(t, syscall.SIGTERM)
		})
	}
}

// A file system that does not answer has not removed anything.
func TestWhileUnknown(t *testing.T) {
	bed.NeedRoot(t)
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/file"
	bed.WriteFile(t, file, "", 0o644)
	r, program := bed.Leashed(t, bed.AsNobody(), "-settle", "10ms", "-while", file)
	bed.AwaitWatched(t, r, file)
	bed.Must(t, os.Chmod(dir, 0))
	bed.Nudge(t, file)
	r.AwaitStderr(t, `while `+file+`: cannot be looked at: permission denied\n`)
	bed.NudgeInVain(t, file)
	if bed.Ended(program) {
		t.Error("PROGRAM has ended")
	}
	bed.Must(t, os.Chmod(dir, 0o777))
	bed.Must(t, os.Remove(file))
	r.ExpectSignal(t, syscall.SIGTERM)
	if r.Warnings("permission denied") != 1 || r.Warnings("gone, stopping") != 1 || r.Warnings("\n") != 2 {
		t.Errorf("want one warning, and one about the removal:\n%s", r.Stderr())
	}
}

func TestWhileSeveral(t *testing.T) {
	for _, gone := range []string{"one", "two", "three"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			var options []string
			for _, name := range []string{"one", "two", "three"} {
				options = append(options, "-while", dir+"/a/"+name)
			}
			r := startWaiting(t, bed.How{}, options...)
			bed.Must(t, os.Mkdir(dir+"/a", 0o755))
			for _, name := range []string{"three", "one"} {
				bed.WriteFile(t, dir+"/a/"+name, "", 0o644)
				bed.AwaitWatched(t, r, dir+"/a/"+name)
				if programs := bed.Descendants(r.PID()); len(programs) > 0 {
					t.Fatalf("%s/a/two is missing, and PROGRAM runs as PID %v", dir, programs)
				}
			}
			begin := time.Now()
			bed.WriteFile(t, dir+"/a/two", "", 0o644)
			expectStarted(r, t, begin)
			bed.AwaitWatched(t, r, dir+"/a/two")
			begin = time.Now()
			bed.Must(t, os.Remove(dir+"/a/"+gone))
			r.ExpectSignal(t, syscall.SIGTERM)
			if took := bed.Since(begin); took > bed.ByEvent {
				t.Errorf("it took %v: no event", took)
			}
			if r.Warnings("while "+dir+"/a/"+gone+": gone, stopping") != 1 {
				t.Errorf("want the file that is gone:\n%s", r.Stderr())
			}
		})
	}
}

// PROGRAM gets what it would have got: the watches are there before it.
func TestWhileHidesItsDescriptors(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	plain := bed.Launch(t, exec.Command(bed.CompileC(t, "first.c"), "hold"))
	bed.WriteFile(t, dir+"/file", "", 0o644)
	bed.WriteFile(t, dir+"/running.pid", fmt.Sprintln(plain.Number(t)), 0o644)
	r := startWaiting(t, bed.How{}, "-pidfile", dir+"/p.pid", "-while", dir+"/file", "-while-running", dir+"/running.pid", "-while", dir+"/late")
	bed.WriteFile(t, dir+"/late", "", 0o644)
	bed.ExpectDescriptors(t, r.Number(t), plain.PID())
	leave(r, t)
}

// As long as nothing happens pidleash sleeps. Over this time it may look once more, and
// the runtime wakes a thread now and then.
func TestWhileIsIdle(t *testing.T) {
	for name, present := range map[string]bool{"waiting": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			options := []string{"-pidfile", dir + "/p.pid", "-while", dir + "/file", "-while-running", dir + "/running.pid"}
			var r *bed.Run
			if present {
				bed.WriteFile(t, dir+"/file", "", 0o644)
				bed.WriteFile(t, dir+"/running.pid", fmt.Sprintln(os.Getpid()), 0o644)
				r, _ = bed.Leashed(t, bed.How{}, options...)
			} else {
				r = startWaiting(t, bed.How{}, options...)
			}
			time.Sleep(500 * time.Millisecond) // it falls asleep
			used := bed.Switches(t, r.PID())
			time.Sleep(3 * time.Second) // the time in which it must do next to nothing
			if used = bed.Switches(t, r.PID()) - used; used > 50 {
				t.Errorf("pidleash has slept and woken %d times in three seconds", used)
			}
		})
	}
}

// Without events the paths are looked at every second.
func TestWhilePolled(t *testing.T) {
	t.Parallel()
	const limit = `echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"`
	if err := exec.Command("unshare", "-Ur", "sh", "-ec", limit, "sh", "true").Run(); err != nil {
		bed.Missing(t, "user namespaces: %v", err)
	}
	file := bed.OpenDir(t) + "/file"
	r := startWaiting(t, bed.How{Before: []string{"unshare", "-Ur", "sh", "-ec", limit, "sh"}}, "-while", file)
	r.AwaitStderr(t, "while "+file+": looking every 1s: no inotify instance left")
	begin := time.Now()
	bed.WriteFile(t, file, "", 0o644)
	expectStarted(r, t, begin)
	begin = time.Now()
	bed.Must(t, os.Remove(file))
	r.ExpectSignal(t, syscall.SIGTERM)
	if took := bed.Since(begin); took > bed.ByEvent {
		t.Errorf("it took %v, want about a second", took)
	}
}
