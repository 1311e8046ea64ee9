package pidfile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pidleash/internal/process"
)

// setClock makes the wall clock one that was set forward by step since the boot; 0: it cannot be seen.
func setClock(t *testing.T, step time.Duration) {
	t.Helper()
	before := wallClock
	t.Cleanup(func() { wallClock = before })
	wallClock.then = func() time.Time {
		if step == 0 {
			return time.Time{}
		}
		return wallClock.now().Add(-step)
	}
}

// A difference that the step explains makes nobody another process, nor the same one.
func TestSteppedClock(t *testing.T) {
	pid := program(t)
	p, err := process.Read(pid)
	must(t, err)
	for _, c := range []struct {
		name       string
		step, late time.Duration // of the clock; of the process after the file
		verdict    Verdict
	}{
		{"no step is visible", 0, time.Hour, Recycled},
		{"a jitter", startTolerance / 2, time.Hour, Recycled},
		{"explained", 2 * time.Hour, time.Hour, Unsure},
		{"just explained", time.Hour, time.Hour, Unsure},
		{"nodes were made some seconds after the boot", time.Hour - 5*time.Second, time.Hour, Unsure},
		{"not explained", time.Hour, 2 * time.Hour, Recycled},
		{"set back", -time.Hour, 30 * time.Minute, Recycled},
		{"never running", time.Hour, 2 * time.Second, Unsure},
		{"running without it", time.Hour, 0, Running},
	} {
		setClock(t, c.step)
		_, verdict, reason := namedProcess(pid, startTime(p).Add(-c.late))
		if verdict != c.verdict || verdict == Unsure && !strings.Contains(reason, "started after the file was written, or the clock was set: it is ") {
			t.Errorf("%s: %v, %q; want %v", c.name, verdict, reason, c.verdict)
		}
	}
}

// A lock that is held says more than clocks.
func TestSteppedClockAndHolder(t *testing.T) {
	setClock(t, 24*time.Hour)
	path, pid := in(t, "p.pid"), program(t)
	f := published(t, path, pid)
	hourAgo := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(path, hourAgo, hourAgo))
	if r := Inspect(path); r.Verdict != Running {
		t.Errorf("held: %+v", r)
	}
	f.close()
	if r := Inspect(path); r.Verdict != Unsure || r.Program != "cat" {
		t.Errorf("not held: %+v", r)
	}
}

// A start refuses only if the process may be its program's.
func TestSteppedClockAtStart(t *testing.T) {
	setClock(t, 24*time.Hour)
	cat, err := exec.LookPath("cat")
	must(t, err)
	path, pid := in(t, "p.pid"), program(t)
	hourAgo := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name string
		own  []Own
		held bool
	}{
		{"nothing is known", nil, true},
		{"the same file", []Own{{PID: deadPID(t)}, {Program: cat}}, true},
		{"one of two", []Own{{Program: "/none"}, {Program: cat}}, true},
		{"another one", []Own{{Program: "/proc/self/exe"}}, false},
	} {
		writeAt(t, path, pid, hourAgo)
		claim, err := New(path, false, c.own...)
		if isHeld(err) != c.held {
			t.Errorf("%s: %v", c.name, err)
		}
		if claim != nil {
			claim.Abandon()
		}
	}
}

func TestExecutes(t *testing.T) {
	dir := t.TempDir()
	script, other, binary := dir+"/script", dir+"/other", dir+"/binary"
	for _, path := range []string{script, other} {
		must(t, os.WriteFile(path, []byte("#!/bin/sh -e\nread x\n"), 0o755))
	}
	cat, err := exec.LookPath("cat")
	must(t, err)
	text, err := os.ReadFile(cat)
	must(t, err)
	must(t, os.WriteFile(binary, text, 0o755))
	for _, name := range []string{script, "./script", binary} {
		cmd := exec.Command(name)
		cmd.Dir = dir
		stdin, err := cmd.StdinPipe()
		must(t, err)
		must(t, cmd.Start())
		for end := time.Now().Add(10 * time.Second); !executes(cmd.Process.Pid, filepath.Join(dir, filepath.Base(name))) && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // the kernel may still be at it when Start returns
		}
		if !executes(cmd.Process.Pid, filepath.Join(dir, filepath.Base(name))) || executes(cmd.Process.Pid, other) {
			t.Errorf("%s is not recognised", name)
		}
		if name == binary {
			must(t, os.Rename(script, binary)) // an upgrade
			if !executes(cmd.Process.Pid, binary) {
				t.Error("replaced, it is not recognised")
			}
		}
		stdin.Close()
		cmd.Wait()
	}
}
