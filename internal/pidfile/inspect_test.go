package pidfile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else too")
	}
}

func TestInspect(t *testing.T) {
	setClock(t, 0)
	running, dead := program(t), zombie(t)
	for _, c := range []struct {
		name    string
		make    func(path string)
		verdict Verdict
		pid     int
		reason  string
	}{
		{"running", func(path string) { write(t, path, line(running)) }, Running, running, ""},
		{"dead", func(path string) { write(t, path, line(deadPID(t))) }, Stale, deadPID(t), "does not run"},
		{"zombie", func(path string) { write(t, path, line(dead)) }, Stale, dead, "has ended"},
		{"recycled", func(path string) { writeAt(t, path, running, time.Now().Add(-time.Hour)) }, Recycled, running, "started after the file was written"},
		{"of another boot", func(path string) { writeAt(t, path, running, time.Unix(1, 0)) }, Recycled, running, "it is older than the boot: "},
		{"empty", func(path string) { write(t, path, nil) }, Empty, 0, "it is empty"},
		{"zeros", func(path string) { write(t, path, make([]byte, 30)) }, Empty, 0, "it is empty"},
		{"garbage", func(path string) { write(t, path, []byte("\x00\xff7")) }, Unreadable, 0, "is not a PID file"},
		{"missing", func(string) {}, Missing, 0, "no such file"},
		{"symbolic link", func(path string) { must(t, os.Symlink("/proc/self/stat", path)) }, Unreadable, 0, "is a symbolic link"},
		{"dangling link", func(path string) { must(t, os.Symlink("none", path)) }, Unreadable, 0, "is a symbolic link"},
		{"fifo", func(path string) { must(t, unix.Mkfifo(path, 0o644)) }, Unreadable, 0, "is not a regular file"},
		{"directory", func(path string) { must(t, os.Mkdir(path, 0o755)) }, Unreadable, 0, "is a directory"},
	} {
		path := in(t, "p.pid")
		c.make(path)
		r := Inspect(path)
		if r.Verdict != c.verdict || r.PID != c.pid || r.Path != path || r.Holder != 0 ||
			!strings.Contains(r.Reason, c.reason) || (r.Reason == "") != (c.reason == "") {
			t.Errorf("%s: %+v; want %v, PID %d, %q", c.name, r, c.verdict, c.pid, c.reason)
		}
	}
	if r := Inspect("/dev/null/p.pid"); r.Verdict != Missing {
		t.Errorf("below a file: %+v", r)
	}
}

// To open /proc/locks takes the kernel milliseconds. For one file the likely holder and the lock itself are asked; for
// many the list is read once.
func TestInspectNeedsNoList(t *testing.T) {
	child := program(t)
	for _, c := range []struct {
		name       string
		locked     string // besides the PID file: what a pidleash has locked
		pid        int
		holder     int
		single     bool
		needsAList bool
	}{
		{"held by the parent", "p.pid", child, os.Getpid(), true, false},
		{"held by itself", "p.pid", os.Getpid(), os.Getpid(), true, false},
		{"path held by the parent", ".p.pid.lock", child, os.Getpid(), true, false},
		{"held by nobody", "", child, 0, true, false},
		{"held by another", "p.pid", 1, os.Getpid(), true, true},
		{"one of many, held by nobody", "", child, 0, false, false},
		{"one of many", "p.pid", child, os.Getpid(), false, true},
	} {
		path := in(t, "p.pid")
		write(t, path, line(c.pid))
		if c.locked != "" {
			beside := filepath.Join(filepath.Dir(path), c.locked)
			if c.locked != "p.pid" {
				write(t, beside, nil)
			}
			defer lockFile(t, beside).Close()
		}
		i := Inspector{view{single: c.single}}
		if r := i.Inspect(path); r.Holder != c.holder || r.Held != (c.holder != 0) {
			t.Errorf("%s: %+v; want holder %d", c.name, r, c.holder)
		}
		if (i.view.locks != nil) != c.needsAList {
			t.Errorf("%s: the list was read: %t, want %t", c.name, !c.needsAList, c.needsAList)
		}
	}
}

func writeAt(t *testing.T, path string, pid int, when time.Time) {
	t.Helper()
	write(t, path, line(pid))
	must(t, os.Chtimes(path, when, when))
}

func TestInspectTellsOfTheProcess(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	write(t, path, line(pid))
	r := Inspect(path)
	if age := time.Since(r.Since); r.Program != "cat" || age < -time.Second || age > time.Minute {
		t.Errorf("%+v, want cat, which has begun just now", r)
	}
}

// The lock is this process's, whose own name stands for pidleash.
func TestInspectHolder(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	published(t, path, pid)
	if r := Inspect(path); r.Verdict != Running || r.PID != pid || r.Holder != os.Getpid() {
		t.Errorf("published: %+v", r)
	}
	// A clock that was set back does not make it another's.
	must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	if r := Inspect(path); r.Verdict != Running {
		t.Errorf("published before the clock was set: %+v", r)
	}
	write(t, path, line(zombie(t)))
	if r := Inspect(path); r.Verdict != Stale || r.Holder != os.Getpid() {
		t.Errorf("after the program's end: %+v", r)
	}
	write(t, path, nil)
	if r := Inspect(path); r.Verdict != Empty || r.Holder != os.Getpid() {
		t.Errorf("empty: %+v", r)
	}
}

// lockAs locks a file by flock(1) under a name, as a user.
func lockAs(t *testing.T, path, name string, user uint32) (pid int) {
	t.Helper()
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "pidfile-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	if target, isLink := strings.CutPrefix(name, "link to flock as "); isLink {
		name = target
		must(t, os.Symlink(flock, filepath.Join(dir, name)))
	} else {
		binary, err := os.ReadFile(flock)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), binary, 0o755))
	}
	cmd := exec.Command(filepath.Join(dir, name), path, "sh", "-c", "echo; cat")
	if user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// Everybody who can read a file can lock it.
func TestInspectTrustsNoOtherHolder(t *testing.T) {
	needRoot(t)
	const nobody = 65534
	own := filepath.Base(os.Args[0])
	for _, c := range []struct {
		name        string
		locker      string
		user, owner uint32
		holds       bool
	}{
		{"pidleash", own, 0, 0, true},
		{"a daemon", "daemon", 0, 0, false},
		{"another user's pidleash", own, nobody, 0, false},
		{"another program by that name", "link to flock as pidleash", 0, 0, false},
		{"the owner's pidleash", own, nobody, nobody, true},
		{"root's pidleash", own, 0, nobody, true},
	} {
		dir, err := os.MkdirTemp("", "pidfile-")
		must(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		must(t, os.Chmod(dir, 0o755))
		path := dir + "/p.pid"
		write(t, path, line(deadPID(t)))
		must(t, os.Chown(path, int(c.owner), int(c.owner)))
		want := lockAs(t, path, c.locker, c.user)
		if !c.holds {
			want = 0
		}
		if r := Inspect(path); r.Holder != want {
			t.Errorf("%s: %+v, want the holder %d", c.name, r, want)
		}
	}
}

// To root a file is worth what its writers could do themselves.
func TestInspectTrustsNoOtherWriter(t *testing.T) {
	needRoot(t)
	pid := program(t)
	for _, c := range []struct {
		mode    os.FileMode
		owner   int
		verdict Verdict
		reason  string
	}{
		{0o644, 0, Running, ""},
		{0o600, 0, Running, ""},
		{0o664, 0, Untrusted, "its mode is 0664: others than its owner can write it"},
		{0o646, 0, Untrusted, "its mode is 0646: others than its owner can write it"},
		{0o644, 65534, Untrusted, "user 65534 wrote it, and PID"},
	} {
		path := in(t, "p.pid")
		write(t, path, line(pid))
		must(t, os.Chmod(path, c.mode))
		must(t, os.Chown(path, c.owner, c.owner))
		if r := Inspect(path); r.Verdict != c.verdict || r.PID != pid || !strings.Contains(r.Reason, c.reason) {
			t.Errorf("mode %o, owner %d: %+v, want %v, %q", c.mode, c.owner, r, c.verdict, c.reason)
		}
	}
}
