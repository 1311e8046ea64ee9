package pidfile

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/safeopen"
)

// nextPID is another program's, of which nobody asks either.
const nextPID = pidInTests + 111111

// takesPlace does what the child does for an exchange, see Claim.Exchanges.
func takesPlace(t *testing.T, c *Claim, pid int) {
	t.Helper()
	must(t, writePID(c.Write, pid))
	must(t, exchange(c.Temp, c.Path))
}

// successor is a claim for the file's place.
func successor(t *testing.T, f *File) *Claim {
	t.Helper()
	c, err := f.NewExchange()
	must(t, err)
	return c
}

// checkOwn checks that the file is whole, alone in its directory, locked, and the one
// that f stands for.
func checkOwn(t *testing.T, f *File, pid int) {
	t.Helper()
	if got := read(t, f.path); got != string(line(pid)) {
		t.Errorf("content %q, want %d", got, pid)
	}
	if state, err := f.Look(); state != Present || err != nil {
		t.Errorf("%v, %v; want present", state, err)
	}
	if !isLocked(t, f.path) {
		t.Error("not locked")
	}
	st, err := os.Stat(f.path)
	must(t, err)
	if st.Mode() != mode {
		t.Errorf("mode %v, want %o", st.Mode(), mode)
	}
	if got, want := names(t, filepath.Dir(f.path)), filepath.Base(f.path); got != want {
		t.Errorf("the directory has %s, want %s", got, want)
	}
}

func TestExchange(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	t.Cleanup(f.close)
	c := successor(t, f)
	if state, err := f.Look(); state != Present || err != nil {
		t.Errorf("before: %v, %v; want present", state, err)
	}
	takesPlace(t, c, nextPID)
	f.Exchanged(c, nextPID)
	checkOwn(t, f, nextPID)
}

func TestSuccessorAbandoned(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	successor(t, f).Abandon()
	checkOwn(t, f, pidInTests)
}

// A removal stays one, also where the file system has no exchange.
func TestSuccessorOfNothing(t *testing.T) {
	for _, c := range changes {
		if c.state != Removed {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			f := c.happened(t)
			if _, err := f.NewExchange(); !errors.Is(err, ErrRemoved) {
				t.Errorf("%v, want %v", err, ErrRemoved)
			}
			if _, err := os.Lstat(f.path); err == nil {
				t.Error("it is there again")
			}
		})
	}
}

func TestName(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			f := c.happened(t)
			t.Cleanup(f.close)
			before, _ := os.Lstat(f.path)
			err := f.Name(nextPID)
			after, _ := os.Lstat(f.path)
			switch {
			case c.state == Present || c.state == Changed:
				must(t, err)
				checkOwn(t, f, nextPID)
			case err != nil && !errors.Is(err, ErrRemoved):
				t.Error(err)
			case c.state == Removed && after != nil:
				t.Error("it is there again")
			case c.state != Removed && !os.SameFile(before, after):
				t.Error("the other's file is gone")
			}
			if state, _ := f.Look(); state != c.state && c.state != Changed {
				t.Errorf("afterwards it is %v, want %v", state, c.state)
			}
		})
	}
}

// What somebody else has put at the path in the moment before the exchange gets its
// place back.
func TestExchangeGivesBack(t *testing.T) {
	for _, c := range changes {
		if c.state != Replaced && c.state != Unfinished {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			dir := in(t, "dir")
			must(t, os.Mkdir(dir, 0o755))
			f := published(t, dir+"/p.pid", pidInTests)
			t.Cleanup(f.close)
			next := successor(t, f)
			c.do(t, f.path, pidInTests)
			before, err := os.Lstat(f.path)
			must(t, err)
			list := names(t, dir)
			takesPlace(t, next, nextPID)
			f.Exchanged(next, nextPID)
			after, err := os.Lstat(f.path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("it is not there any more: %v", err)
			}
			if got := names(t, dir); got == list || len(got) >= len(list) {
				t.Errorf("the directory has %s, and had %s", got, list)
			}
			if state, err := f.Remove(); (state != Replaced && state != Unfinished) || err != nil {
				t.Errorf("%v, %v; want it left there", state, err)
			}
		})
	}
}

// The file was removed in the moment before the exchange.
func TestExchangeWithNothing(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	c := successor(t, f)
	must(t, writePID(c.Write, nextPID))
	must(t, os.Remove(f.path))
	if err := exchange(c.Temp, c.Path); err != unix.ENOENT {
		t.Errorf("%v, want ENOENT", err)
	}
	c.Abandon()
	if got := names(t, filepath.Dir(f.path)); got != "" {
		t.Errorf("the directory has %s", got)
	}
}

// There is no moment without a file, nor one with half a PID or without a lock.
func TestNameIsOneStep(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	t.Cleanup(f.close)
	path := f.path
	var done atomic.Bool
	defer done.Store(true)
	looks := make(chan int, 1)
	go func() {
		n := 0
		for !done.Load() {
			if problem := lookClosely(path); problem != "" {
				t.Errorf("look %d: %s", n, problem)
				break
			}
			n++
		}
		looks <- n
	}()
	for i := range 1000 {
		must(t, f.Name(pidInTests+i))
	}
	done.Store(true)
	t.Logf("%d looks", <-looks)
	checkOwn(t, f, pidInTests+999)
}

// lookClosely is what another process can see. A file that has lost its place meanwhile is
// not locked any more.
func lookClosely(path string) (problem string) {
	fd, err := safeopen.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return "open: " + err.Error()
	}
	defer unix.Close(fd)
	content, err := readContent(fd)
	if err != nil {
		return "read: " + err.Error()
	}
	if pid := parsePID(content); pid < pidInTests || pid >= pidInTests+1000 {
		return "content " + string(content)
	}
	id, err := identityOfFD(fd)
	if err != nil {
		return "stat: " + err.Error()
	}
	if unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == nil && isAt(path, id) {
		return "not locked"
	}
	return ""
}

// rewritten is a file that the program has written itself, and that was adopted.
func rewritten(t *testing.T) *File {
	t.Helper()
	f := published(t, in(t, "p.pid"), pidInTests)
	writeOver(t, f.path, line(pidInTests))
	must(t, f.Adopt())
	t.Cleanup(f.close)
	return f
}

func TestRestoreWhatTheProgramHasRemoved(t *testing.T) {
	f := rewritten(t)
	must(t, os.Remove(f.path))
	must(t, f.Restore(nextPID))
	checkOwn(t, f, nextPID)
	must(t, os.Remove(f.path)) // that one was not the program's
	if err := f.Restore(pidInTests); err != nil && !errors.Is(err, ErrRemoved) {
		t.Error(err)
	}
	if got := names(t, filepath.Dir(f.path)); got != "" {
		t.Errorf("the directory has %s", got)
	}
}

func TestRestoreWhatTheProgramHasLeft(t *testing.T) {
	f := rewritten(t)
	must(t, f.Restore(nextPID))
	checkOwn(t, f, nextPID)
}

// The program has ended before anybody saw that it had written the file.
func TestRestoreWhatNobodyHasAdopted(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	t.Cleanup(f.close)
	writeOver(t, f.path, line(pidInTests))
	must(t, f.Restore(nextPID))
	checkOwn(t, f, nextPID)
}

func TestRestoreWhatTheProgramHasLocked(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	t.Cleanup(f.close)
	writeOver(t, f.path, line(pidInTests))
	programs := lockFile(t, f.path)
	must(t, f.Adopt())
	programs.Close() // it has ended
	must(t, f.Restore(nextPID))
	checkOwn(t, f, nextPID)
	if f.unlocked {
		t.Error("the new file is left to the program to lock")
	}
}

func TestRestoreLeavesOthersAlone(t *testing.T) {
	f := rewritten(t)
	writeOver(t, f.path, line(nextPID))
	if err := f.Restore(pidInTests); err != nil {
		t.Error(err)
	}
	if got := read(t, f.path); got != string(line(nextPID)) {
		t.Errorf("content %q", got)
	}
	if state, err := f.Look(); state != Replaced || err != nil {
		t.Errorf("%v, %v; want replaced", state, err)
	}
}

func TestRestoreWithoutADirectory(t *testing.T) {
	f := rewritten(t)
	must(t, os.RemoveAll(filepath.Dir(f.path)))
	var e *fault.Error
	if err := f.Restore(nextPID); !errors.As(err, &e) || e.Object != object(f.path) {
		t.Errorf("%v, want an *fault.Error", err)
	}
	if state, _ := f.Look(); state != Removed {
		t.Errorf("%v, want removed", state)
	}
}

// 10,000 restarts may not cost a descriptor each.
func TestSuccessionLeaksNothing(t *testing.T) {
	f := published(t, in(t, "p.pid"), pidInTests)
	t.Cleanup(f.close)
	before := countFDs(t)
	for range 100 {
		must(t, f.Name(nextPID))
		must(t, f.Restore(pidInTests))
		successor(t, f).Abandon()

		writeOver(t, f.path, line(pidInTests))
		must(t, f.Restore(pidInTests))

		writeOver(t, f.path, line(pidInTests))
		must(t, f.Adopt())
		must(t, os.Remove(f.path))
		must(t, f.Restore(pidInTests))

		next := successor(t, f)
		writeOver(t, f.path, line(nextPID+1))
		takesPlace(t, next, nextPID)
		f.Exchanged(next, nextPID)
		must(t, os.Remove(f.path))
		_ = f.Name(pidInTests)
		if _, err := f.NewExchange(); err == nil {
			t.Fatal("a claim without a file")
		}
		write(t, f.path, line(nextPID))
		must(t, f.Adopt()) // to begin anew
	}
	if after := countFDs(t); after != before {
		t.Errorf("%d descriptors, and there were %d", after, before)
	}
	checkOwn(t, f, nextPID)
}

func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}
