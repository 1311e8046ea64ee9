package pidfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/process"
)

// A change is something that happens to a published PID file.
type change struct {
	name  string
	do    func(t *testing.T, path string, pid int)
	state State
	// stays: what is at the path afterwards is not the file's to remove.
	stays bool
}

var changes = []change{
	{"nothing", func(*testing.T, string, int) {}, Present, false},
	{"same content written again", func(t *testing.T, path string, pid int) { write(t, path, line(pid)) }, Present, false},
	{"its PID with more lines", func(t *testing.T, path string, pid int) { write(t, path, append(line(pid), "more\n"...)) }, Present, false},
	{"unlinked", func(t *testing.T, path string, _ int) { must(t, os.Remove(path)) }, Removed, false},
	{"renamed away", func(t *testing.T, path string, _ int) { must(t, os.Rename(path, path+".old")) }, Removed, false},
	{"directory removed", func(t *testing.T, path string, _ int) { must(t, os.RemoveAll(filepath.Dir(path))) }, Removed, false},
	{"directory renamed", func(t *testing.T, path string, _ int) {
		must(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".old"))
	}, Removed, false},
	{"directory is a file now", func(t *testing.T, path string, _ int) {
		must(t, os.RemoveAll(filepath.Dir(path)))
		write(t, filepath.Dir(path), nil)
	}, Removed, false},
	{"rewritten", func(t *testing.T, path string, pid int) { writeOver(t, path, line(pid)) }, Rewritten, false},
	{"rewritten without line end", func(t *testing.T, path string, pid int) {
		content := line(pid)
		writeOver(t, path, content[:len(content)-1])
	}, Rewritten, false},
	{"another PID in another file", func(t *testing.T, path string, pid int) { writeOver(t, path, line(pid+1)) }, Replaced, true},
	{"another text in another file", func(t *testing.T, path string, _ int) { writeOver(t, path, []byte("x\n")) }, Replaced, true},
	{"a directory", func(t *testing.T, path string, _ int) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o755)) }, Replaced, true},
	{"a fifo", func(t *testing.T, path string, _ int) { must(t, os.Remove(path)); must(t, unix.Mkfifo(path, 0o644)) }, Replaced, true},
	{"a socket", func(t *testing.T, path string, _ int) { must(t, os.Remove(path)); must(t, bindSocket(path)) }, Replaced, true},
	{"a link to the file itself", func(t *testing.T, path string, _ int) {
		must(t, os.Rename(path, path+".real"))
		must(t, os.Symlink(path+".real", path))
	}, Replaced, true},
	{"another PID in the same file", func(t *testing.T, path string, pid int) { write(t, path, line(pid+1)) }, Changed, true},
	{"another text in the same file", func(t *testing.T, path string, _ int) { write(t, path, []byte("x\n")) }, Changed, true},
	{"truncated", func(t *testing.T, path string, _ int) { write(t, path, nil) }, Changed, false},
	{"half written", func(t *testing.T, path string, pid int) { write(t, path, line(pid)[:1]) }, Changed, false},
	{"another file, empty", func(t *testing.T, path string, _ int) { writeOver(t, path, nil) }, Unfinished, true},
	{"another file, half written", func(t *testing.T, path string, pid int) { writeOver(t, path, line(pid)[:1]) }, Unfinished, true},
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pidInTests has more than one digit, so that its beginning is another number,
// and need not run: nobody asks.
const pidInTests = 123456

// changed returns a file to which the change has happened.
func (c change) happened(t *testing.T) *File {
	t.Helper()
	dir := in(t, "dir")
	must(t, os.Mkdir(dir, 0o755))
	f := published(t, dir+"/p.pid", pidInTests)
	c.do(t, f.path, pidInTests)
	return f
}

func TestLook(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			if state, err := c.happened(t).Look(); state != c.state || err != nil {
				t.Errorf("%v, %v; want %v", state, err, c.state)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			f := c.happened(t)
			before, _ := os.Lstat(f.path)
			want := c.state
			if want == Changed && !c.stays {
				want = Present // Changed is for what is left there
			}
			if state, err := f.Remove(); state != want || err != nil {
				t.Errorf("%v, %v; want %v", state, err, want)
			}
			after, err := os.Lstat(f.path)
			switch {
			case c.stays && (err != nil || !os.SameFile(before, after)):
				t.Errorf("what was there has been touched: %v", err)
			case !c.stays && err == nil:
				t.Error("it is still there")
			}
			if f.fd != -1 {
				t.Error("the lock is still held")
			}
		})
	}
}

// unreachable makes a file that nobody but root can look at, and calls f on a
// thread of a user who cannot.
func unreachable(t *testing.T, f func(*File)) *File {
	t.Helper()
	dir := in(t, "dir")
	must(t, os.Mkdir(dir, 0o700))
	file := published(t, dir+"/p.pid", pidInTests)
	asNobody(t, func() { f(file) })
	return file
}

func TestLookUnknown(t *testing.T) {
	var state State
	var err error
	unreachable(t, func(f *File) { state, err = f.Look() })
	if state != Unknown || err != unix.EACCES {
		t.Errorf("%v, %v; want unknown, EACCES", state, err)
	}
}

func TestRemoveUnknown(t *testing.T) {
	var state State
	var err error
	f := unreachable(t, func(f *File) { state, err = f.Remove() })
	if state != Unknown || !errors.Is(err, unix.EACCES) {
		t.Errorf("%v, %v; want unknown, EACCES", state, err)
	}
	if got := read(t, f.path); got != string(line(pidInTests)) {
		t.Errorf("content %q", got)
	}
}

// The file is there and its own, but the directory may not be changed.
func TestRemoveForbidden(t *testing.T) {
	dir := t.TempDir()
	f := published(t, dir+"/p.pid", pidInTests)
	must(t, os.Chmod(dir, 0o755))
	t.Chdir(dir)
	f.path, f.at = "p.pid", process.At("p.pid") // the way there is not for everybody
	var state State
	var err error
	asNobody(t, func() { state, err = f.Remove() })
	var e *fault.Error
	if state != Present || !errors.As(err, &e) || !errors.Is(err, unix.EACCES) {
		t.Errorf("%v, %v; want present, EACCES", state, err)
	}
}

// A file that may not be read is nobody's business but its owner's.
func TestUnreadableReplacement(t *testing.T) {
	dir := t.TempDir()
	f := published(t, dir+"/p.pid", pidInTests)
	writeOver(t, f.path, line(pidInTests))
	must(t, os.Chmod(f.path, 0o600))
	must(t, os.Chmod(dir, 0o755))
	t.Chdir(dir)
	f.path, f.at = "p.pid", process.At("p.pid")
	var state State
	asNobody(t, func() { state, _ = f.Look() })
	if state != Replaced {
		t.Errorf("%v, want replaced", state)
	}
}

func TestLockIsFreeAfterRemove(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	keep := f.path + ".keep"
	must(t, os.Link(f.path, keep))
	if !isLocked(t, keep) {
		t.Error("not locked while it is published")
	}
	if _, err := f.Remove(); err != nil {
		t.Error(err)
	}
	if isLocked(t, keep) {
		t.Error("still locked after Remove")
	}
}

func TestAdopt(t *testing.T) {
	pid := program(t)
	f := published(t, in(t, "p.pid"), pid)
	old := f.path + ".old"
	must(t, os.Link(f.path, old))
	writeOver(t, f.path, line(pid))
	must(t, f.Adopt())
	if state, err := f.Look(); state != Present || err != nil {
		t.Errorf("%v, %v; want present", state, err)
	}
	if isLocked(t, old) {
		t.Error("the lock of the old file is still held")
	}
	_, err := New(f.path, false)
	wantHeld(t, err, f.path, f.PID, os.Getpid())
	if state, err := f.Remove(); state != Present || err != nil {
		t.Errorf("%v, %v; want present", state, err)
	}
	if _, err := os.Lstat(f.path); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}

// A program that holds a lock on its own PID file keeps it, and is watched all
// the same.
func TestAdoptWhatTheProgramHasLocked(t *testing.T) {
	pid := program(t)
	f := published(t, in(t, "p.pid"), pid)
	writeOver(t, f.path, line(pid))
	programs := lockFile(t, f.path)
	must(t, f.Adopt())
	if !isLocked(t, f.path) {
		t.Error("the program's lock is gone")
	}
	if state, err := f.Look(); state != Present || err != nil {
		t.Errorf("%v, %v; want present", state, err)
	}
	write(t, f.path, line(pid+1))
	if state, err := f.Look(); state != Changed || err != nil {
		t.Errorf("%v, %v; want changed", state, err)
	}
	write(t, f.path, line(pid))
	programs.Close()
	if isLocked(t, f.path) {
		t.Error("somebody else holds the lock, too")
	}
	if state, err := f.Remove(); state != Present || err != nil {
		t.Errorf("%v, %v; want present", state, err)
	}
	if _, err := os.Lstat(f.path); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestAdoptNothing(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	must(t, os.Remove(f.path))
	var e *fault.Error
	if err := f.Adopt(); !errors.As(err, &e) || e.Object != object(f.path) {
		t.Errorf("%v, want an *fault.Error", err)
	}
}

// What has come to the path since the last look, and names somebody else, is not ours, nor to be removed.
func TestAdoptWhatIsAnothers(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	writeOver(t, f.path, line(pidInTests+1))
	must(t, f.Adopt())
	if isLocked(t, f.path) {
		t.Error("another's file is locked")
	}
	if state, err := f.Look(); state != Replaced || err != nil {
		t.Errorf("%v, %v; want replaced", state, err)
	}
	if state, err := f.Remove(); state != Replaced || err != nil || Named(f.path) != pidInTests+1 {
		t.Errorf("%v, %v, and it names %d; want another's file left there", state, err, Named(f.path))
	}
}

func TestTouch(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	weekAgo := time.Now().Add(-7 * 24 * time.Hour).Truncate(time.Second)
	accessed := func() time.Time {
		t.Helper()
		st, err := os.Stat(f.path)
		must(t, err)
		if !st.ModTime().Equal(weekAgo) {
			t.Fatalf("the time of the last change is %v, want %v", st.ModTime(), weekAgo)
		}
		return time.Unix(st.Sys().(*syscall.Stat_t).Atim.Unix())
	}
	must(t, os.Chtimes(f.path, weekAgo, weekAgo))
	must(t, f.Touch(time.Now().Add(touchInterval-time.Minute)))
	if !accessed().Equal(weekAgo) {
		t.Error("touched within the day")
	}
	tomorrow := time.Now().Add(touchInterval + time.Minute)
	must(t, f.Touch(tomorrow))
	if age := time.Since(accessed()); age > time.Hour {
		t.Errorf("after a day it was last used %v ago, want now", age)
	}
	must(t, os.Chtimes(f.path, weekAgo, weekAgo))
	must(t, f.Touch(tomorrow.Add(time.Minute)))
	if !accessed().Equal(weekAgo) {
		t.Error("touched twice within a day")
	}
}

// What somebody else has put at the path is not touched.
func TestTouchKeepsToItsFile(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	writeOver(t, f.path, line(pidInTests))
	weekAgo := time.Now().Add(-7 * 24 * time.Hour).Truncate(time.Second)
	must(t, os.Chtimes(f.path, weekAgo, weekAgo))
	must(t, f.Touch(time.Now().Add(2*touchInterval)))
	st, err := os.Stat(f.path)
	must(t, err)
	if atime := time.Unix(st.Sys().(*syscall.Stat_t).Atim.Unix()); !atime.Equal(weekAgo) {
		t.Errorf("the other's file was used at %v", atime)
	}
}

func TestStateNames(t *testing.T) {
	var all []string
	for s := Present; s <= Unknown; s++ {
		all = append(all, s.String())
	}
	if got := strings.Join(all, " "); got != "present removed rewritten replaced changed unfinished unknown" {
		t.Error(got)
	}
}

// A wrapper that is idle looks for months. What a look allocates stays until Go collects it, which it does at 4 MiB.
func TestLookAllocatesNothing(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	for _, want := range []State{Present, Removed} {
		if n := testing.AllocsPerRun(100, func() { f.Look() }); n != 0 {
			t.Errorf("%v: %v allocations", want, n)
		}
		if state, err := f.Look(); state != want || err != nil {
			t.Errorf("%v, %v; want %v", state, err, want)
		}
		os.Remove(f.path)
	}
}
