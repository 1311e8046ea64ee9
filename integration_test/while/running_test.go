package while

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// A served is a process with a PID file that other programs live by.
type served struct {
	pid  int
	kill func()
}

// serveDaemon is a process without pidleash.
func serveDaemon(t testing.TB) served {
	t.Helper()
	r := bed.Launch(t, exec.Command(bed.CompileC(t, "first.c"), "hold"))
	return served{r.Number(t), func() { r.Signal(syscall.SIGKILL); <-r.Done }}
}

// names has the file say the PID, in one step.
func (s served) names(t testing.TB, file string) {
	t.Helper()
	bed.WriteFile(t, file+".new", fmt.Sprintln(s.pid), 0o644)
	bed.Must(t, os.Rename(file+".new", file))
}

func TestWhileRunningPidleash(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/db.pid"
	r := startWaiting(t, bed.How{}, "-while-running", file)
	begin := time.Now()
	db, _ := bed.Leashed(t, bed.How{}, "-restart-signal", "HUP", "-pidfile", file)
	program := expectStarted(r, t, begin)
	// A restart of the other one is a PID after another.
	db.Signal(syscall.SIGHUP)
	second := db.Number(t)
	bed.AwaitWatched(t, r, file)
	if got := bed.PIDIn(t, file); got != second {
		t.Errorf("%s names %d, want %d", file, got, second)
	}
	if bed.Ended(program) {
		t.Fatalf("a restart has ended PROGRAM:\n%s", r.Stderr())
	}
	begin = time.Now()
	leave(db, t)
	r.ExpectSignal(t, syscall.SIGTERM)
	if took := bed.Since(begin); took > bed.ByEvent {
		t.Errorf("it took %v: no event", took)
	}
	if r.Warnings("while-running "+file+": not running, stopping PID") != 1 || r.Warnings("\n") != 2 {
		t.Errorf("want one line about the end:\n%s", r.Stderr())
	}
}

// It names pidleash while that waits itself, which is as good as running.
func TestWhileRunningAWait(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	db := startWaiting(t, bed.How{}, "-pidfile", dir+"/db.pid", "-while", dir+"/file")
	r, _ := bed.Leashed(t, bed.How{}, "-while-running", dir+"/db.pid")
	bed.WriteFile(t, dir+"/file", "", 0o644)
	db.Number(t)
	bed.AwaitWatched(t, r, dir+"/db.pid")
	leave(r, t)
	r.ExpectQuiet(t)
}

// The file of a process that has died is as good as none, wherever it is.
func TestWhileRunningDies(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/db.pid"
	db := serveDaemon(t)
	db.names(t, file)
	r, program := bed.Leashed(t, bed.How{}, "-while-running", file)
	begin := time.Now()
	db.kill()
	expectShut(r, t, begin, "while-running "+file+": not running")
	if _, err := os.Lstat(file); err != nil {
		t.Errorf("the file is not pidleash's: %v", err)
	}
	if !bed.Gone(program) {
		t.Error("PROGRAM is left")
	}
	// Control: to -while the file is all.
	r, _ = bed.Leashed(t, bed.How{}, "-while", file)
	leave(r, t)
}

func TestWhileRunningRemoved(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/db.pid"
	serveDaemon(t).names(t, file)
	r, _ := bed.Leashed(t, bed.How{}, "-while-running", file)
	bed.AwaitWatched(t, r, file)
	begin := time.Now()
	bed.Must(t, os.Remove(file))
	expectShut(r, t, begin, "while-running "+file+": not running")
}

// What is at the path names nobody who runs: then pidleash waits until it does.
func TestWhileRunningWaits(t *testing.T) {
	db := serveDaemon(t)
	for name, before := range map[string]func(t *testing.T, file string){
		"stale":   func(t *testing.T, file string) { bed.WriteFile(t, file, bed.NoSuchPID, 0o644) },
		"empty":   func(t *testing.T, file string) { bed.WriteFile(t, file, "", 0o644) },
		"garbage": func(t *testing.T, file string) { bed.WriteFile(t, file, "a line of a log\n", 0o644) },
		"recycled": func(t *testing.T, file string) {
			db.names(t, file)
			bed.Must(t, os.Chtimes(file, bed.LongAgo, bed.LongAgo))
		},
		"zombie": func(t *testing.T, file string) {
			// Its parent does not wait for it.
			r := bed.Launch(t, exec.Command("sh", "-c", "sleep 600 & echo $!; exec "+bed.CompileC(t, "first.c")+" hold"))
			pid := r.Number(t)
			r.Number(t)
			bed.Must(t, syscall.Kill(pid, syscall.SIGKILL))
			bed.Await(t, "there is a zombie", func() bool { return bed.ProcessState(pid) == "Z" })
			served{pid: pid}.names(t, file)
		},
		"thread":  func(t *testing.T, file string) { served{pid: threadOf(t, os.Getpid())}.names(t, file) },
		"nothing": func(*testing.T, string) {},
	} {
		for way, appear := range map[string]func(t *testing.T, file string){
			"renamed": func(t *testing.T, file string) { db.names(t, file) },
			"written": func(t *testing.T, file string) { bed.Must(t, os.WriteFile(file, fmt.Appendln(nil, db.pid), 0o644)) },
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				file := bed.OpenDir(t) + "/db.pid"
				before(t, file)
				r := startWaiting(t, bed.How{}, "-while-running", file)
				begin := time.Now()
				appear(t, file)
				expectStarted(r, t, begin)
				leave(r, t)
				want := "pidleash: waiting for " + file + "\n"
				if name == "garbage" { // nobody writes that into a PID file: it may be the wrong one
					want = "pidleash: while-running " + file + ": is not a PID file\n" + want
				}
				if got := r.Stderr(); got != want {
					t.Errorf("standard error has %q, want %q", got, want)
				}
			})
		}
	}
}

// threadOf is a thread of a process other than its first, which /proc shows likewise.
func threadOf(t testing.TB, pid int) (thread int) {
	t.Helper()
	entries, err := os.ReadDir(bed.ProcFile(pid, "task"))
	bed.Must(t, err)
	for _, e := range entries {
		if thread, err = strconv.Atoi(e.Name()); err == nil && thread != pid {
			return thread
		}
	}
	t.Fatalf("PID %d has one thread only", pid)
	return 0
}

// The next process writes its PID and the last one ends, in whatever order.
func TestWhileRunningSuccessor(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]time.Duration{"before": 0, "after": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/db.pid"
			db, next := serveDaemon(t), serveDaemon(t)
			db.names(t, file)
			p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-settle", settle.String(), "-stop", "TERM", "-while-running", file)
			bed.AwaitWatched(t, p.Run, file)
			begin := time.Now()
			if name == "before" {
				next.names(t, file)
				bed.AwaitWatched(t, p.Run, file)
				db.kill()
			} else {
				db.kill()
				p.RoundTrips(t)
				next.names(t, file)
				bed.AwaitWatched(t, p.Run, file)
				time.Sleep(time.Until(begin.Add(settle + 500*time.Millisecond))) // the end would count by now
			}
			p.RoundTrips(t)
			p.ExpectQuiet(t)
			next.kill()
			p.GotWithCont(t, syscall.SIGTERM)
			p.Finish(t)
			p.ExpectOneLine(t, "while-running "+file+": not running, stopping PID ")
		})
	}
}

// However often the file changes between two that live, nothing piles up.
func TestWhileRunningLeaksNothing(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/db.pid"
	both := []served{serveDaemon(t), serveDaemon(t)}
	both[0].names(t, file)
	r, _ := bed.Leashed(t, bed.How{}, "-while-running", file)
	bed.AwaitWatched(t, r, file)
	count := func() int {
		fds, err := os.ReadDir(bed.ProcFile(r.PID(), "fd"))
		bed.Must(t, err)
		return len(fds)
	}
	before := count()
	for i := range 50 {
		both[(i+1)%2].names(t, file)
		bed.AwaitWatched(t, r, file)
	}
	bed.Await(t, fmt.Sprintf("it has %d descriptors again", before), func() bool { return count() <= before+2 })
	begin := time.Now()
	both[0].kill()
	expectShut(r, t, begin, "while-running "+file+": not running")
}

// As root, a file says nothing that its writers could not do themselves.
func TestWhileRunningUntrusted(t *testing.T) {
	bed.NeedRoot(t)
	for name, spoil := range map[string]func(t *testing.T, file string){
		"mode":  func(t *testing.T, file string) { bed.Must(t, os.Chmod(file, 0o666)) },
		"owner": func(t *testing.T, file string) { bed.Must(t, os.Chown(file, bed.Nobody, bed.Nobody)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/db.pid"
			db := serveDaemon(t)
			db.names(t, file)
			spoil(t, file)
			r := startWaiting(t, bed.How{}, "-while-running", file)
			r.AwaitStderr(t, "while-running "+file+": .*\n")
			bed.NudgeInVain(t, file)
			bed.Must(t, os.Chown(file, 0, 0))
			bed.Must(t, os.Chmod(file, 0o644))
			r.Number(t)
			if r.Warnings("while-running "+file+": ") != 1 || r.Warnings("\n") != 2 {
				t.Errorf("want one warning:\n%s", r.Stderr())
			}
			begin := time.Now()
			spoil(t, file)
			r.ExpectSignal(t, syscall.SIGTERM)
			if took := bed.Since(begin); took > bed.ByEvent {
				t.Errorf("it took %v: no event", took)
			}
			if r.Warnings("while-running "+file+": ") != 3 || r.Warnings(", stopping PID ") != 1 {
				t.Errorf("want one warning more, and the end:\n%s", r.Stderr())
			}
		})
	}
	t.Run("other users take it", func(t *testing.T) {
		t.Parallel()
		file := bed.OpenDir(t) + "/db.pid"
		serveDaemon(t).names(t, file)
		bed.Must(t, os.Chmod(file, 0o666))
		r, _ := bed.Leashed(t, bed.AsNobody(), "-while-running", file)
		leave(r, t)
		r.ExpectQuiet(t)
	})
}

// A file system that does not answer has ended nobody; but the process itself can.
func TestWhileRunningUnknown(t *testing.T) {
	bed.NeedRoot(t)
	for _, end := range []string{"file removed", "process ends"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			file := dir + "/db.pid"
			db := serveDaemon(t)
			db.names(t, file)
			r, program := bed.Leashed(t, bed.AsNobody(), "-settle", "10ms", "-while-running", file)
			bed.AwaitWatched(t, r, file)
			bed.Must(t, os.Chmod(dir, 0))
			bed.Nudge(t, file)
			r.AwaitStderr(t, "while-running "+file+": .*permission denied\n")
			bed.NudgeInVain(t, file)
			if bed.Ended(program) {
				t.Fatalf("PROGRAM has ended:\n%s", r.Stderr())
			}
			begin := time.Now()
			if end == "process ends" {
				db.kill()
			} else {
				bed.Must(t, os.Chmod(dir, 0o777))
				bed.Must(t, os.Remove(file))
			}
			r.ExpectSignal(t, syscall.SIGTERM)
			if took := bed.Since(begin); took > bed.ByEvent {
				t.Errorf("it took %v: no event", took)
			}
			if r.Warnings("permission denied") != 1 || r.Warnings("not running, stopping") != 1 || r.Warnings("\n") != 2 {
				t.Errorf("want one warning, and one about the end:\n%s", r.Stderr())
			}
		})
	}
}

// While no program runs pidleash waits for children that it was started with, and as
// PID 1 for all that falls to it.
func TestWhileReapsOthers(t *testing.T) {
	t.Parallel()
	t.Run("children", func(t *testing.T) {
		t.Parallel()
		dir := bed.OpenDir(t)
		h := bed.How{Before: []string{"sh", "-c", `sleep 0.3 & exec "$@"`, "sh"}}
		r := bed.Start(t, h, "-log-level", "info", "-while", dir+"/file", "--", bed.CompileC(t, "first.c"), "hold")
		r.AwaitStderr(t, `pidleash: waiting for /`)
		bed.Await(t, "the child has been waited for", func() bool { return len(bed.ChildPIDs(r.PID())) == 0 })
		r.Signal(syscall.SIGTERM)
		r.ExpectSignal(t, syscall.SIGTERM)
	})
	t.Run("PID 1", func(t *testing.T) {
		t.Parallel()
		bed.NeedRoot(t)
		dir := bed.OpenDir(t)
		r := startWaiting(t, bed.AsPID1(), "-while", dir+"/file")
		for range 2 {
			sh(t, fmt.Sprintf("nsenter -t %d -p sh -c '(sleep 0.1 & echo >\"$0\")' \"$0/ran\"", r.PID()), dir)
			bed.Await(t, "the orphan has been waited for", func() bool { return len(bed.ChildPIDs(r.PID())) == 0 })
		}
		r.Signal(syscall.SIGTERM)
		r.ExpectCode(t, 128+int(syscall.SIGTERM))
	})
}
