package pidfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func pathLock(t *testing.T, path string) *PathLock {
	t.Helper()
	l, err := Reserve(path)
	must(t, err)
	t.Cleanup(func() { must(t, l.Release()) })
	return l
}

func TestPathLockKeepsOthersAway(t *testing.T) {
	path := in(t, "p.pid")
	l := pathLock(t, path)
	if all := names(t, filepath.Dir(path)); all != ".p.pid.lock" {
		t.Errorf("the directory has %q", all)
	}
	_, err := New(path, false)
	wantHeld(t, err, path, 0, os.Getpid())
	_, err = Reserve(path)
	wantHeld(t, err, path, 0, os.Getpid())
	_, err = Publish(path, pidInTests)
	wantHeld(t, err, path, 0, os.Getpid())
	must(t, l.Release())
	if all := names(t, filepath.Dir(path)); all != "" {
		t.Errorf("the directory has %q", all)
	}
	claim(t, path).Abandon() // control
	must(t, l.Release())     // twice does no harm
}

func TestPathLockOfAPathInUse(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	published(t, path, pid)
	_, err := Reserve(path)
	wantHeld(t, err, path, pid, os.Getpid())
	if all := names(t, filepath.Dir(path)); all != "p.pid" {
		t.Errorf("the refused start left %q", all)
	}
}

// The file is the daemon's, and it may look for a lock.
func TestPathLockPublish(t *testing.T) {
	for name, c := range map[string]struct {
		content []byte // what is at the path; nil: nothing
		lost    bool
	}{
		"nothing":     {nil, false},
		"its own":     {line(pidInTests), false},
		"another's":   {line(nextPID), true},
		"empty":       {[]byte{}, true},
		"half of its": {line(pidInTests)[:1], true},
	} {
		t.Run(name, func(t *testing.T) {
			path := in(t, "p.pid")
			l := pathLock(t, path)
			must(t, l.Clear())
			if c.content != nil {
				write(t, path, c.content)
			}
			before := countFDs(t)
			f, err := l.Publish(pidInTests)
			if c.lost {
				if !errors.Is(err, ErrLostRace) || read(t, path) != string(c.content) || countFDs(t) != before {
					t.Errorf("%v, content %q; want it left there", err, read(t, path))
				}
				return
			}
			must(t, err)
			t.Cleanup(f.close)
			if state, err := f.Look(); state != Present || err != nil || isLocked(t, path) {
				t.Errorf("%v, %v; want present, and not locked", state, err)
			}
			if all := names(t, filepath.Dir(path)); all != ".p.pid.lock p.pid" {
				t.Errorf("the directory has %q", all)
			}
		})
	}
}

// A file that is removed in the moment of its publication was published: it is not for the caller to try again.
func TestPathLockPublishWhileRemoved(t *testing.T) {
	path := in(t, "p.pid")
	l := pathLock(t, path)
	must(t, l.Clear())
	hits := 0
	for range 2000 {
		removed := make(chan struct{})
		go func() {
			defer close(removed)
			for os.Remove(path) != nil {
			}
		}()
		f, err := l.Publish(pidInTests)
		if err != nil {
			t.Fatal(err)
		}
		if state, _ := f.Look(); state == Removed {
			hits++
		}
		f.close()
		<-removed
	}
	t.Logf("removed before the next look: %d of 2000", hits)
}

func TestPathLockRemoveStale(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	pathLock(t, path)
	must(t, RemoveStale(path))
	write(t, path, line(pid))
	must(t, RemoveStale(path))
	if got := read(t, path); got != string(line(pid)) {
		t.Errorf("the file of a running program has %q", got)
	}
	write(t, path, line(deadPID(t)))
	must(t, RemoveStale(path))
	if all := names(t, filepath.Dir(path)); all != ".p.pid.lock" {
		t.Errorf("the directory has %q", all)
	}
}

// What processes that were killed have left goes, and nothing of anybody else's.
func TestRemoveStaleRemovesHidden(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/p.pid"
	for name, content := range map[string][]byte{
		".p.pid.pidleash-17-x": nil, ".p.pid.pidleash-18-7z": line(deadPID(t)), "..p.pid.lock.pidleash-17-x": nil,
		".p.pid.pidleash-19-x": line(program(t)), ".p.pid.pidleash-20-x": []byte("another's\n"), ".p.pid.pidleash-21-x": nil,
		".q.pid.pidleash-17-x": nil, ".p.pid.pidleash-notes": nil, ".p.pid.pidleash-17": nil, "p.pid.pidleash-17-x": nil,
	} {
		write(t, dir+"/"+name, content)
	}
	lockFile(t, dir+"/.p.pid.pidleash-21-x")
	must(t, RemoveStale(path))
	want := ".p.pid.pidleash-17 .p.pid.pidleash-19-x .p.pid.pidleash-20-x .p.pid.pidleash-21-x .p.pid.pidleash-notes " +
		".q.pid.pidleash-17-x p.pid.pidleash-17-x"
	if got := names(t, dir); got != want {
		t.Errorf("there is %s, want %s", got, want)
	}
}

func TestHiddenNames(t *testing.T) {
	for _, base := range []string{"p", "p.pid", "p.pidleash-1-x", strings.Repeat("p", 240), strings.Repeat("p", 255)} {
		for _, name := range []string{hiddenName(base), firstHidden(base)} {
			if len(name) > 255 || !isHiddenOf(name, base) || isHiddenOf(name, "q"+base) {
				t.Errorf("%s: %s", base, name)
			}
		}
	}
}

// A keeper that is killed between the two steps of a removal leaves a hidden file and no other trace.
func TestClaimRemovesFileThatWasMovedAway(t *testing.T) {
	for _, moved := range []string{"p.pid", ".p.pid.lock"} {
		for name, start := range map[string]func(path string) error{
			"claim": func(path string) error {
				c, err := New(path, false)
				if err == nil {
					c.Abandon()
				}
				return err
			},
			"path lock": func(path string) error {
				l, err := Reserve(path)
				if err == nil {
					err = l.Release()
				}
				return err
			},
		} {
			dir := t.TempDir()
			must(t, os.WriteFile(dir+"/"+moved, []byte("4194305\n"), 0o600))
			_, err := moveAway(unix.AT_FDCWD, dir+"/", moved)
			must(t, err)
			must(t, start(dir+"/p.pid"))
			if got := names(t, dir); got != "" {
				t.Errorf("%s, %s: there is %s", moved, name, got)
			}
		}
	}
}

// What one has moved away does not stand in another's way, nor does it get lost.
func TestMoveAwayTwice(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		must(t, os.WriteFile(dir+"/p.pid", nil, 0o600))
		_, err := moveAway(unix.AT_FDCWD, dir+"/", "p.pid")
		must(t, err)
	}
	if got := strings.Fields(names(t, dir)); len(got) != 2 {
		t.Errorf("there is %s, want two hidden files", got)
	}
}

// A claim removes the lock of a start that was killed.
func TestClaimRemovesPathLock(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	if err := os.WriteFile(lockPath(path), nil, lockMode); err != nil {
		t.Fatal(err)
	}
	c, err := New(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abandon()
	if _, err := os.Lstat(lockPath(path)); !os.IsNotExist(err) {
		t.Errorf("the lock is left: %v", err)
	}
}
