package containers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// TestContainer is pidleash as process 1 of real containers. A subtest named
// "without pidleash" is a negative control: it shows that the thing which
// pidleash promises does not come about by itself.
func TestContainer(t *testing.T) {
	b := bed.NewPodman(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bed.Podman)
	}{
		{"PID 1", testContainerPID1},
		{"exit code", testContainerExitCode},
		{"death by signal", testContainerDeath},
		{"stop", testContainerStop},
		{"signals", testContainerSignals},
		{"zombies", testContainerZombies},
		{"mistakes", testContainerMistakes},
		{"PID file removed inside", testContainerRemovedInside},
		{"PID file removed from the host", testContainerRemovedFromHost},
		{"PID file removed, program is deaf", testContainerRemovedDeaf},
		{"PID file of a killed container", testContainerStale},
		{"PID file of a running container", testContainerHeld},
		{"read-only", testContainerReadOnly},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b) })
	}
}

func testContainerPID1(t *testing.T, b *bed.Podman) {
	c := b.Start(t, nil, "/pidleash", "/probe", "ids")
	ids := parseIDs(t, c.Line())
	c.ExpectExit(0)
	if ids.pid == 1 || ids.ppid != 1 || ids.init != "pidleash" {
		t.Errorf("PROGRAM is %+v, want a child of process 1, pidleash", ids)
	}
	if text := c.Stderr(); text != "" {
		t.Errorf("standard error: %q, want nothing", text)
	}
	t.Run("without pidleash", func(t *testing.T) {
		c := b.Start(t, nil, "/probe", "ids")
		if ids := parseIDs(t, c.Line()); ids.pid != 1 {
			t.Errorf("the program is %+v, want process 1", ids)
		}
		c.ExpectExit(0)
	})
}

// probeIDs is what `probe ids` tells.
type probeIDs struct {
	pid, ppid, uid, gid int
	init                string // the name of process 1
}

func parseIDs(t *testing.T, line string) (ids probeIDs) {
	t.Helper()
	_, err := fmt.Sscanf(line, "pid %d ppid %d uid %d gid %d init %s",
		&ids.pid, &ids.ppid, &ids.uid, &ids.gid, &ids.init)
	if err != nil {
		t.Fatalf("probe ids: %q: %v", line, err)
	}
	return ids
}

func testContainerExitCode(t *testing.T, b *bed.Podman) {
	for _, code := range []int{0, 1, 3, 255} {
		b.Start(t, nil, "/pidleash", "/probe", "exit", strconv.Itoa(code)).ExpectExit(code)
	}
}

func testContainerDeath(t *testing.T, b *bed.Podman) {
	for _, signal := range []int{1, 9, 11, 15} {
		b.Start(t, nil, "/pidleash", "/probe", "die", strconv.Itoa(signal)).ExpectExit(128 + signal)
	}
	// The kernel throws away what process 1 does not handle.
	t.Run("without pidleash", func(t *testing.T) {
		b.Start(t, nil, "/probe", "die", "15").ExpectExit(98)
	})
}

func testContainerStop(t *testing.T, b *bed.Podman) {
	stop := func(t *testing.T, seconds, want int, args ...string) {
		t.Helper()
		c := b.Start(t, nil, args...)
		c.Expect("ready")
		b.Podman(t, "stop", fmt.Sprintf("--time=%d", seconds), c.Name)
		if args[len(args)-1] == "signals" {
			c.Expect("got 15")
		}
		c.ExpectExit(want)
	}
	t.Run("default disposition", func(t *testing.T) { stop(t, 20, 143, "/pidleash", "/probe", "wait") })
	t.Run("handler", func(t *testing.T) { stop(t, 20, 7, "/pidleash", "/probe", "signals") })
	t.Run("without pidleash", func(t *testing.T) { stop(t, 1, 137, "/probe", "wait") })
}

func testContainerSignals(t *testing.T, b *bed.Podman) {
	c := b.Start(t, nil, "/pidleash", "/probe", "signals")
	c.Expect("ready")
	for signal, number := range map[string]int{"HUP": 1, "INT": 2, "USR1": 10, "WINCH": 28, "40": 40} {
		c.Kill(signal)
		c.Expect(fmt.Sprintf("got %d", number))
	}
	c.Kill("TERM")
	c.Expect("got 15")
	c.ExpectExit(7)
}

func testContainerZombies(t *testing.T, b *bed.Podman) {
	const orphans = 200
	count := func(t *testing.T, zombies int, args ...string) {
		t.Helper()
		c := b.Start(t, nil, append(args, "orphans", strconv.Itoa(orphans))...)
		c.Expect(fmt.Sprintf("orphans %d", orphans))
		c.Expect(fmt.Sprintf("living 0 zombies %d", zombies))
		c.ExpectExit(0)
	}
	count(t, 0, "/pidleash", "/probe")
	t.Run("without pidleash", func(t *testing.T) { count(t, orphans, "/probe") })
}

// Podman itself ends with 125 to 127, too, when it cannot start a container:
// the line tells whose mistake it is.
func testContainerMistakes(t *testing.T, b *bed.Podman) {
	for _, test := range []struct {
		args []string
		code int
		line string
	}{
		{[]string{"-no-such-option", "/probe"}, 125, "no-such-option"},
		{[]string{"-pidfile", "/no/such/directory/p.pid", "/probe"}, 125, "/no/such/directory"},
		{[]string{"/etc"}, 126, "/etc"},
		{[]string{"/no/such/program"}, 127, "/no/such/program"},
		{[]string{"no-such-program"}, 127, "no-such-program"},
	} {
		c := b.Start(t, nil, append([]string{"/pidleash"}, test.args...)...)
		c.ExpectExit(test.code)
		line := regexp.MustCompile(`(?m)^pidleash: .*` + regexp.QuoteMeta(test.line))
		if text := c.Stderr(); !line.MatchString(text) {
			t.Errorf("%q: standard error %q, want a line of pidleash's with %q", test.args, text, test.line)
		}
	}
}

func testContainerRemovedInside(t *testing.T, b *bed.Podman) {
	c := b.Start(t, []string{"--tmpfs=/run"}, "/pidleash", "-pidfile", "/run/p.pid", "/probe", "wait")
	c.Expect("ready")
	if text := c.Exec("/probe", "cat", "/run/p.pid"); !isPID(text) || text == "1\n" {
		t.Errorf("the PID file says %q, want PROGRAM's PID", text)
	}
	// Its own status says nothing: it may be killed with its container.
	b.Command("exec", c.Name, "/probe", "unlink", "/run/p.pid").Run()
	c.ExpectExit(143)
	expectRemovalTold(c, "/run/p.pid")
}

var pidLine = regexp.MustCompile(`^[1-9][0-9]*\n$`)

func isPID(text string) bool { return pidLine.MatchString(text) }

// expectRemovalTold: an operator wants to find out why the container ended.
func expectRemovalTold(c *bed.Container, pidfile string) {
	c.T.Helper()
	text := c.Stderr()
	if !strings.HasPrefix(text, "pidleash: ") || !strings.Contains(text, pidfile) || strings.Count(text, "\n") != 1 {
		c.T.Errorf("container %s: standard error %q, want one line of pidleash's with %s", c.Name, text, pidfile)
	}
}

func testContainerRemovedFromHost(t *testing.T, b *bed.Podman) {
	dir, pidfile := bedVolume(t)
	c := b.Start(t, dir, "/pidleash", "-pidfile", "/pids/p.pid", "/probe", "wait")
	c.Expect("ready")
	if text, err := os.ReadFile(pidfile); err != nil || !isPID(string(text)) {
		t.Errorf("the PID file says %q, %v", text, err)
	}
	if err := os.Remove(pidfile); err != nil {
		t.Fatal(err)
	}
	c.ExpectExit(143)
	expectRemovalTold(c, "/pids/p.pid")
}

// bedVolume is the option of podman for a volume at /pids, and the host's path
// of p.pid in it.
func bedVolume(t *testing.T) (opts []string, pidfile string) {
	dir := t.TempDir()
	return []string{"--volume=" + dir + ":/pids"}, filepath.Join(dir, "p.pid")
}

func testContainerRemovedDeaf(t *testing.T, b *bed.Podman) {
	volume, pidfile := bedVolume(t)
	c := b.Start(t, volume, "/pidleash", "-pidfile", "/pids/p.pid", "-stop", "TERM/200ms/KILL", "/probe", "deaf")
	c.Expect("ready")
	if err := os.Remove(pidfile); err != nil {
		t.Fatal(err)
	}
	c.ExpectExit(137)
}

// In a container the same small PIDs come back: the PID of the stale file is
// alive in the second container, as PROGRAM itself or as another process.
func testContainerStale(t *testing.T, b *bed.Podman) {
	volume, pidfile := bedVolume(t)
	killed := b.Start(t, volume, "/pidleash", "-pidfile", "/pids/p.pid", "/probe", "wait")
	killed.Expect("ready")
	killed.Kill("KILL")
	killed.ExpectExit(137)
	if text, err := os.ReadFile(pidfile); err != nil || !isPID(string(text)) {
		t.Fatalf("what the killed container left behind: %q, %v", text, err)
	}
	next := b.Start(t, volume, "/pidleash", "-pidfile", "/pids/p.pid", "/probe", "ids")
	parseIDs(t, next.Line())
	next.ExpectExit(0)
	if _, err := os.Lstat(pidfile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the PID file after the end: %v, want none", err)
	}
}

// The other container's PIDs mean nothing here, its lock does.
func testContainerHeld(t *testing.T, b *bed.Podman) {
	volume, pidfile := bedVolume(t)
	holder := b.Start(t, volume, "/pidleash", "-pidfile", "/pids/p.pid", "/probe", "wait")
	holder.Expect("ready")
	before, err := os.ReadFile(pidfile)
	if err != nil {
		t.Fatal(err)
	}
	b.Start(t, volume, "/pidleash", "-pidfile", "/pids/p.pid", "/probe", "wait").ExpectExit(120)
	for _, words := range [][]string{{"signal", "KILL"}, {"wait"}} {
		c := b.Start(t, volume, append(append([]string{"/pidleash"}, words...), "/pids/p.pid")...)
		c.ExpectExit(4)
		if text := c.Stderr(); !strings.Contains(text, unseen) {
			t.Errorf("%v says %q", words, text)
		}
	}
	if after, err := os.ReadFile(pidfile); err != nil || string(after) != string(before) {
		t.Errorf("the holder's PID file is %q, %v, and was %q", after, err, before)
	}
	b.Start(t, volume, "/pidleash", "stop", "-timeout", "30s", "/pids/p.pid").ExpectExit(0)
	holder.ExpectExit(143)
}

func testContainerReadOnly(t *testing.T, b *bed.Podman) {
	sealed := []string{"--read-only", "--read-only-tmpfs=false", "--env=PIDFILE=/run/p.pid"}
	c := b.Start(t, append(sealed, "--tmpfs=/run"), "/pidleash", "/probe", "wait")
	c.Expect("ready")
	if text := c.Exec("/probe", "cat", "/run/p.pid"); !isPID(text) {
		t.Errorf("the PID file says %q, want PROGRAM's PID", text)
	}
	b.Podman(t, "stop", "--time=20", c.Name)
	c.ExpectExit(143)
	t.Run("nowhere to write", func(t *testing.T) {
		c := b.Start(t, append(sealed, "--volume="+t.TempDir()+":/run:ro"), "/pidleash", "/probe", "wait")
		c.ExpectExit(125)
		if text := c.Stderr(); !strings.HasPrefix(text, "pidleash: ") || !strings.Contains(text, "/run") {
			t.Errorf("standard error %q, want a line of pidleash's with /run", text)
		}
	})
}

// TestSmallPIDs: in a container with few processes the PID of a stale file is
// most likely that of one of pidleash's own threads, which /proc shows like a
// process and kill(2) accepts. It is none.
func TestSmallPIDs(t *testing.T) {
	if os.Geteuid() != 0 {
		bed.Missing(t, "a PID namespace needs root here")
	}
	pidfile := filepath.Join(t.TempDir(), "p.pid")
	for pid := 1; pid <= 20; pid++ {
		if err := os.WriteFile(pidfile, fmt.Appendln(nil, pid), 0o644); err != nil {
			t.Fatal(err)
		}
		unshare := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
			bed.Pidleash, "-pidfile", pidfile, "true")
		if out, err := unshare.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("with a stale file that names PID %d: %v: %s", pid, err, out)
		}
	}
}
