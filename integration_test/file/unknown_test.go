package file

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// A file system that does not answer has not removed anything.
func TestUnknown(t *testing.T) {
	bed.NeedRoot(t)
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/p.pid"
	r, program := bed.Leashed(t, bed.AsNobody(), "-settle", "10ms", "-pidfile", file)
	bed.AwaitWatched(t, r, file)
	bed.Must(t, os.Chmod(dir, 0))
	bed.Nudge(t, file)
	r.AwaitStderr(t, `p\.pid: cannot be looked at, going on: permission denied\n`)
	bed.NudgeInVain(t, file)
	if bed.Ended(program) {
		t.Error("PROGRAM has ended")
	}
	// The leash holds again as soon as there are answers.
	bed.Must(t, os.Chmod(dir, 0o777))
	bed.Must(t, os.Remove(file))
	r.ExpectSignal(t, syscall.SIGTERM)
	if r.Warnings("going on") != 1 || r.Warnings("removed, stopping") != 1 || r.Warnings("\n") != 2 {
		t.Errorf("want one warning, and one about the removal:\n%s", r.Stderr())
	}
}

// A removal that cannot be confirmed must not be looked at without a pause.
func TestUnknownAfterRemoval(t *testing.T) {
	bed.NeedRoot(t)
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/p.pid"
	r, program := bed.Leashed(t, bed.AsNobody(), "-settle", "3s", "-pidfile", file)
	bed.AwaitWatched(t, r, file)
	bed.Must(t, os.Rename(file, file+".away"))
	time.Sleep(200 * time.Millisecond) // it looks at once; nothing tells so
	bed.Must(t, os.Chmod(dir, 0))
	r.AwaitStderr(t, `cannot be looked at, going on`)
	used := bed.Switches(t, r.PID())
	time.Sleep(time.Second) // the time in which it must do next to nothing
	if used = bed.Switches(t, r.PID()) - used; used > 100 {
		t.Errorf("pidleash has slept and woken %d times in a second", used)
	}
	if bed.Ended(program) {
		t.Error("PROGRAM has ended")
	}
	bed.Must(t, os.Chmod(dir, 0o777))
	r.ExpectSignal(t, syscall.SIGTERM)
}

// Without events the path is looked at every second.
func TestPolled(t *testing.T) {
	t.Run(`directly in "/"`, func(t *testing.T) {
		t.Parallel()
		bed.NeedRoot(t)
		root := bed.OpenDir(t)
		for name, path := range map[string]string{"pidleash": bed.Pidleash, "first": bed.CompileC(t, "first.c")} {
			bed.WriteFile(t, root+"/"+name, bed.ReadFile(t, path), 0o755)
		}
		h := bed.How{File: "/pidleash", Attr: &syscall.SysProcAttr{Chroot: root}, Dir: "/"}
		r := bed.Start(t, h, "-log-level", "info", "-pidfile", "/p.pid", "/first", "hold")
		r.Number(t)
		expectPolled(t, r, root+"/p.pid", `p\.pid: looking every 1s: .*directly in "/"`)
	})
	t.Run("inotify exhausted", func(t *testing.T) {
		t.Parallel()
		const limit = `echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"`
		if err := exec.Command("unshare", "-Ur", "sh", "-ec", limit, "sh", "true").Run(); err != nil {
			bed.Missing(t, "user namespaces: %v", err)
		}
		file := bed.OpenDir(t) + "/p.pid"
		h := bed.How{Before: []string{"unshare", "-Ur", "sh", "-ec", limit, "sh"}}
		r, _ := bed.Leashed(t, h, "-log-level", "info", "-pidfile", file)
		expectPolled(t, r, file, `p\.pid: looking every 1s: no inotify instance left`)
	})
}

// timers has the period of each timerfd(2) of a process, in seconds and nanoseconds.
func timers(pid int) (periods []string) {
	infos, _ := filepath.Glob(bed.ProcFile(pid, "fdinfo/*"))
	for _, info := range infos {
		text, _ := os.ReadFile(info) // gone meanwhile: no timer of a watch
		if _, rest, found := strings.Cut(string(text), "it_interval: "); found {
			period, _, _ := strings.Cut(rest, "\n")
			periods = append(periods, period)
		}
	}
	return periods
}

func expectPolled(t *testing.T, r *bed.Run, file, why string) {
	t.Helper()
	r.AwaitStderr(t, why)
	// A second is what is promised, and the kernel has it, so that no time is measured: proc_pid_fdinfo(5).
	bed.Await(t, "a timer ticks every second", func() bool { return slices.Contains(timers(r.PID()), "(1, 0)") })
	bed.Must(t, os.Remove(file))
	r.ExpectSignal(t, syscall.SIGTERM)
	if r.Warnings("removed, stopping") != 1 || r.Warnings("\n") != 2 {
		t.Errorf("want the reason and the removal:\n%s", r.Stderr())
	}
}
