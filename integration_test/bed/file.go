package bed

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PIDIn is the PID in a PID file.
func PIDIn(t testing.TB, file string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSuffix(ReadFile(t, file), "\n"))
	Must(t, err)
	return pid
}

// NoSuchPID is a line of a PID file that names nobody: the kernel's limit, for
// 64 bits, is 4194304.
const NoSuchPID = "4194305\n"

// DeadPID is the number of NoSuchPID.
const DeadPID = 4194305

// PlantPID writes a PID file, and returns the PID.
func PlantPID(t *testing.T, file string, pid int) int {
	t.Helper()
	WriteFile(t, file, fmt.Sprintln(pid), 0o644)
	return pid
}

// PlantPIDAt writes one with this time of change.
func PlantPIDAt(t *testing.T, file string, pid int, written time.Time) int {
	t.Helper()
	PlantPID(t, file, pid)
	Must(t, os.Chtimes(file, written, written))
	return pid
}

// LongAgo is before the boot of any machine, and before any time that a step of its clock could explain.
var LongAgo = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// IsEmpty reports that nothing is in the directory, hidden or not.
func IsEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// RemoveFile unlinks it.
func RemoveFile(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// OpenDir makes a directory that every user may enter and write to.
func OpenDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pidleash-run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// WriteFile writes a file whose mode the umask does not touch.
func WriteFile(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	// A child that is forked meanwhile would hold the descriptor until its
	// execve, and an execve of this file would fail with ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// ReadFile returns a file's text.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ExpectEmptyDir fails the test unless nothing, hidden or not, is in the
// directory.
func ExpectEmptyDir(t testing.TB, dir string) {
	t.Helper()
	ExpectFiles(t, dir)
}

// ExpectFiles fails the test unless the directory has these files and no other.
func ExpectFiles(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("%s has %q, want %q", dir, have, want)
	}
}

// NewFIFO is a gate: who opens it for reading waits for who opens it for writing.
func NewFIFO(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// OpenGate lets one reader through. Opened for both directions it waits for
// nobody; the caller knows that the reader is there or will come.
func OpenGate(t testing.TB, path string) {
	t.Helper()
	gate, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gate.Close() })
	if _, err := gate.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
}

// IsGone reports that nothing has the path, not even a link that leads nowhere.
func IsGone(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}

// AwaitWatched returns when pidleash watches the inode that is at the path:
// then it has looked at it and taken it as its own. The kernel lists what is
// watched, proc_pid_fdinfo(5).
func AwaitWatched(t testing.TB, r *Run, path string) {
	t.Helper()
	st, err := os.Stat(path)
	Must(t, err)
	entry := fmt.Sprintf(" ino:%x ", st.Sys().(*syscall.Stat_t).Ino)
	Await(t, "pidleash watches "+path, func() bool {
		infos, _ := filepath.Glob(ProcFile(r.PID(), "fdinfo/*"))
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

// Nudge makes pidleash look at its file: a change of mode is an event.
func Nudge(t testing.TB, file string) {
	t.Helper()
	for _, mode := range []os.FileMode{0o600, 0o644} {
		Must(t, os.Chmod(file, mode))
	}
}

// NudgeInVain gives pidleash some chances to say once more what it may say once
// only. Nothing tells that it has looked, so this takes a little time.
func NudgeInVain(t testing.TB, file string) {
	t.Helper()
	for range 5 {
		Nudge(t, file)
		time.Sleep(50 * time.Millisecond)
	}
}
