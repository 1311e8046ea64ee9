package wrapper

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"pidleash/internal/plan"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// gated is a loop with nothing but its gates.
type gated struct {
	*loop
	t   *testing.T
	log *bytes.Buffer
}

func newGated(t *testing.T, while, running []string) *gated {
	t.Helper()
	log := &bytes.Buffer{}
	cfg := &Config{
		Plan: plan.Plan{Args: []string{"program"}, While: while, WhileRunning: running},
		Log:  hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn}),
	}
	g := &gated{newLoop(cfg, nil), t, log}
	g.openGates()
	t.Cleanup(g.closeGates)
	return g
}

// is checks what is known without a look.
func (g *gated) is(open bool, missing ...string) {
	g.t.Helper()
	if g.machine.shut == open || g.missing() != strings.Join(missing, ", ") {
		g.t.Errorf("shut is %v, missing %q; want open %v, missing %q", g.machine.shut, g.missing(), open, missing)
	}
}

func (g *gated) look() { g.happen(g.lookAtGates()) }

// becomes takes hints until one leads to that.
func (g *gated) becomes(open bool) {
	g.t.Helper()
	limit := time.After(30 * time.Second)
	for g.machine.shut == open {
		select {
		case <-g.gateHints:
			g.look()
		case <-limit:
			g.t.Fatalf("no hint that it has become open %v", open)
		}
	}
}

// said returns the warnings since the last call, without what is before the file.
func (g *gated) said() string {
	_, text, _ := strings.Cut(g.log.String(), "while")
	g.log.Reset()
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

func TestGateIsOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, path string)
		open bool
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
			g := newGated(t, []string{path}, nil)
			if c.open {
				g.is(true)
			} else {
				g.is(false, path)
			}
			if said := g.said(); said != "" {
				t.Errorf("said %s", said)
			}
		})
	}
}

func TestGatesMustAllBeOpen(t *testing.T) {
	dir := t.TempDir()
	a, b := dir+"/a", dir+"/b"
	g := newGated(t, []string{a, b}, nil)
	g.is(false, a, b)
	writeText(t, b, "")
	g.look()
	g.is(false, a)
	writeText(t, a, "")
	g.becomes(true)
	g.is(true)
	mustDo(t, os.Remove(b))
	g.becomes(false)
	g.is(false, b)
}

func TestNoGates(t *testing.T) {
	g := newGated(t, nil, nil)
	g.is(true)
	if g.gateHints != nil {
		t.Error("hints of nothing")
	}
}

// Each of these is known by an event, or at last by a poll.
func TestGateHints(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/far/away/file"
	g := newGated(t, []string{path}, nil)
	g.is(false, path)
	mustDo(t, os.MkdirAll(filepath.Dir(path), 0o755))
	writeText(t, path, "")
	g.becomes(true)
	mustDo(t, os.Rename(path, path+".old"))
	g.becomes(false)
	mustDo(t, os.Rename(path+".old", path))
	g.becomes(true)
	mustDo(t, os.Rename(dir+"/far", dir+"/elsewhere"))
	g.becomes(false)
	mustDo(t, os.Rename(dir+"/elsewhere", dir+"/far"))
	g.becomes(true)
	mustDo(t, os.RemoveAll(dir+"/far"))
	g.becomes(false)
}

// What cannot be looked at is neither there nor gone.
func TestGateWithoutAnAnswer(t *testing.T) {
	path := t.TempDir() + "/file"
	mustDo(t, os.Symlink(path, path)) // ELOOP, also for root
	g := newGated(t, []string{path}, nil)
	g.is(false, path)
	g.look()
	if said := g.said(); strings.Count(said, path) == 0 || strings.Count(said, "\n") != 0 {
		t.Errorf("said %q, want it once", said)
	}

	mustDo(t, os.Remove(path))
	writeText(t, path, "")
	g.look()
	g.is(true)
	mustDo(t, os.Remove(path))
	mustDo(t, os.Symlink(path, path))
	g.look()
	g.is(true)
	if g.said() == "" {
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

func TestGateOfAProgram(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	pid, end := catting(t)
	g := newGated(t, nil, []string{path})
	g.is(false, path)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	g.becomes(true)
	end()
	g.becomes(false) // the file is stale
	g.is(false, path)

	pid, end = catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	g.becomes(true)
	mustDo(t, os.Remove(path))
	g.becomes(false) // it runs, and nobody says so
	end()
	g.look()
	g.is(false, path)
	if said := g.said(); said != "" {
		t.Errorf("said %s", said)
	}
}

func TestGateOfNoProgram(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "no number": "x\n", "a number that nobody has": "99999999\n"} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/p.pid"
			writeText(t, path, text)
			newGated(t, nil, []string{path}).is(false, path)
		})
	}
}

// A zombie is dead, although nobody has waited for it.
func TestGateOfAZombie(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	mustDo(t, err)
	mustDo(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	writeText(t, path, strconv.Itoa(cmd.Process.Pid)+"\n")
	g := newGated(t, nil, []string{path})
	g.is(true)
	stdin.Close()
	g.becomes(false)
}

// To root a file that others can write says nothing.
func TestGateNotTrusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, whom others could deceive")
	}
	path := t.TempDir() + "/p.pid"
	pid, _ := catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	g := newGated(t, nil, []string{path})
	g.is(true)
	mustDo(t, os.Chmod(path, 0o666))
	g.look()
	g.is(false, path)
	g.look()
	if said := g.said(); !strings.Contains(said, "0666") || strings.Contains(said, "\n") {
		t.Errorf("said %q, want it once", said)
	}
}

// A PID file that gives no answer is no removal; the end of the process that it has
// named is known all the same.
func TestGateOfAProgramWithoutAnAnswer(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	pid, end := catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	g := newGated(t, nil, []string{path})
	g.is(true)
	mustDo(t, os.Remove(path))
	mustDo(t, os.Symlink(path, path))
	g.look()
	g.is(true)
	if g.said() == "" {
		t.Error("it is not said")
	}
	end()
	g.becomes(false)
}

func TestGateHoldsAProcessOnce(t *testing.T) {
	path := t.TempDir() + "/p.pid"
	pid, end := catting(t)
	writeText(t, path, strconv.Itoa(pid)+"\n")
	g := newGated(t, nil, []string{path})
	g.is(true)
	before := countPidfds(t)
	for range 100 {
		g.look()
	}
	if after := countPidfds(t); after != before {
		t.Errorf("%d pidfds, and there were %d", after, before)
	}
	end()
	g.becomes(false)
}

func countPidfds(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	mustDo(t, err)
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(to, "pidfd") {
			n++
		}
	}
	return n
}
