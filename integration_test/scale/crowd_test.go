package scale

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// One user has more wrappers than inotify instances. Those without look each second: they are cheap while nothing
// happens, and all programs end when all files are removed at once.
func TestCrowd(t *testing.T) {
	wrappers, instances, idle := 20, 4, 4*time.Second
	if bed.Long() {
		wrappers, instances, idle = 1000, 128, time.Minute
	}
	dir := t.TempDir()
	const script = `echo $3 >/proc/sys/user/max_inotify_instances || exit
		for i in $(seq $2); do "$0" -log-level info -settle 0 -pidfile "$1/$i.pid" sleep 10000 & done; wait`
	r := bed.Launch(t, exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", script,
		bed.Pidleash, dir, fmt.Sprint(wrappers), fmt.Sprint(instances)))
	files := func() (paths []string) { paths, _ = filepath.Glob(filepath.Join(dir, "*.pid")); return paths }
	polling := func() int { return r.Warnings("looking every 1s: no inotify instance left") }
	bed.Await(t, "all programs run, and all without an instance look themselves", func() bool {
		return len(files()) == wrappers && polling() >= wrappers-instances
	})
	var keepers []int
	for _, path := range files() {
		program := 0
		fmt.Sscan(bed.ReadFile(t, path), &program)
		keepers = append(keepers, bed.ParentOf(t, program))
	}

	switches, used, began := measure(t, keepers)
	time.Sleep(idle)
	switchesAfter, usedAfter, end := measure(t, keepers)
	perSecond := float64(switchesAfter-switches) / end.Sub(began).Seconds() / float64(wrappers)
	perHour := (usedAfter - used).Seconds() / end.Sub(began).Hours() / float64(wrappers)
	t.Logf("%d wrappers, %d look each second: each %.1f switches a second, %.3f s of processor time an hour, %d KiB private",
		wrappers, polling(), perSecond, perHour, private(t, keepers)/wrappers)
	if perSecond > 25 { // a timer of Go's makes up to 40 of each tick where the processors are busy
		t.Errorf("each wrapper switches %.1f times a second", perSecond)
	}

	removed := time.Now()
	for _, path := range files() {
		bed.RemoveFile(t, path)
	}
	<-r.Done // the shell waits for all
	t.Logf("the last of %d was gone %v after the first removal", wrappers, time.Since(removed))
	if n := r.Warnings("removed, stopping PID"); n != wrappers {
		t.Errorf("%d of %d were stopped by the removal", n, wrappers)
	}
}

// measure has how often all have gone to sleep, and the processor time of all, proc_pid_schedstat(5).
func measure(t *testing.T, pids []int) (switches int, used time.Duration, at time.Time) {
	t.Helper()
	for _, pid := range pids {
		switches += bed.Switches(t, pid)
		tasks, _ := filepath.Glob(bed.ProcFile(pid, "task/*/schedstat"))
		for _, task := range tasks {
			var ns int64
			text, _ := os.ReadFile(task)
			fmt.Sscan(string(text), &ns)
			used += time.Duration(ns)
		}
	}
	return switches, used, time.Now()
}

// private is in KiB.
func private(t *testing.T, pids []int) (sum int) {
	t.Helper()
	for _, pid := range pids {
		for line := range strings.Lines(bed.ReadFile(t, bed.ProcFile(pid, "smaps_rollup"))) {
			if name, value, _ := strings.Cut(line, ":"); strings.HasPrefix(name, "Private_") {
				n := 0
				fmt.Sscan(value, &n)
				sum += n
			}
		}
	}
	return sum
}
