package pidfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
)

// wantHeld fails the test unless the error says that the path is held: by which process, 0 for
// nobody, and what its file names, 0 for no PID.
func wantHeld(t *testing.T, err error, path string, pid, holder int) {
	t.Helper()
	text := "pidfile " + path + ": already in use"
	if pid != 0 {
		text = fmt.Sprintf("pidfile %s: already running as PID %d%s", path, pid, nameOf(pid))
	}
	hint := "remove the file to stop it"
	if holder != 0 {
		text += fmt.Sprintf(", held by PID %d%s", holder, nameOf(holder))
	} else {
		text += ", held by nobody: it was started without pidleash"
		hint = "stop it first"
	}
	if !isHeld(err) || err.Error() != text || fault.Hint(err) != hint {
		t.Errorf("%v; hint: %s\nwant %s; hint: %s", err, fault.Hint(err), text, hint)
	}
}

// isHeld reports an error that says that another process holds the PID file.
func isHeld(err error) bool { return fault.Code(err) == fault.Held }

// refused fails the test unless New refuses the path with an *fault.Error that names
// it and the problem.
func refused(t *testing.T, path, problem string) *fault.Error {
	t.Helper()
	c, err := New(path, false)
	if err == nil {
		c.Abandon()
		t.Fatalf("New(%q, false) succeeded, want %q", path, problem)
	}
	var e *fault.Error
	if !errors.As(err, &e) || e.Object != object(path) || !strings.Contains(e.Error(), path) || !strings.Contains(e.Error(), problem) {
		t.Fatalf("New(%q, false): %v, want %q", path, err, problem)
	}
	return e
}

func TestClaimAndPublish(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	c := claim(t, path)
	if c.StaleReason != "" {
		t.Errorf("nothing was there, but: %s", c.StaleReason)
	}
	if c.Visible() {
		t.Error("visible before it is published")
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the path exists before it is published: %v", err)
	}
	f := publish(t, c, pid)
	if !c.Visible() || f.path != path {
		t.Errorf("visible %v at %q, want it at %q", c.Visible(), f.path, path)
	}
	if got := read(t, path); got != string(line(pid)) {
		t.Errorf("content %q, want %q", got, line(pid))
	}
	if all := names(t, filepath.Dir(path)); all != "p.pid" {
		t.Errorf("the directory has %q, want the PID file only", all)
	}
	if state, err := f.Look(); state != Present || err != nil {
		t.Errorf("%v, %v; want present", state, err)
	}
}

func TestSecondClaimIsRefused(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	published(t, path, pid)
	_, err := New(path, false)
	wantHeld(t, err, path, pid, os.Getpid())
	if !strings.Contains(err.Error(), "(cat)") {
		t.Errorf("message %q", err)
	}
	if all := names(t, filepath.Dir(path)); all != "p.pid" {
		t.Errorf("the refused start left %q", all)
	}
}

// The lock alone protects: the program may have ended, and its pidleash not yet.
func TestLockedFileOfADeadProgramIsHeld(t *testing.T) {
	path := in(t, "p.pid")
	for name, content := range map[string][]byte{
		"dead": line(deadPID(t)), "empty": nil, "this process": line(os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			write(t, path, content)
			lock := lockFile(t, path)
			_, err := New(path, false)
			wantHeld(t, err, path, parsePID(content), os.Getpid())
			lock.Close()
			c := claim(t, path) // control: only the lock was in the way
			c.Abandon()
		})
	}
}

// A lock says more than any content.
func TestLockedFileOfOthersIsHeld(t *testing.T) {
	path := in(t, "p.pid")
	for _, content := range []string{"nginx\n", "7 words\n"} {
		write(t, path, []byte(content))
		lock := lockFile(t, path)
		_, err := New(path, false)
		wantHeld(t, err, path, parsePID([]byte(content)), os.Getpid())
		lock.Close()
	}
}

func TestRunningProgramWithoutPidleashIsHeld(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	write(t, path, line(pid))
	_, err := New(path, false)
	wantHeld(t, err, path, pid, 0)
	// To look at the file must not lock it, not even for a moment: the program
	// may be about to take the lock itself.
	lockFile(t, path)
}

func TestStaleFileIsReplaced(t *testing.T) {
	setClock(t, 0)
	running := program(t)
	hourAgo := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		content []byte
		written time.Time
		reason  string
	}{
		"dead":     {line(deadPID(t)), time.Now(), "does not run"},
		"zombie":   {line(zombie(t)), time.Now(), "has ended"},
		"recycled": {line(running), hourAgo, "started after the file was written"},
		"itself":   {line(os.Getpid()), time.Now(), "is this start itself or what started it"},
		"empty":    {nil, time.Now(), "is empty"},
		"blank":    {[]byte(" \n\x00\x00"), time.Now(), "is empty"},
		"padded":   {append(line(deadPID(t)), " \n\x00\x00"...), time.Now(), "does not run"},
	} {
		t.Run(name, func(t *testing.T) {
			path := in(t, "p.pid")
			write(t, path, c.content)
			if err := os.Chtimes(path, c.written, c.written); err != nil {
				t.Fatal(err)
			}
			cl := claim(t, path)
			if !strings.Contains(cl.StaleReason, c.reason) {
				t.Errorf("reason %q, want %q", cl.StaleReason, c.reason)
			}
			if read(t, path) != string(c.content) {
				t.Error("the stale file was changed before Clear")
			}
			publish(t, cl, running)
			if got := read(t, path); got != string(line(running)) {
				t.Errorf("content %q", got)
			}
		})
	}
}

// Of several starts that find the same stale file one goes on.
func TestStaleFileIsLockedUntilClear(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, line(deadPID(t)))
	c := claim(t, path)
	_, err := New(path, false)
	wantHeld(t, err, path, deadPID(t), os.Getpid())
	c.Abandon()
	if got := read(t, path); got != string(line(deadPID(t))) {
		t.Errorf("an abandoned claim left %q", got)
	}
	c = claim(t, path)
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Clear: %v", err)
	}
	if err := c.Clear(); err != nil {
		t.Errorf("a second Clear: %v", err)
	}
	c.Abandon()
}

func TestClearSparesWhatIsNotStale(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, line(deadPID(t)))
	c := claim(t, path)
	defer c.Abandon()
	writeOver(t, path, []byte("somebody else's"))
	if err := c.Clear(); err != nil {
		t.Error(err)
	}
	if got := read(t, path); got != "somebody else's" {
		t.Errorf("the other's file has %q", got)
	}
}

// Who locked the stale file first may have replaced it by the time another
// start finds it locked, or free: that one has to look again.
func TestLockIfStaleOfAFileThatHasGone(t *testing.T) {
	for _, locked := range []bool{false, true} {
		path := in(t, "p.pid")
		write(t, path, line(deadPID(t)))
		file, err := open(path)
		must(t, err)
		defer file.close()
		if locked {
			lockFile(t, path)
		}
		writeOver(t, path, line(program(t)))
		if _, err := lockIfStale(file, path, nil); err != errReplaced {
			t.Errorf("locked %v: %v; want to look again", locked, err)
		}
	}
}

// Two starts that found no file: the second to publish must not replace the
// first one's.
func TestLostRace(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	winner := claim(t, path)
	losers := []*Claim{claim(t, path), claimNamed(t, path)}
	publish(t, winner, pid)
	for _, loser := range losers {
		if err := loser.appear(); err != unix.EEXIST {
			t.Errorf("publishing twice: %v, want EEXIST", err)
		}
		if loser.Visible() {
			t.Error("the loser believes that it has published")
		}
		loser.Abandon()
	}
	if got := read(t, path); got != string(line(pid)) || names(t, filepath.Dir(path)) != "p.pid" {
		t.Errorf("the loser left %q in %q", got, names(t, filepath.Dir(path)))
	}
}

func TestTemporaryFile(t *testing.T) {
	path := in(t, "p.pid")
	c := claimNamed(t, path)
	dir, base := filepath.Split(c.Temp)
	if dir != filepath.Dir(path)+"/" || !strings.HasPrefix(base, ".p.pid") {
		t.Errorf("temporary file %s, want a hidden one beside %s", c.Temp, path)
	}
	if !isLocked(t, c.Temp) {
		t.Error("it is not locked before it appears")
	}
	c.Abandon()
	if all := names(t, filepath.Dir(path)); all != "" {
		t.Errorf("an abandoned claim left %q", all)
	}
	c.Abandon() // twice does no harm
}

// A file without a name is gone with who has made it.
func TestClaimHasNoName(t *testing.T) {
	path := in(t, "p.pid")
	c := claim(t, path)
	if all := names(t, filepath.Dir(path)); all != "" || !c.Unnamed {
		t.Errorf("the directory has %q", all)
	}
	if !isLocked(t, c.Temp) {
		t.Error("it is not locked before it appears")
	}
	c.Abandon()
}

// A leftover of a SIGKILL must not stand in the way of the next start.
func TestTemporaryNamesDiffer(t *testing.T) {
	path := in(t, "p.pid")
	a, b := claimNamed(t, path), claimNamed(t, path)
	defer a.Abandon()
	defer b.Abandon()
	if a.Temp == b.Temp {
		t.Errorf("two claims use %s", a.Temp)
	}
}

func TestLongNames(t *testing.T) {
	for _, n := range []int{200, unix.NAME_MAX - 1, unix.NAME_MAX} {
		pid := program(t)
		f := published(t, in(t, strings.Repeat("p", n)), pid)
		if state, err := f.Look(); state != Present || err != nil {
			t.Errorf("%d bytes: %v, %v", n, state, err)
		}
	}
	path := in(t, strings.Repeat("p", unix.NAME_MAX+1))
	refused(t, path, "name too long")
}

func TestModeWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		path := in(t, "p.pid")
		old := unix.Umask(umask)
		c, err := New(path, false)
		unix.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, c, program(t))
		st, err := os.Stat(path)
		if err != nil || st.Mode() != 0o644 {
			t.Errorf("umask %03o: mode %v, %v", umask, st.Mode(), err)
		}
	}
}

func TestDescriptorsAreCloseOnExec(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, nil)
	c := claim(t, path)
	defer c.Abandon()
	for name, fd := range map[string]int{"write": c.Write, "lock": c.lock, "stale": c.stale.fd} {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: flags %#x, %v; want close-on-exec", name, flags, err)
		}
	}
}

func TestWhatIsNoPIDFileIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		problem string
		make    func(path string) error
	}{
		"symbolic link": {"is a symbolic link", func(p string) error { return os.Symlink("target", p) }},
		"broken link":   {"is a symbolic link", func(p string) error { return os.Symlink("nowhere", p) }},
		"directory":     {"is a directory", func(p string) error { return os.Mkdir(p, 0o755) }},
		"fifo":          {"is not a regular file", func(p string) error { return unix.Mkfifo(p, 0o644) }},
		"socket":        {"is not a regular file", bindSocket},
		"big file": {"is not a PID file", func(p string) error {
			return os.WriteFile(p, []byte(strings.Repeat("log line\n", 100)), 0o644)
		}},
		"big number": {"is not a PID file", func(p string) error {
			return os.WriteFile(p, []byte(strings.Repeat("7", contentLimit)), 0o644)
		}},
		"word": {"is not a PID file", func(p string) error { return os.WriteFile(p, []byte("nginx\n"), 0o644) }},
		"more than a PID": {"the file has more than a PID", func(p string) error {
			return os.WriteFile(p, append(line(deadPID(t)), "words"...), 0o644)
		}},
		"more than was read": {"the file has more than a PID", func(p string) error {
			return os.WriteFile(p, append(line(deadPID(t)), make([]byte, contentLimit)...), 0o644)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := in(t, "p.pid")
			write(t, filepath.Dir(path)+"/target", line(deadPID(t)))
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, path, c.problem)
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
				t.Errorf("it was touched: %v", err)
			}
			if all := names(t, filepath.Dir(path)); all != "p.pid target" {
				t.Errorf("the directory has %q", all)
			}
		})
	}
}

func bindSocket(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
}

func TestDirectoryProblems(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", nil)
	if e := refused(t, dir+"/missing/p.pid", "no directory "+dir+"/missing"); e.Hint == "" {
		t.Error("no hint")
	}
	refused(t, dir+"/file/p.pid", "its directory is not a directory")
	if e := refused(t, "/proc/p.pid", "cannot be created in /proc"); !errors.Is(e, errNoFiles) || e.Hint == "" {
		t.Errorf("in procfs: %v", e)
	}

	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var unwritable, unreadable error
	write(t, dir+"/secret", line(deadPID(t)))
	if err := os.Chmod(dir+"/secret", 0o600); err != nil {
		t.Fatal(err)
	}
	// The test's directory is in one that only its user may enter.
	t.Chdir(dir)
	asNobody(t, func() {
		_, unwritable = New("p.pid", false)
		_, unreadable = New("secret", false)
	})
	var e *fault.Error
	if !errors.As(unwritable, &e) || !errors.Is(e, unix.EACCES) || !strings.Contains(e.Hint, "may write") {
		t.Errorf("a directory that may not be written: %v", unwritable)
	}
	if !errors.As(unreadable, &e) || !errors.Is(e, unix.EACCES) {
		t.Errorf("a file that may not be read: %v", unreadable)
	}
}
