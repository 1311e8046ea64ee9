package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/watch"
)

// byEvent is how soon after a removal PROGRAM must have been stopped for an
// event to be the cause: events take microseconds, the second look SlowPoll.
const byEvent = watch.SlowPoll - time.Second

// leashed starts a PROGRAM that lives until its standard input ends or TERM
// comes. It returns when PROGRAM runs.
func leashed(t testing.TB, h how, args ...string) (r *run, program int) {
	t.Helper()
	r = start(t, h, append(args, first(t), "hold")...)
	return r, r.number(t)
}

// expectStopped fails the test unless PROGRAM was stopped because of its file,
// and pidleash has said so in one line.
func expectStopped(t testing.TB, r *run, why string) {
	t.Helper()
	r.expectSignal(t, syscall.SIGTERM)
	r.expectOneLine(t, `^pidleash: pidfile [^ ]*: `+why+`, stopping PID [0-9]+\n$`)
}

// awaitWatched returns when pidleash watches the inode that is at the path:
// then it has looked at it and taken it as its own. The kernel lists what is
// watched, proc_pid_fdinfo(5).
func awaitWatched(t testing.TB, r *run, path string) {
	t.Helper()
	st, err := os.Stat(path)
	must(t, err)
	entry := fmt.Sprintf(" ino:%x ", st.Sys().(*syscall.Stat_t).Ino)
	await(t, "pidleash watches "+path, func() bool {
		infos, _ := filepath.Glob(procFile(r.pid(), "fdinfo/*"))
		for _, info := range infos {
			text, _ := os.ReadFile(info)
			for line := range strings.Lines(string(text)) {
				if strings.HasPrefix(line, "inotify ") && strings.Contains(line, entry) {
					return true
				}
			}
		}
		return false
	})
}

func TestRemovalStopsProgram(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, file string)
		why  string
		left string // what is in the directory at the end
	}{
		"unlink":      {func(t *testing.T, file string) { must(t, os.Remove(file)) }, "removed", ""},
		"rename away": {func(t *testing.T, file string) { must(t, os.Rename(file, file+".old")) }, "removed", "p.pid.old"},
		"directory removed": {func(t *testing.T, file string) {
			must(t, os.RemoveAll(filepath.Dir(file)))
			t.Cleanup(func() { os.Mkdir(filepath.Dir(file), 0o755) })
		}, "removed", ""},
		"rename over": {func(t *testing.T, file string) {
			writeFile(t, file+".new", noSuchPID, 0o644)
			must(t, os.Rename(file+".new", file))
		}, "replaced by another file", "p.pid"},
		"other file": {func(t *testing.T, file string) {
			must(t, os.Remove(file))
			writeFile(t, file, "somebody else's\n", 0o644)
		}, "replaced by another file", "p.pid"},
		"link": {func(t *testing.T, file string) {
			must(t, os.Rename(file, file+".old"))
			must(t, os.Symlink(file+".old", file))
		}, "replaced by another file", "p.pid p.pid.old"},
	} {
		for _, settle := range []string{"100ms", "0"} {
			t.Run(name+" "+settle, func(t *testing.T) {
				t.Parallel()
				dir := openDir(t)
				file := dir + "/p.pid"
				// A settle time of 0 may see an other file's path empty.
				why := c.why
				if name != "unlink" && settle == "0" {
					why = "(removed|" + why + ")"
				}
				r, _ := leashed(t, how{}, "-settle", settle, "-pidfile", file)
				awaitWatched(t, r, file)
				begin := time.Now()
				c.do(t, file)
				before, _ := os.Lstat(file)
				expectStopped(t, r, why)
				if took := time.Since(begin); took > byEvent {
					t.Errorf("it took %v: no event", took)
				}
				if after, err := os.Lstat(file); before != nil && (err != nil || !os.SameFile(before, after)) {
					t.Errorf("what is at the path now was touched: %v", err)
				}
				if c.left != "" {
					expectFiles(t, dir, strings.Fields(c.left)...)
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
			top := openDir(t)
			dir := top + "/a/b"
			must(t, os.MkdirAll(dir, 0o755))
			script := ":"
			if name == "lazily unmounted" {
				script = `mount -t tmpfs none "$0"`
			}
			r, program := leashed(t, inMountNamespace(t, script, dir), "-pidfile", dir+"/p.pid")
			nsenter := exec.Command("nsenter", "-t", fmt.Sprint(r.pid()), "-m", "sh", "-ec", c.script, dir)
			if out, err := nsenter.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			expectStopped(t, r, "removed")
			var found []string
			filepath.WalkDir(top, func(path string, _ os.DirEntry, _ error) error {
				if filepath.Base(path) == "p.pid" && readFile(t, path) == fmt.Sprintln(program) {
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
		file := openDir(t) + "/p.pid"
		writeFile(t, file+".new", noSuchPID, 0o644)
		r := start(t, how{}, "-settle", "0", "-pidfile", file, first(t), "replace", file)
		r.expect(t, "replaced")
		begin := time.Now()
		expectStopped(t, r, "replaced by another file")
		if took := time.Since(begin); took > byEvent {
			t.Fatalf("it took %v: the watch came without a first look", took)
		}
	}
}

func TestRemovedBeforeTheWatch(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	r := start(t, how{}, "-pidfile", file, "sh", "-c", `rm "$0"; read x`, file)
	expectStopped(t, r, "removed")
}

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
				file := openDir(t) + "/p.pid"
				r := start(t, how{}, "-settle", c.settle, "-pidfile", file, "sh", "-ec", `echo ready; read x; `+c.script+`; echo done; read x || exit 5`, file)
				r.expect(t, "ready")
				// Before the first watch the new file could be taken for the old.
				awaitWatched(t, r, file)
				r.tell(t, "go")
				r.expect(t, "done")
				awaitWatched(t, r, file)
				// A lock that PROGRAM holds stays PROGRAM's.
				if byPidleash := !strings.HasPrefix(name, "locked"); isLockedBy(t, file, r.pid()) != byPidleash {
					t.Errorf("locked by pidleash: %v, want %v:\n%s", !byPidleash, byPidleash, readFile(t, "/proc/locks"))
				}
				r.expectQuiet(t)
				if end == "removal" {
					must(t, os.Remove(file))
					expectStopped(t, r, "removed")
					return
				}
				r.stdin.Close()
				r.expectCode(t, 5)
				r.expectQuiet(t)
				expectEmptyDir(t, filepath.Dir(file))
			})
		}
	}
}

// isLockedBy reports that the process holds the file's lock. It does not ask by
// locking: for a moment that would be a lock, too.
func isLockedBy(t testing.TB, file string, pid int) bool {
	t.Helper()
	st, err := os.Stat(file)
	must(t, err)
	holder, ino := fmt.Sprintf(" %d ", pid), fmt.Sprintf(":%d ", st.Sys().(*syscall.Stat_t).Ino)
	for range 10 { // what comes and goes meanwhile can hide a line
		for line := range strings.Lines(readFile(t, "/proc/locks")) {
			if strings.Contains(line, " FLOCK ") && strings.Contains(line, holder) && strings.Contains(line, ino) {
				return true
			}
		}
	}
	return false
}

// PROGRAM may be faster than the watch.
func TestRewrittenAtOnce(t *testing.T) {
	t.Parallel()
	for range 20 {
		file := openDir(t) + "/p.pid"
		r := start(t, how{}, "-pidfile", file, "sh", "-ec", `echo $$ >"$0.new"; mv "$0.new" "$0"; echo done; read x || exit 5`, file)
		r.expect(t, "done")
		await(t, "pidleash locks the new file", func() bool { return isLockedBy(t, file, r.pid()) })
		r.stdin.Close()
		r.expectCode(t, 5)
		r.expectQuiet(t)
		expectEmptyDir(t, filepath.Dir(file))
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
			file := openDir(t) + "/p.pid"
			r := start(t, how{}, "-settle", c.settle, "-pidfile", file, "sh", "-ec", c.script, file)
			expectStopped(t, r, c.why)
		})
	}
}

// warnings counts the lines of standard error with the text.
func (r *run) warnings(text string) int { return strings.Count(r.stderr(), text) }

// nudge makes pidleash look at its file: a change of mode is an event.
func nudge(t testing.TB, file string) {
	t.Helper()
	for _, mode := range []os.FileMode{0o600, 0o644} {
		must(t, os.Chmod(file, mode))
	}
}

// nudgeInVain gives pidleash some chances to say once more what it may say once
// only. Nothing tells that it has looked, so this takes a little time.
func nudgeInVain(t testing.TB, file string) {
	t.Helper()
	for range 5 {
		nudge(t, file)
		time.Sleep(50 * time.Millisecond)
	}
}

// Somebody writes another PID into the file itself.
func TestChangedInPlace(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	file := dir + "/p.pid"
	r, program := leashed(t, how{}, "-settle", "10ms", "-pidfile", file)
	awaitWatched(t, r, file)
	must(t, os.WriteFile(file, []byte(noSuchPID), 0o644))
	nudge(t, file)
	r.awaitStderr(t, fmt.Sprintf(`p\.pid: names another PID than %d now, going on\n`, program))
	nudgeInVain(t, file)
	r.stdin.Close()
	r.expectCode(t, 0)
	if r.warnings("going on") != 1 || r.warnings("left there, it names another PID") != 1 || r.warnings("\n") != 2 {
		t.Errorf("want one warning, and one at the end:\n%s", r.stderr())
	}
	if got := readFile(t, file); got != noSuchPID {
		t.Errorf("the file has %q", got)
	}
	expectFiles(t, dir, "p.pid")
}

// A file system that does not answer has not removed anything.
func TestUnknown(t *testing.T) {
	needRoot(t)
	t.Parallel()
	dir := openDir(t)
	file := dir + "/p.pid"
	r, program := leashed(t, asNobody(), "-settle", "10ms", "-pidfile", file)
	awaitWatched(t, r, file)
	must(t, os.Chmod(dir, 0))
	nudge(t, file)
	r.awaitStderr(t, `p\.pid: cannot be looked at, going on: permission denied\n`)
	nudgeInVain(t, file)
	if dead(program) {
		t.Error("PROGRAM has ended")
	}
	// The leash holds again as soon as there are answers.
	must(t, os.Chmod(dir, 0o777))
	must(t, os.Remove(file))
	r.expectSignal(t, syscall.SIGTERM)
	if r.warnings("going on") != 1 || r.warnings("removed, stopping") != 1 || r.warnings("\n") != 2 {
		t.Errorf("want one warning, and one about the removal:\n%s", r.stderr())
	}
}

// A removal that cannot be confirmed must not be looked at without a pause.
func TestUnknownAfterRemoval(t *testing.T) {
	needRoot(t)
	t.Parallel()
	dir := openDir(t)
	file := dir + "/p.pid"
	r, program := leashed(t, asNobody(), "-settle", "3s", "-pidfile", file)
	awaitWatched(t, r, file)
	must(t, os.Rename(file, file+".away"))
	time.Sleep(200 * time.Millisecond) // it looks at once; nothing tells so
	must(t, os.Chmod(dir, 0))
	r.awaitStderr(t, `cannot be looked at, going on`)
	used := switches(t, r.pid())
	time.Sleep(time.Second) // the time in which it must do next to nothing
	if used = switches(t, r.pid()) - used; used > 100 {
		t.Errorf("pidleash has slept and woken %d times in a second", used)
	}
	if dead(program) {
		t.Error("PROGRAM has ended")
	}
	must(t, os.Chmod(dir, 0o777))
	r.expectSignal(t, syscall.SIGTERM)
}

// switches is how often the process has gone to sleep or lost the processor.
func switches(t testing.TB, pid int) (n int) {
	t.Helper()
	statuses, err := filepath.Glob(procFile(pid, "task/*/status"))
	must(t, err)
	for _, status := range statuses {
		for line := range strings.Lines(readFile(t, status)) {
			var count int
			if _, text, ok := strings.Cut(line, "voluntary_ctxt_switches:\t"); ok {
				fmt.Sscan(text, &count)
				n += count
			}
		}
	}
	return n
}

// Without events the path is looked at every second.
func TestPolled(t *testing.T) {
	t.Run(`directly in "/"`, func(t *testing.T) {
		t.Parallel()
		needRoot(t)
		root := openDir(t)
		for name, path := range map[string]string{"pidleash": pidleash, "first": first(t)} {
			writeFile(t, root+"/"+name, readFile(t, path), 0o755)
		}
		h := how{file: "/pidleash", attr: &syscall.SysProcAttr{Chroot: root}, dir: "/"}
		r := start(t, h, "-log-level", "info", "-pidfile", "/p.pid", "/first", "hold")
		r.number(t)
		expectPolled(t, r, root+"/p.pid", `p\.pid: looking every 1s: .*directly in "/"`)
	})
	t.Run("inotify exhausted", func(t *testing.T) {
		t.Parallel()
		const limit = `echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"`
		if err := exec.Command("unshare", "-Ur", "sh", "-ec", limit, "sh", "true").Run(); err != nil {
			missing(t, "user namespaces: %v", err)
		}
		file := openDir(t) + "/p.pid"
		h := how{before: []string{"unshare", "-Ur", "sh", "-ec", limit, "sh"}}
		r, _ := leashed(t, h, "-log-level", "info", "-pidfile", file)
		expectPolled(t, r, file, `p\.pid: looking every 1s: no inotify instance left`)
	})
}

func expectPolled(t *testing.T, r *run, file, why string) {
	t.Helper()
	r.awaitStderr(t, why)
	begin := time.Now()
	must(t, os.Remove(file))
	r.expectSignal(t, syscall.SIGTERM)
	if took := time.Since(begin); took > byEvent {
		t.Errorf("it took %v, want about a second", took)
	}
	if r.warnings("removed, stopping") != 1 || r.warnings("\n") != 2 {
		t.Errorf("want the reason and the removal:\n%s", r.stderr())
	}
}

// A program that cleans up after itself is no victim.
func TestProgramRemovesItsFileLast(t *testing.T) {
	t.Parallel()
	for range 20 {
		file := openDir(t) + "/p.pid"
		// The settle time cannot be over before PROGRAM has ended.
		r := start(t, how{}, "-settle", "10s", "-removed-exit", "9", "-pidfile", file, "sh", "-c", `rm "$0"; exit 5`, file)
		r.expectCode(t, 5)
		r.expectQuiet(t)
	}
}

// After a TERM has been forwarded a removal is PROGRAM's own clean-up.
func TestRemovalAfterTerm(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	r := start(t, how{}, "-stop", "KILL", "-settle", "0", "-pidfile", file, first(t), "remove", file)
	r.number(t)
	awaitWatched(t, r, file)
	r.signal(syscall.SIGTERM)
	r.expect(t, "removed")
	r.stdin.Close()
	r.expectCode(t, 7)
	if got := r.rest(t); got != "" {
		t.Errorf("a second TERM came: %q", got)
	}
}

// Control of the above: other signals excuse nothing.
func TestRemovalAfterOtherSignal(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	r, _ := leashed(t, how{}, "-stop", "KILL", "-settle", "10ms", "-pidfile", file)
	awaitWatched(t, r, file)
	r.signal(syscall.SIGWINCH) // ignored by default
	r.signal(syscall.SIGCONT)
	must(t, os.Remove(file))
	r.expectSignal(t, syscall.SIGKILL)
}

// A removed file frees the path at once. The next start runs beside the old
// PROGRAM, and the old instance never touches the new file.
func TestStartOnAFreedPath(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	file := dir + "/p.pid"
	old := start(t, how{}, "-stop", "TERM", "-pidfile", file, first(t), "ignore")
	oldProgram := old.number(t)
	awaitWatched(t, old, file)
	must(t, os.Remove(file))
	next, program := leashed(t, how{}, "-pidfile", file)
	want := fmt.Sprintln(program)
	if got := readFile(t, file); got != want {
		t.Errorf("the file has %q, want %q", got, want)
	}
	old.awaitStderr(t, "stopping PID")
	if dead(oldProgram) {
		t.Error("the old PROGRAM has ended: nothing is shown")
	}
	old.stdin.Close()
	old.expectCode(t, 0)
	if got := readFile(t, file); got != want {
		t.Errorf("after the old one's end the file has %q, want %q", got, want)
	}
	if !isLockedBy(t, file, next.pid()) {
		t.Errorf("the new file is not locked by %d:\n%s", next.pid(), readFile(t, "/proc/locks"))
	}
	next.stdin.Close()
	next.expectCode(t, 0)
	next.expectQuiet(t)
	expectEmptyDir(t, dir)
}
