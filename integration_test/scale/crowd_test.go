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

// crowd is how many there are of what.
type crowd struct {
	wrappers, instances int
	idle                time.Duration // while they are measured
}

// One user has more wrappers than inotify instances. Those without look each second: they are cheap while nothing
// happens, and all programs end when all files are removed at once.
func TestCrowd(t *testing.T) {
	// A namespace has no more instances than the user, and in the gate other tests need some, too.
	c, few := crowd{20, 4, 4 * time.Second}, 8
	if bed.Long() {
		c, few = crowd{1000, 128, time.Minute}, 100
	}
	for _, one := range []struct {
		name, options string
		crowd
	}{
		{"foreground", "", c},
		{"watchdog", "-daemon", c},
		{"foreground with events", "", crowd{few, few, c.idle}},
		{"watchdog with events", "-daemon", crowd{few, few, c.idle}},
	} {
		t.Run(one.name, func(t *testing.T) {
			if !bed.Long() { // where the figures count, nothing else is to run
				t.Parallel()
			}
			one.live(t, one.options)
		})
	}
}

func (c crowd) live(t *testing.T, options string) {
	dir, mark, log := bed.OpenDir(t), bed.NewMark(t), filepath.Join(bed.OpenDir(t), "log")
	const script = `echo $3 >/proc/sys/user/max_inotify_instances || exit
		for i in $(seq $2); do "$0" -log-level info -stderr "$4" -settle 0 $5 -pidfile "$1/$i.pid" sleep 10000 & done; wait`
	start := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", script,
		bed.Pidleash, dir, fmt.Sprint(c.wrappers), fmt.Sprint(c.instances), log, options)
	start.Env = append(os.Environ(), string(mark))
	r := bed.Launch(t, start)
	files := func() (paths []string) { paths, _ = filepath.Glob(filepath.Join(dir, "*.pid")); return paths }
	said := func(text string) int {
		background, _ := os.ReadFile(log)
		return r.Warnings(text) + strings.Count(string(background), text)
	}
	const why = "looking every 1s: no inotify instance left"
	var keepers []int
	if options == "-daemon" { // a caller is a pidleash, too
		bed.Await(t, "all callers have ended", func() bool {
			select {
			case <-r.Done:
				return true
			default:
				return false
			}
		})
	}
	bed.Await(t, "all programs run, each with one pidleash, and all without an instance look themselves", func() bool {
		keepers = ofPidleash(mark)
		return len(files()) == c.wrappers && len(keepers) == c.wrappers && said(why) >= c.wrappers-c.instances
	})

	switches, used, began := measure(t, keepers)
	time.Sleep(c.idle)
	switchesAfter, usedAfter, end := measure(t, keepers)
	perSecond := float64(switchesAfter-switches) / end.Sub(began).Seconds() / float64(c.wrappers)
	perHour := (usedAfter - used).Seconds() / end.Sub(began).Hours() / float64(c.wrappers)
	t.Logf("%d wrappers, %d look each second: each %.1f switches a second, %.3f s of processor time an hour, %d KiB private",
		c.wrappers, said(why), perSecond, perHour, private(t, keepers)/c.wrappers)
	if perSecond > 25 { // a timer of Go's makes up to 40 of each tick where the processors are busy
		t.Errorf("each wrapper switches %.1f times a second", perSecond)
	}

	removed := time.Now()
	for _, path := range files() {
		bed.RemoveFile(t, path)
	}
	bed.Await(t, "nobody is left", func() bool { return len(mark.Bearers()) == 0 })
	// Some watchdogs may not have said why: a message is given up after a second, and a thousand end at once.
	t.Logf("the last of %d was gone %v after the first removal, %d have said why", c.wrappers, time.Since(removed),
		said("removed, stopping PID"))
}

// ofPidleash has those who bear the mark and are pidleash.
func ofPidleash(m bed.Mark) (pids []int) {
	for _, pid := range m.Bearers() {
		if exe, _ := os.Readlink(bed.ProcFile(pid, "exe")); exe == bed.Pidleash {
			pids = append(pids, pid)
		}
	}
	return pids
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
