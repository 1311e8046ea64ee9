package restart

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// A watcher looks at a PID file as fast as it can: what it shall never see is that it
// is absent, incomplete or not locked, or that it names anybody but pidleash and
// children of it that have not been waited for.
type watcher struct {
	file  string
	leash int
	quit  chan struct{}
	wg    sync.WaitGroup
	looks int
	named map[int]bool
	bad   []string
}

func watchFile(r *restarted) *watcher {
	w := &watcher{file: r.file, leash: r.PID(), quit: make(chan struct{}), named: map[int]bool{}}
	w.wg.Go(func() {
		for {
			select {
			case <-w.quit:
				return
			default:
				w.look()
			}
		}
	})
	return w
}

var completePID = regexp.MustCompile(`^[0-9]+\n$`)

func (w *watcher) look() {
	w.looks++
	file, err := os.Open(w.file)
	if err != nil {
		w.complain("%v", err)
		return
	}
	defer file.Close()
	var buffer [32]byte
	n, _ := file.Read(buffer[:])
	if text := string(buffer[:n]); !completePID.MatchString(text) {
		w.complain("the file has %q", text)
		return
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(buffer[:n])))
	w.named[pid] = true
	// Who can take the lock would have to let it go again: the inode is not used any
	// more, or nobody has locked it.
	if unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil && w.isThere(file) {
		w.complain("the file with %d is not locked", pid)
	}
	if pid != w.leash && !isChildOf(pid, w.leash) && w.isThere(file) {
		w.complain("the file names %d, which is nobody or somebody else", pid)
	}
}

// isThere reports that the file is still the one at the path.
func (w *watcher) isThere(file *os.File) bool {
	mine, err1 := file.Stat()
	there, err2 := os.Lstat(w.file)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// isChildOf is true for a zombie, too.
func isChildOf(pid, parent int) bool {
	stat, err := os.ReadFile(bed.ProcFile(pid, "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	return len(fields) > 1 && fields[1] == strconv.Itoa(parent)
}

func (w *watcher) complain(format string, args ...any) {
	w.bad = append(w.bad, fmt.Sprintf(format, args...))
}

// stop ends the watcher, which has to have seen pidleash and so many runs.
func (w *watcher) stop(t testing.TB, runs int) {
	t.Helper()
	close(w.quit)
	w.wg.Wait()
	if len(w.bad) > 0 {
		t.Errorf("of %d looks %d have seen what must not be, the first: %s", w.looks, len(w.bad), w.bad[0])
	}
	if len(w.named) <= runs || !w.named[w.leash] {
		t.Errorf("in %d looks the watcher has seen %d processes, and pidleash: %v. That proves little", w.looks, len(w.named), w.named[w.leash])
	}
}

// A reader of the file finds it at every moment of some hundred restarts.
func TestRestartFileIsNeverWrong(t *testing.T) {
	t.Parallel()
	const runs = 300
	next := `read x || exit 9; `
	for _, test := range []struct {
		name, script string
		options      []string
	}{
		{"ends", next + `exit 1`, []string{"-restart", "always", "-restart-delay", "0"}},
		// So that orphans and PROGRAM end in the same moment.
		{"ends with orphans", next + `for i in 1 2 3 4; do (true &); done; exit 1`, []string{"-restart", "always", "-restart-delay", "0"}},
		{"back-off", next + `exit 1`, []string{"-restart", "always", "-restart-delay", bed.Never, "-restart-signal", "USR2"}},
		{"swept", next + `true & exit 1`, []string{"-restart", "always", "-restart-delay", "0", "-kill-mode", "tree"}},
		{"asked", next + `kill -USR1 $PPID; exec sleep 1000`, []string{"-restart-signal", "USR1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := leashRestarted(t, bed.How{}, append(test.options, "-log-level", "warn"), "sh", "-c", `echo $$; `+test.script)
			r.Number(t)
			w := watchFile(r)
			for range runs {
				r.Tell(t, "next")
				if test.name == "back-off" {
					bed.Await(t, "the file names pidleash", func() bool { return bed.PIDIn(t, r.file) == r.PID() })
					r.Signal(syscall.SIGUSR2)
				}
				r.Number(t)
			}
			w.stop(t, runs/4)
			r.Signal(syscall.SIGTERM)
			r.Wait(t)
			tellsOfRestarts(r.Run, t)
			bed.ExpectEmptyDir(t, r.dir)
		})
	}
}

// Nor while the program is not there.
func TestRestartFileIsNeverWrongWithoutProgram(t *testing.T) {
	t.Parallel()
	const tries = 300
	program := bed.OpenDir(t) + "/program"
	bed.WriteFile(t, program, bed.ReadFile(t, bed.CompileC(t, "first.c")), 0o755)
	r := leashRestarted(t, bed.How{}, []string{"-restart", "always", "-restart-delay", "0"}, program, "hold")
	r.begins(t)
	w := watchFile(r)
	bed.Must(t, os.Rename(program, program+".away"))
	bed.Must(t, syscall.Kill(r.program, syscall.SIGKILL))
	bed.Await(t, "it is tried again and again", func() bool { return r.delays(t) > tries })
	bed.Must(t, os.Rename(program+".away", program))
	r.begins(t)
	w.stop(t, 2)
	bed.RemoveFile(t, r.file)
	r.ExpectSignal(t, syscall.SIGTERM)
	bed.ExpectEmptyDir(t, r.dir)
}

func TestRestartRemovedExit(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, bed.How{}, "-restart", "always", "-restart-delay", bed.Never, "-removed-exit", "5")
	r.fails(t, "exit 7")
	bed.RemoveFile(t, r.file)
	r.ExpectCode(t, 5)
	bed.ExpectEmptyDir(t, r.dir)
}

// Of a removal PROGRAM is stopped, and never started again, whatever it makes of that.
func TestRemovalNeverRestarts(t *testing.T) {
	t.Parallel()
	for _, trap := range []string{"", "trap 'exit 3' TERM"} {
		r := startRestarted(t, bed.How{}, "-restart", "always", "-restart-delay", "0")
		r.Tell(t, "exit 1")
		r.begins(t)
		r.Tell(t, trap+"; echo 0")
		r.Number(t)
		bed.RemoveFile(t, r.file)
		if trap == "" {
			r.ExpectSignal(t, syscall.SIGTERM)
		} else {
			r.Tell(t, "") // a trap may wait for the end of read
			r.ExpectCode(t, 3)
		}
		bed.ExpectEmptyDir(t, r.dir)
	}
}

// -rewrite has its say: who drops TERM drops it in the back-off.
func TestRestartRewriteInBackOff(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, bed.How{}, "-restart", "always", "-restart-delay", bed.Never, "-rewrite", "TERM:none", "-restart-signal", "64")
	r.fails(t, "exit 1")
	r.Signal(syscall.SIGTERM)
	awaitIdle(r.Run, t)
	r.Signal(64)
	r.begins(t)
	r.fails(t, "exit 1")
	r.leaves(t)
}

// The path is taken in the back-off, too.
func TestRestartRefusesSecondStart(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, bed.How{}, "-restart", "always", "-restart-delay", bed.Never)
	r.fails(t, "exit 1")
	second := bed.Start(t, bed.How{}, "-pidfile", r.file, "echo", "PROGRAM runs")
	second.ExpectCode(t, 120)
	second.ExpectOneLine(t, fmt.Sprintf(`p\.pid: already running as PID %d .*; hint: `, r.PID()))
	if text := second.Rest(t); text != "" {
		t.Errorf("the second start wrote %q", text)
	}
	r.names(t, r.PID())
	r.leaves(t)
}

// What has come to the path in the back-off is somebody else's, and stays.
func TestRestartReplacedInBackOff(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, bed.How{}, "-restart", "always", "-restart-delay", bed.Never)
	r.fails(t, "exit 1")
	other := r.dir + "/other"
	bed.Must(t, os.WriteFile(other, []byte(bed.NoSuchPID), 0o644))
	bed.Must(t, os.Rename(other, r.file))
	r.ExpectCode(t, 0)
	r.AwaitStderr(t, `p\.pid: replaced, not starting again\n$`)
	if text := bed.ReadFile(t, r.file); text != bed.NoSuchPID {
		t.Errorf("the other file has %q, want %q", text, bed.NoSuchPID)
	}
	bed.ExpectFiles(t, r.dir, "p.pid")
	if text := r.Rest(t); text != "" {
		t.Errorf("PROGRAM wrote %q", text)
	}
}

// Who asks for a restart before the removal counts gets none that stays, and nobody's
// file is touched. (A busy machine may have it count before.)
func TestRestartBeforeSettled(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"removed", "replaced"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := startRestarted(t, bed.How{}, "-settle", "1s", "-restart", "always", "-restart-delay", bed.Never, "-restart-signal", "USR1")
			r.fails(t, "exit 1")
			if what == "removed" {
				bed.RemoveFile(t, r.file)
				r.Signal(syscall.SIGUSR1)
				r.ExpectCode(t, 0)
				bed.ExpectEmptyDir(t, r.dir)
				return
			}
			other := r.dir + "/other"
			bed.Must(t, os.WriteFile(other, []byte(bed.NoSuchPID), 0o644))
			before, err := os.Stat(other)
			bed.Must(t, err)
			bed.Must(t, os.Rename(other, r.file))
			r.Signal(syscall.SIGUSR1)
			r.Wait(t)
			r.AwaitStderr(t, "p\\.pid: replaced")
			after, err := os.Stat(r.file)
			bed.Must(t, err)
			if !os.SameFile(before, after) {
				t.Error("the other file has gone")
			}
			bed.ExpectFiles(t, r.dir, "p.pid")
		})
	}
}

// Without a PID file there is nothing but the restart.
func TestRestartWithoutFile(t *testing.T) {
	t.Parallel()
	r := bed.Start(t, bed.How{}, "-log-level", "info", "-restart", "always", "-restart-delay", "1ms", "--", "sh", "-c", ledScript)
	first := r.Number(t)
	r.Tell(t, "exit 1")
	if second := r.Number(t); second == first {
		t.Errorf("PROGRAM has PID %d twice", first)
	}
	r.Signal(syscall.SIGTERM)
	r.ExpectSignal(t, syscall.SIGTERM)
}

// Where pidleash was started the program stands, in the background as well, also if it
// may not enter that directory itself.
func TestRestartFromPrivateDirectory(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	dir, private := bed.OpenDir(t), bed.OpenDir(t)
	bed.Must(t, os.Chmod(private, 0o700))
	file := dir + "/p.pid"
	cmd := exec.Command(bed.Pidleash, "-pidfile", file, "-daemon", "-restart", "always", "-user", "nobody", "sleep", "1000")
	cmd.Dir = private
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pid := strings.TrimSpace(bed.ReadFile(t, file))
	if at, err := os.Readlink("/proc/" + pid + "/cwd"); at != private {
		t.Errorf("the program stands in %q, want %q: %v", at, private, err)
	}
	bed.RemoveFile(t, file)
	bed.Await(t, "the program ends", func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
}

// Where there is no room for another file pidleash makes its placeholder all the same.
func TestRestartWithoutRoom(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		bed.Missing(t, "unshare -m: %v: %s", err, out)
	}
	const script = `
mount -t tmpfs -o nr_inodes=4 none "$1"
mkfifo "$2/up" "$2/end"
"$0" -pidfile "$1/p.pid" -restart always -restart-delay 1h sh -c 'echo >"$0/up"; read x <"$0/end"' "$2" &
read x <"$2/up"
touch "$1/1" "$1/2" "$1/3" 2>/dev/null || :
echo >"$2/end"
until test "$(cat "$1/p.pid")" = $!; do sleep 0.01; done
rm "$1/p.pid"; wait $!`
	ctx, cancel := context.WithTimeout(t.Context(), bed.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "-m", "sh", "-ec", script, bed.Pidleash, bed.OpenDir(t), bed.OpenDir(t))
	cmd.WaitDelay = time.Second // what the shell has started may hold the pipe
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "not starting again") {
		t.Fatalf("%v: %s", err, out)
	}
}
