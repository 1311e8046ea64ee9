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
)

const (
	// byEvent is how soon a hint must come to be due to an event: an event takes
	// microseconds, the slow poll SlowPoll.
	byEvent = SlowPoll - time.Second
	// withoutEvents is the same for the fast poll.
	withoutEvents = SlowPoll - time.Second
	// atAll is for a hint from any source.
	atAll = 30 * time.Second
)

func awaitHint(w *Watch, patience time.Duration) error {
	select {
	case <-w.Hints():
		return nil
	case <-time.After(patience):
		return fmt.Errorf("no hint in %v", patience)
	}
}

func hint(t *testing.T, w *Watch, patience time.Duration) {
	t.Helper()
	if err := awaitHint(w, patience); err != nil {
		t.Fatal(err)
	}
}

// newWatch watches the path and takes the first hint.
func newWatch(t *testing.T, path string) *Watch {
	t.Helper()
	w := New(path)
	t.Cleanup(w.Stop)
	if len(w.Hints()) != 1 {
		t.Fatal("no hint at once")
	}
	<-w.Hints()
	return w
}

// watching is newWatch where there must be events.
func watching(t *testing.T, path string) *Watch {
	t.Helper()
	w := newWatch(t, path)
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	return w
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
			hint(t, w, byEvent)
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
	hint(t, w, byEvent)
	for len(w.Hints()) > 0 {
		<-w.Hints()
	}
	must(t, os.Remove(path))
	hint(t, w, byEvent)
}

// The kernel lists what is watched, by inode: neighbours in a busy directory
// must wake nobody.
func TestWatchesTheFileOnly(t *testing.T) {
	path := newFile(t)
	w := New(path)
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
	w.Renew()
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	if len(w.Hints()) != 1 {
		t.Error("no hint at once")
	}
	if !isWatched(t, path) || isWatched(t, old) {
		t.Errorf("new file watched: %v, old: %v", isWatched(t, path), isWatched(t, old))
	}
	// What the old file's events have left does not count.
	for awaitHint(w, 50*time.Millisecond) == nil {
	}
	must(t, os.Remove(path))
	hint(t, w, byEvent)
}

// Where nothing is, the way to it is watched, a step at a time.
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
		hint(t, w, byEvent)
		for w.Renew() {
			<-w.Hints()
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
		<-w.Hints() // a neighbour's arrival
		return os.Rename(path+".new", path)
	})
	step(root, func() error { return os.RemoveAll(a) })
}

// A Renew that finds nothing new costs nothing: who looks at each hint is not woken
// by himself.
func TestRenewOfTheSame(t *testing.T) {
	for _, path := range []string{newFile(t), newFile(t) + ".missing"} {
		w := watching(t, path)
		if w.Renew() || len(w.Hints()) != 0 {
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
	hint(t, w, byEvent)
}

// No event tells of a parent that is renamed.
func TestHintWithoutEvent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	must(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "p.pid")
	must(t, os.WriteFile(path, nil, 0o644))
	w := watching(t, path)
	must(t, os.Rename(dir, dir+".old"))
	hint(t, w, atAll)
}

// For these the package notify delivers nothing, or what nobody asked for.
func TestPolledPaths(t *testing.T) {
	dots := newFile(t) + "..."
	must(t, os.WriteFile(dots, nil, 0o644))
	for path, reason := range map[string]string{
		"/pidleash-test.pid": `directly in "/"`,
		dots:                 `ends in "..."`,
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, path)
			if w.Err() == nil || !strings.Contains(w.Err().Error(), reason) {
				t.Errorf("%s: %v, want %q", path, w.Err(), reason)
			}
			hint(t, w, withoutEvents)
			hint(t, w, withoutEvents)
		})
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

func TestStopEndsTheGoroutine(t *testing.T) {
	for range 10 {
		w := New(newFile(t))
		w.Stop()
	}
	for end := time.Now().Add(atAll); ; time.Sleep(time.Millisecond) {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "(*Watch).run") {
			return
		}
		if time.Now().After(end) {
			t.Fatal(stacks)
		}
	}
}
