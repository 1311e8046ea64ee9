package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/internal/process"
)

// limit is how long something may take that happens if all is well. It only ends a test
// that has failed.
const limit = time.Minute

// bed is a watch and the channel for its hints.
type bed struct {
	*Watch
	hints chan struct{}
}

func newBed(path string) *bed {
	hints := make(chan struct{}, 1)
	return &bed{New(path, hints), hints}
}

// awaitHint returns when there is a hint from any source.
func (b *bed) awaitHint() error {
	select {
	case <-b.hints:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("no hint in %v", limit)
	}
}

func (b *bed) hint(t *testing.T) {
	t.Helper()
	must(t, b.awaitHint())
}

// polls makes changes until hints of two in turn have come within less than SlowPoll.
// However busy the machine is, one pair of a faster poll is in time.
func (b *bed) polls(change func() error) error {
	end := time.Now().Add(limit)
	for last := (time.Time{}); time.Now().Before(end); {
		if err := errors.Join(change(), b.awaitHint()); err != nil {
			return err
		}
		if time.Since(last) < SlowPoll-time.Second {
			return nil
		}
		last = time.Now()
	}
	return fmt.Errorf("no hint within less than %v of another", SlowPoll)
}

// mute ends the polling: every hint from now on is due to an event.
func (b *bed) mute() {
	b.timer.set(24 * time.Hour)
	b.drain()
}

func (b *bed) drain() {
	for len(b.hints) > 0 {
		<-b.hints
	}
}

// newWatch watches the path and takes the first hint.
func newWatch(t *testing.T, path string) *bed {
	t.Helper()
	b := newBed(path)
	t.Cleanup(b.Stop)
	if len(b.hints) != 1 {
		t.Fatal("no hint at once")
	}
	<-b.hints
	return b
}

// watching is newWatch where there must be events. It does not poll.
func watching(t *testing.T, path string) *bed {
	t.Helper()
	b := newWatch(t, path)
	must(t, b.Err())
	b.mute()
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestHintAfter(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, path string)
	}{
		{"unlink", func(t *testing.T, path string) { must(t, os.Remove(path)) }},
		{"unlink of an open file", func(t *testing.T, path string) {
			// pidleash itself keeps it open: that is its lock.
			f, err := os.Open(path)
			must(t, err)
			t.Cleanup(func() { f.Close() })
			must(t, os.Remove(path))
		}},
		{"rename away", func(t *testing.T, path string) { must(t, os.Rename(path, path+".old")) }},
		{"rename into another directory", func(t *testing.T, path string) { must(t, os.Rename(path, filepath.Join(t.TempDir(), "x"))) }},
		{"rename over", func(t *testing.T, path string) {
			must(t, os.WriteFile(path+".new", nil, 0o644))
			must(t, os.Rename(path+".new", path))
		}},
		{"chmod", func(t *testing.T, path string) { must(t, os.Chmod(path, 0o600)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := newFile(t)
			w := watching(t, path)
			c.do(t, path)
			w.hint(t)
		})
	}
}

// Many events are one hint or a few, and none of them is lost for it.
func TestHintsMerge(t *testing.T) {
	path := newFile(t)
	w := watching(t, path)
	for i := range 1000 {
		must(t, os.Chmod(path, os.FileMode(0o600+i%2)))
	}
	w.hint(t)
	w.drain()
	must(t, os.Remove(path))
	w.hint(t)
}

// The kernel lists what is watched, by inode: other files in a busy directory
// must wake nobody.
func TestWatchesTheFileOnly(t *testing.T) {
	path := newFile(t)
	w := newBed(path)
	if !isWatched(t, path) {
		t.Error("the file is not watched")
	}
	if isWatched(t, filepath.Dir(path)) {
		t.Error("its directory is watched")
	}
	w.Stop()
	if isWatched(t, path) {
		t.Error("the file is watched after Stop")
	}
}

// isWatched asks the kernel for the inode, proc_pid_fdinfo(5).
func isWatched(t *testing.T, path string) bool {
	t.Helper()
	st, err := os.Stat(path)
	must(t, err)
	entry := fmt.Sprintf(" ino:%x ", st.Sys().(*syscall.Stat_t).Ino)
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	must(t, err)
	for _, info := range infos {
		text, _ := os.ReadFile(info) // gone: the descriptor that read the directory
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "inotify ") && strings.Contains(line, entry) {
				return true
			}
		}
	}
	return false
}

func TestRenewFollowsTheNewInode(t *testing.T) {
	path := newFile(t)
	w := watching(t, path)
	old := path + ".old"
	must(t, os.Rename(path, old))
	must(t, os.WriteFile(path, nil, 0o644))
	if !w.Renew() || len(w.hints) != 1 {
		t.Error("no hint at once")
	}
	must(t, w.Err())
	if !isWatched(t, path) || isWatched(t, old) {
		t.Errorf("new file watched: %v, old: %v", isWatched(t, path), isWatched(t, old))
	}
	w.mute()
	// Some hints may come of what has happened to the old file, but not so many.
	for i := range 10 {
		must(t, os.Chmod(path, os.FileMode(0o600+i%2)))
		w.hint(t)
	}
}

// For a missing path, the nearest existing directory is watched, a step at a time.
func TestArrival(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "a", "b", "p.pid")
	w := watching(t, path)
	if !isWatched(t, root) {
		t.Error("the nearest directory is not watched")
	}
	step := func(what string, do func() error) {
		t.Helper()
		must(t, do())
		w.hint(t)
		for w.Renew() {
			w.mute()
		}
		if w.Err() != nil || !isWatched(t, what) {
			t.Errorf("%s is not watched: %v", what, w.Err())
		}
	}
	a, b := filepath.Join(root, "a"), filepath.Join(root, "a", "b")
	step(a, func() error { return os.Mkdir(a, 0o755) })
	step(b, func() error { return os.Mkdir(b, 0o755) })
	step(path, func() error { return os.WriteFile(path, nil, 0o644) })
	step(b, func() error { return os.Remove(path) })
	step(path, func() error {
		must(t, os.WriteFile(path+".new", nil, 0o644))
		w.hint(t) // another file has arrived
		return os.Rename(path+".new", path)
	})
	step(root, func() error { return os.RemoveAll(a) })
}

// A Renew that finds nothing new sends no hint: looking at each hint does not cause
// the next.
func TestRenewOfTheSame(t *testing.T) {
	for _, path := range []string{newFile(t), newFile(t) + ".missing"} {
		w := watching(t, path)
		if w.Renew() || len(w.hints) != 0 {
			t.Errorf("%s: a Renew without a change", path)
		}
	}
}

// In directories that hang directly in the root, too.
func TestArrivalBelowTheRoot(t *testing.T) {
	dir, err := os.MkdirTemp("/", ".pidleash-test-")
	if err != nil {
		t.Skipf("only root may: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "p.pid")
	w := watching(t, path)
	must(t, os.WriteFile(path, nil, 0o644))
	w.hint(t)
}

// No event tells of a parent that is renamed.
func TestHintWithoutEvent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	must(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "p.pid")
	must(t, os.WriteFile(path, nil, 0o644))
	w := newWatch(t, path)
	must(t, w.Err())
	must(t, expectPeriod(w.Watch, "5, 0"))
	must(t, os.Rename(dir, dir+".old"))
	w.hint(t)
}

// For these paths package notify delivers no events, or other files' events.
func TestPolledPaths(t *testing.T) {
	inRoot, err := os.CreateTemp("/", ".pidleash-test-")
	if err != nil {
		t.Skipf("only root may: %v", err)
	}
	inRoot.Close()
	t.Cleanup(func() { os.Remove(inRoot.Name()) })
	dots := newFile(t) + "..."
	must(t, os.WriteFile(dots, nil, 0o644))
	t.Run("paths", func(t *testing.T) {
		for path, reason := range map[string]string{
			inRoot.Name(): `directly in "/"`,
			dots:          `ends in "..."`,
		} {
			t.Run(reason, func(t *testing.T) {
				t.Parallel()
				w := newWatch(t, path)
				if w.Err() == nil || !strings.Contains(w.Err().Error(), reason) {
					t.Errorf("%s: %v, want %q", path, w.Err(), reason)
				}
				must(t, expectPeriod(w.Watch, "1, 0"))
				must(t, w.polls(func() error { return os.Chmod(path, 0o600) }))
			})
		}
	})
}

// What a look of the owner's may answer otherwise, the watch sees itself where there are no events. Nothing
// else is seen: an idle owner is not woken up.
func TestSight(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(path string) error
		unseen bool
	}{
		{name: "nothing", do: func(string) error { return nil }, unseen: true},
		{name: "read", do: func(path string) error { _, err := os.ReadFile(path); return err }, unseen: true},
		{name: "neighbour", do: func(path string) error { return os.WriteFile(path+".new", nil, 0o644) }, unseen: true},
		{name: "unlink", do: os.Remove},
		{name: "rename away", do: func(path string) error { return os.Rename(path, path+".old") }},
		{name: "directory away", do: func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old") }},
		{name: "removed and made again", do: func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o644))
		}},
		{name: "written", do: func(path string) error { return os.WriteFile(path, []byte("1\n"), 0o644) }},
		{name: "chmod", do: func(path string) error { return os.Chmod(path, 0o600) }},
		{name: "a link to another", do: func(path string) error {
			return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			path := filepath.Join(dir, "p.pid")
			must(t, errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(path, nil, 0o644)))
			old := see(process.At(path))
			must(t, c.do(path))
			// Clocks of file systems tick coarsely: a second change may have the time of the one before.
			for end := time.Now().Add(limit); !c.unseen && see(process.At(path)) == old && time.Now().Before(end); {
				must(t, c.do(path))
			}
			if (see(process.At(path)) == old) != c.unseen {
				t.Errorf("seen as the same: %v, want %v", !c.unseen, c.unseen)
			}
		})
	}
}

// A wrapper without events looks each second for months, and leaves nothing for Go to collect.
func TestSightAllocatesNothing(t *testing.T) {
	file := newFile(t)
	for _, path := range []string{file, file + ".missing"} {
		at := process.At(path)
		if n := testing.AllocsPerRun(100, func() { see(at) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
	w := watching(t, file)
	if n := testing.AllocsPerRun(100, func() { w.Renew() }); n != 0 {
		t.Errorf("Renew of the same: %v allocations", n)
	}
}

// A removal is missed for a second at most where there are no events. The kernel tells when a timer ticks, so that no
// time need be measured: proc_pid_fdinfo(5).
func expectPeriod(w *Watch, period string) error {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", w.timer.fd))
	if !strings.Contains(string(info), "\nit_interval: ("+period+")\n") {
		return errors.Join(fmt.Errorf("want a tick every (seconds, nanoseconds) (%s): %s", period, info), err)
	}
	return nil
}

// Both kinds tick, take another period, and end who waits for them.
func TestTimer(t *testing.T) {
	kernels := newTimer(time.Millisecond)
	if kernels.file == nil {
		t.Fatal("no timer of the kernel's")
	}
	gos := &timer{fd: -1, go_: time.NewTicker(time.Millisecond), end: make(chan struct{})}
	for name, timer := range map[string]*timer{"the kernel's": kernels, "Go's": gos} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				if !timer.wait() {
					t.Fatal("it has ended")
				}
			}
			timer.set(24 * time.Hour)
			ended := make(chan struct{})
			go func() {
				for timer.wait() { // at most one more tick was due
				}
				close(ended)
			}()
			timer.stop()
			select {
			case <-ended:
			case <-time.After(limit):
				t.Fatal("who waits for it still does")
			}
		})
	}
}

// Where descriptors are short they are for what cannot be done without.
func TestTimerSparesDescriptors(t *testing.T) {
	report, err := runHelper(t, "spares", nil)
	if err != nil {
		t.Errorf("%v: %s", err, report)
	}
}

func TestInotifyExhausted(t *testing.T) {
	t.Parallel()
	ids := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
	}
	report, err := runHelper(t, "exhausted", &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: ids(os.Getuid()),
		GidMappings: ids(os.Getgid()),
	})
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Skipf("no user namespaces here: %v", err)
	}
	if err != nil {
		t.Errorf("%v: %s", err, report)
	}
}

// A program that inherits the pipe of package notify and writes one byte to it
// ends all watching.
func TestNothingIsInherited(t *testing.T) {
	report, err := runHelper(t, "leaks", nil)
	if err != nil || report != "leaks: 0\n" {
		t.Errorf("%v: %s", err, report)
	}
	// Control: when this fails, the protection is no longer needed.
	report, err = runHelper(t, "control", nil)
	if err != nil || report == "leaks: 0\n" {
		t.Errorf("package notify by itself: %v: %s; want some descriptors", err, report)
	}
}

// Several may share one channel, and none waits for its reader.
func TestSharedHints(t *testing.T) {
	hints := make(chan struct{}, 1)
	all := map[string]*bed{}
	for range 3 {
		path := newFile(t)
		all[path] = &bed{New(path, hints), hints} // a hint of the one before is waiting
		t.Cleanup(all[path].Stop)
	}
	for _, w := range all {
		w.mute()
	}
	for path, w := range all {
		must(t, os.Remove(path))
		w.hint(t)
		w.Stop() // so that no other hint is of this file
		w.drain()
	}
}

// Events may be under way when the watch is stopped.
func TestNoHintAfterStop(t *testing.T) {
	path := newFile(t)
	for range 100 {
		w := newBed(path)
		done := make(chan struct{})
		go func() {
			for {
				select {
				case w.events <- nil:
				case <-done:
					return
				}
			}
		}()
		w.hint(t)
		w.hint(t)
		w.Stop()
		w.drain()
		awaitGoroutines(t, 0)
		close(done)
		if len(w.hints) != 0 {
			t.Fatal("a hint after Stop")
		}
	}
}

func TestNothingAfterStop(t *testing.T) {
	path := newFile(t)
	w := watching(t, path)
	w.Stop()
	must(t, os.Remove(path))
	if w.Renew() || isWatched(t, filepath.Dir(path)) || len(w.hints) != 0 {
		t.Error("a Renew after Stop has an effect")
	}
	w.Stop()
}

func TestTwoGoroutinesEach(t *testing.T) {
	var all []*bed
	for range 10 {
		all = append(all, newBed(newFile(t)))
	}
	awaitGoroutines(t, 2*len(all))
	for _, w := range all {
		w.Stop()
	}
	awaitGoroutines(t, 0)
}

// awaitGoroutines returns when the watches of this test have n goroutines.
func awaitGoroutines(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		if strings.Count(stacks, "created by pidleash/watch.New ") == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("want %d goroutines: %s", n, stacks)
		}
	}
}
