package condition

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// limit is how long something may take that happens if all is well. It only ends a test
// that has failed.
const limit = time.Minute

// bed is a set of conditions, and what was last known of them.
type bed struct {
	*Set
	t    *testing.T
	hold bool
	log  *bytes.Buffer
}

// newBed looks once.
func newBed(t *testing.T, while, running []string) *bed {
	t.Helper()
	log := &bytes.Buffer{}
	b := &bed{t: t, log: log}
	b.Set = Open(while, running, hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn}))
	t.Cleanup(b.Close)
	b.look()
	return b
}

// is checks what is known without a look.
func (b *bed) is(hold bool, missing ...string) {
	b.t.Helper()
	if b.hold != hold || b.Missing() != strings.Join(missing, ", ") {
		b.t.Errorf("hold is %v, missing %q; want %v, missing %q", b.hold, b.Missing(), hold, missing)
	}
}

func (b *bed) look() { b.hold = b.Look() }

// becomes takes hints until one leads to that.
func (b *bed) becomes(hold bool) {
	b.t.Helper()
	late := time.After(limit)
	for b.hold != hold {
		select {
		case <-b.C():
			b.look()
		case <-late:
			b.t.Fatalf("no hint that hold has become %v", hold)
		}
	}
}

// said returns the warnings since the last call, without what is before the file.
func (b *bed) said() string {
	_, text, _ := strings.Cut(b.log.String(), "while")
	b.log.Reset()
	return strings.TrimSpace(text)
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	mustDo(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, path string)
		hold bool
	}{
		{"nothing", func(*testing.T, string) {}, false},
		{"no directory", func(t *testing.T, path string) { mustDo(t, os.Remove(filepath.Dir(path))) }, false},
		{"a file for a directory", func(t *testing.T, path string) {
			mustDo(t, os.Remove(filepath.Dir(path)))
			writeText(t, filepath.Dir(path), "")
		}, false},
		{"an empty file", func(t *testing.T, path string) { writeText(t, path, "") }, true},
		{"a directory", func(t *testing.T, path string) { mustDo(t, os.Mkdir(path, 0o700)) }, true},
		{"a fifo", func(t *testing.T, path string) { mustDo(t, unix.Mkfifo(path, 0o600)) }, true},
		{"a file that may not be read", func(t *testing.T, path string) { mustDo(t, os.WriteFile(path, nil, 0)) }, true},
		{"a link", func(t *testing.T, path string) { mustDo(t, os.Symlink("/", path)) }, true},
		{"a link to nothing", func(t *testing.T, path string) { mustDo(t, os.Symlink("nothing", path)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir() + "/dir/file"
			mustDo(t, os.Mkdir(filepath.Dir(path), 0o755))
			c.do(t, path)
			b := newBed(t, []string{path}, nil)
			if c.hold {
				b.is(true)
			} else {
				b.is(false, path)
			}
			if said := b.said(); said != "" {
				t.Errorf("said %s", said)
			}
		})
	}
}

func TestAllMustHold(t *testing.T) {
	dir := t.TempDir()
	one, two := dir+"/one", dir+"/two"
	b := newBed(t, []string{one, two}, nil)
	b.is(false, one, two)
	writeText(t, two, "")
	b.look()
	b.is(false, one)
	writeText(t, one, "")
	b.becomes(true)
	b.is(true)
	mustDo(t, os.Remove(two))
	b.becomes(false)
	b.is(false, two)
	if failed := b.Failed(); failed != "while "+two+": gone" {
		t.Errorf("Failed is %q", failed)
	}
}

func TestNoConditions(t *testing.T) {
	b := newBed(t, nil, nil)
	b.is(true)
	if b.Set != nil || b.C() != nil || b.Failed() != "" {
		t.Error("there is something of nothing")
	}
}

// Each of these is known by an event, or at last by a poll.
func TestHints(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/far/away/file"
	b := newBed(t, []string{path}, nil)
	b.is(false, path)
	mustDo(t, os.MkdirAll(filepath.Dir(path), 0o755))
	writeText(t, path, "")
	b.becomes(true)
	mustDo(t, os.Rename(path, path+".old"))
	b.becomes(false)
	mustDo(t, os.Rename(path+".old", path))
	b.becomes(true)
	mustDo(t, os.Rename(dir+"/far", dir+"/elsewhere"))
	b.becomes(false)
	mustDo(t, os.Rename(dir+"/elsewhere", dir+"/far"))
	b.becomes(true)
	mustDo(t, os.RemoveAll(dir+"/far"))
	b.becomes(false)
}

// A file that cannot be looked at keeps its last answer.
func TestWithoutAnAnswer(t *testing.T) {
	path := t.TempDir() + "/file"
	mustDo(t, os.Symlink(path, path)) // ELOOP, also for root
	b := newBed(t, []string{path}, nil)
	b.is(false, path)
	b.look()
	if said := b.said(); strings.Count(said, path) == 0 || strings.Count(said, "\n") != 0 {
		t.Errorf("said %q, want it once", said)
	}

	mustDo(t, os.Remove(path))
	writeText(t, path, "")
	b.look()
	b.is(true)
	mustDo(t, os.Remove(path))
	mustDo(t, os.Symlink(path, path))
	b.look()
	b.is(true)
	if b.said() == "" {
		t.Error("the second time is not said")
	}
}

// catting is a process that lives until end is called.
func catting(t *testing.T) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	mustDo(t, err)
	mustDo(t, cmd.Start())
	end = func() {
		stdin.Close()
		_ = cmd.Wait()
	}
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

func TestRunning(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	pid, end := catting(t)
	b := newBed(t, nil, []string{path})
	b.is(false, path)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	b.becomes(true)
	end()
	b.becomes(false) // the file is stale
	b.is(false, path)
	if failed := b.Failed(); failed != "while-running "+path+": not running" {
		t.Errorf("Failed is %q", failed)
	}

	pid, end = catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	b.becomes(true)
	mustDo(t, os.Remove(path))
	b.becomes(false) // it runs, but its file is gone
	end()
	b.look()
	b.is(false, path)
	if said := b.said(); said != "" {
		t.Errorf("said %s", said)
	}
}

func TestNotRunning(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "no number": "x\n", "a number that nobody has": "99999999\n"} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/p.pid"
			writeText(t, path, text)
			newBed(t, nil, []string{path}).is(false, path)
		})
	}
}

// A zombie is dead, although nobody has waited for it.
func TestZombie(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	mustDo(t, err)
	mustDo(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	writeText(t, path, strconv.Itoa(cmd.Process.Pid)+"\n")
	b := newBed(t, nil, []string{path})
	b.is(true)
	stdin.Close()
	b.becomes(false)
}

// As root, a file that others can write is not trusted.
func TestNotTrusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, whom others could deceive")
	}
	path := t.TempDir() + "/p.pid"
	pid, _ := catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	b := newBed(t, nil, []string{path})
	b.is(true)
	mustDo(t, os.Chmod(path, 0o666))
	b.look()
	b.is(false, path)
	b.look()
	if said := b.said(); !strings.Contains(said, "0666") || strings.Contains(said, "\n") {
		t.Errorf("said %q, want it once", said)
	}
}

// A PID file that gives no answer is no removal; the end of the process that it has
// named is known all the same.
func TestRunningWithoutAnAnswer(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	pid, end := catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	b := newBed(t, nil, []string{path})
	b.is(true)
	mustDo(t, os.Remove(path))
	mustDo(t, os.Symlink(path, path))
	b.look()
	b.is(true)
	if b.said() == "" {
		t.Error("it is not said")
	}
	end()
	b.becomes(false)
}

func TestHoldsAProcessOnce(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	pid, end := catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	b := newBed(t, nil, []string{path})
	b.is(true)
	before := countPidfds(t, pid)
	if before == 0 {
		t.Fatal("it is not held")
	}
	for range 100 {
		b.look()
	}
	if after := countPidfds(t, pid); after != before {
		t.Errorf("%d pidfds, and there were %d", after, before)
	}
	end()
	b.becomes(false)
}

// countPidfds counts those of one process, pidfd_open(2): those of others may be closed
// at any time.
func countPidfds(t *testing.T, pid int) (n int) {
	t.Helper()
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	mustDo(t, err)
	for _, info := range infos {
		text, _ := os.ReadFile(info) // gone: the descriptor that read the directory
		if strings.Contains(string(text), "\nPid:\t"+strconv.Itoa(pid)+"\n") {
			n++
		}
	}
	return n
}

// The end of a process is a hint of its own: nothing happens to its file.
func TestEndIsAHint(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	pid, end := catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	s := Open(nil, []string{path}, hclog.NewNullLogger())
	t.Cleanup(s.Close)
	s.hints = make(chan struct{}, 1) // without those of the watch
	if !s.Look() {
		t.Fatal("it does not hold")
	}
	end()
	select {
	case <-s.C():
	case <-time.After(limit):
		t.Fatal("no hint")
	}
	if s.Look() {
		t.Error("it still holds")
	}
}

func TestNothingAfterClose(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	pid, end := catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	b := newBed(t, nil, []string{path})
	b.is(true)
	b.Close()
	end()
	if b.C() != nil {
		t.Error("there may be hints after Close")
	}
	b.Close()
}
