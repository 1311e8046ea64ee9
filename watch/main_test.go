package watch

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rjeczalik/notify"
	"golang.org/x/sys/unix"
)

// helperVariable makes the test binary one of the helpers: processes in which
// no other test has used package notify before.
const helperVariable = "PIDLEASH_WATCH_HELPER"

var helpers = map[string]func(path string) error{
	"exhausted": exhausted,
	"leaks":     leaks,
	"spares":    spares,
	"control":   leaksOfNotify,
}

func TestMain(m *testing.M) {
	name := os.Getenv(helperVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := helpers[name](os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runHelper runs the helper on a file of its own, and returns what it reports.
func runHelper(t *testing.T, name string, attr *syscall.SysProcAttr) (report string, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], newFile(t))
	cmd.Env = append(os.Environ(), helperVariable+"="+name)
	cmd.SysProcAttr = attr
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.pid")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// exhausted runs in a user namespace, whose limits are its own.
func exhausted(path string) error {
	const limit = "/proc/sys/user/max_inotify_instances"
	if err := os.WriteFile(limit, []byte("0"), 0); err != nil {
		return err
	}
	w := newBed(path)
	if !errors.Is(w.Err(), unix.EMFILE) || !strings.Contains(w.Err().Error(), "max_user_instances") {
		return fmt.Errorf("no inotify instance is left, but Err is %w", w.Err())
	}
	if err := errors.Join(expectPeriod(w.Watch, "1, 0"), w.polls(func() error { return os.Chmod(path, 0o600) })); err != nil {
		return fmt.Errorf("polling: %w", err)
	}
	if err := os.WriteFile(limit, []byte("8"), 0); err != nil {
		return err
	}
	w.Renew()
	if w.Err() != nil {
		return fmt.Errorf("with instances again: %w", w.Err())
	}
	defer w.Stop()
	return expectPeriod(w.Watch, "5, 0")
}

// spares has few descriptors, and then enough.
func spares(string) error {
	time.AfterFunc(time.Hour, func() {}).Stop() // opens Go's poller
	for _, c := range []struct {
		limit   uint64
		kernels bool
	}{{spare, false}, {2 * spare, true}} {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: c.limit, Max: 2 * spare}); err != nil {
			return err
		}
		before := len(descriptors())
		t := newTimer(time.Millisecond)
		if ticks := t.wait(); (t.file != nil) != c.kernels || !ticks {
			return fmt.Errorf("of %d descriptors: the kernel's: %v, ticks: %v", c.limit, t.file != nil, ticks)
		}
		if t.stop(); len(descriptors()) != before {
			return errors.New("it has left a descriptor")
		}
	}
	return nil
}

func leaks(path string) error {
	before := inheritable()
	if err := newBed(path).Err(); err != nil {
		return err
	}
	return reportLeaks(before)
}

// leaksOfNotify shows what there is to protect from.
func leaksOfNotify(path string) error {
	before := inheritable()
	if err := notify.Watch(path, make(chan notify.EventInfo, 1), mask); err != nil {
		return err
	}
	return reportLeaks(before)
}

// reportLeaks counts the descriptors that a program would inherit, beyond those
// that this process has inherited itself.
func reportLeaks(before map[string]bool) error {
	if !slices.Contains(slices.Collect(maps.Values(descriptors())), "anon_inode:inotify") {
		return errors.New("no inotify descriptor at all")
	}
	leaks := 0
	for fd := range inheritable() {
		if !before[fd] {
			leaks++
		}
	}
	fmt.Println("leaks:", leaks)
	return nil
}

// descriptors has what each descriptor of this process leads to.
func descriptors() map[string]string {
	all := map[string]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		// The one that reads the directory is gone by now.
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			all[e.Name()] = target
		}
	}
	return all
}

// inheritable has the descriptors that are not close-on-exec.
func inheritable() map[string]bool {
	all := map[string]bool{}
	for name := range descriptors() {
		fd, _ := strconv.Atoi(name)
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			all[name] = true
		}
	}
	return all
}
