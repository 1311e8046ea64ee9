package transparency

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// socketPair is one end, and the next n bytes that the other end receives.
func socketPair(t *testing.T) (theirs *os.File, receive func(n int) string) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	bed.Must(t, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return theirs, func(n int) string {
		theirs.Close() // so that nothing more comes when pidleash has failed
		buf := make([]byte, n)
		n, _ = io.ReadFull(ours, buf)
		return string(buf[:n])
	}
}

// /dev/stdout and its kin are the descriptor: to open a socket is refused.
func TestOutputIsADescriptor(t *testing.T) {
	t.Parallel()
	for _, m := range []bed.StartMode{bed.StartModes[0], bed.StartModes[2], bed.StartModes[4]} {
		for name, c := range map[string]struct{ script, options, want string }{
			"same":      {`exec "$@" >&3 3>&-`, "-stdout /dev/stdout", "out\n"},
			"other":     {`exec "$@" >&3 3>&-`, "-stdout /dev/null -stderr /dev/stdout", "err\n"},
			"exchanged": {`exec "$@" 2>&3 3>&- >/dev/null`, "-stdout /dev/stderr -stderr /dev/stdout", "out\n"},
			"fd":        {`exec "$@" >&3 3>&-`, "-stdout /dev/fd/1 -stderr /proc/self/fd/1", "out\nerr\n"},
		} {
			t.Run(m.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				theirs, receive := socketPair(t)
				a.How.Extra, a.How.Before = []*os.File{theirs}, []string{"sh", "-c", c.script, "sh"}
				a.Options = strings.Fields(c.options)
				a.Shell("echo out; echo err >&2; exec sleep 600")
				r := a.Start(t, m)
				if got := receive(len(c.want)); got != c.want {
					t.Errorf("the socket got %q, want %q\n%s", got, c.want, r.Stderr())
				}
				bed.Await(t, "PROGRAM runs", a.IsSleeping)
				a.Leave(t)
			})
		}
	}
}

// A descriptor that was inherited is one, too; those of pidleash itself are none.
func TestOutputIsAnInheritedDescriptor(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	theirs, receive := socketPair(t)
	a.How.Extra, a.Options = []*os.File{theirs}, []string{"-stdout", "/dev/fd/3"}
	a.Shell("echo out")
	a.Start(t, bed.StartModes[0]).ExpectCode(t, 0)
	if got := receive(4); got != "out\n" {
		t.Errorf("the socket got %q", got)
	}
	for _, m := range bed.StartModes {
		for _, fd := range []string{"3", "4", "5", "99"} {
			a := bed.NewAttempt(t)
			a.Options = []string{"-stdout", "/dev/fd/" + fd}
			r := a.Start(t, m)
			line := "stdout /dev/fd/" + fd + ": cannot be opened: bad file descriptor; hint: it must be open"
			bed.Conclusion{Code: 125, Line: line}.Expect(t, r)
		}
	}
}

// What another user has opened is refused by the kernel to who opens it again.
func TestOutputOfAnotherUser(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	a := bed.NewAttempt(t)
	a.How, a.Options = bed.AsNobody(), []string{"-stdout", "/dev/stdout"}
	prints(a, t, bed.StartModes[0], "echo hello", "hello")
}

// Exchanged descriptors are not exchanged again at each restart in the background.
func TestOutputExchangedAtEachRestart(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	out, err := os.Create(a.Other + "/1")
	bed.Must(t, err)
	defer out.Close()
	a.How.Extra = []*os.File{out}
	a.How.Before = []string{"sh", "-c", `exec "$@" >&3 3>&-`, "sh"}
	a.Options = strings.Fields("-daemon -restart always -restart-delay 0 -stdout /dev/stderr -stderr /dev/stdout")
	a.Shell("echo out; echo err >&2; exec sleep 600")
	r := a.Start(t, bed.StartModes[0])
	r.ExpectCode(t, 0)
	for n := range 4 {
		want := strings.Repeat("err\n", n+1)
		bed.Await(t, "PROGRAM has written, and sleeps", func() bool {
			text, _ := os.ReadFile(a.Other + "/1")
			return a.IsSleeping() && len(text) >= len(want)
		})
		if got := bed.ReadFile(t, a.Other+"/1"); got != want || strings.Count(r.Stderr(), "out\n") != n+1 {
			t.Fatalf("start %d: standard output has %q, standard error %q", n, got, r.Stderr())
		}
		if n < 3 {
			bed.Must(t, syscall.Kill(bed.PIDIn(t, a.PIDFile), syscall.SIGKILL))
		}
	}
	a.Leave(t)
}

// For a file that is there, of another user and in a sticky directory, O_CREAT alone may be refused:
// fs.protected_regular of proc_sys_fs(5).
func TestOutputFileIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	bed.WriteFile(t, a.Other+"/log", "", 0o666)
	a.How.Before = []string{"strace", "-f", "-qq", "-o", a.Other + "/trace", "-e", "trace=open,openat,openat2"}
	a.Options = []string{"-stdout", a.Other + "/log"}
	a.Shell("echo out")
	a.Start(t, bed.StartModes[0]).ExpectCode(t, 0)
	for line := range strings.Lines(bed.ReadFile(t, a.Other+"/trace")) {
		if strings.Contains(line, `log"`) && strings.Contains(line, "O_CREAT") {
			t.Errorf("%s", line)
		}
	}
	if got := bed.ReadFile(t, a.Other+"/log"); got != "out\n" {
		t.Errorf("the log has %q", got)
	}
}

// The hint names the true reason.
func TestOutputHints(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for name, c := range map[string]struct {
		path, line string
		make       func(t *testing.T, dir string)
	}{
		"file": {"f", "permission denied; hint: user 65534 may not write this file, which is user 0's",
			func(t *testing.T, dir string) { bed.WriteFile(t, dir+"/f", "", 0o644) }},
		"directory": {"d/f", "permission denied; hint: choose a directory that user 65534 may write",
			func(t *testing.T, dir string) { bed.Must(t, os.Mkdir(dir+"/d", 0o755)) }},
		"closed directory": {"d/f", "permission denied; hint: user 65534 may not enter .*/d",
			func(t *testing.T, dir string) { bed.Must(t, os.Mkdir(dir+"/d", 0o700)) }},
		"no directory": {"d/f", "no such file or directory; hint: create the directory .*/d", func(*testing.T, string) {}},
		"no files": {"d/f", "no such file or directory; hint: choose another directory: the file system of .*/d takes no files",
			func(t *testing.T, dir string) { bed.Must(t, os.Symlink("/proc", dir+"/d")) }},
		"link": {"l", "no such file or directory; hint: it is a symbolic link: create what it leads to",
			func(t *testing.T, dir string) { bed.Must(t, os.Symlink("no/where", dir+"/l")) }},
		"file as directory": {"f/f", "not a directory; hint: name a file in a directory",
			func(t *testing.T, dir string) { bed.WriteFile(t, dir+"/f", "", 0o644) }},
		"circle": {"l", "too many levels of symbolic links; hint: its symbolic links lead in a circle",
			func(t *testing.T, dir string) { bed.Must(t, os.Symlink("l", dir+"/l")) }},
		"long": {strings.Repeat("f", 256), "file name too long; hint: choose a shorter path", func(*testing.T, string) {}},
		"socket": {"s", "no such device or address; hint: it is a socket: pass it as a descriptor, /dev/fd/N",
			func(t *testing.T, dir string) {
				bed.Must(t, unix.Mknod(dir+"/s", unix.S_IFSOCK|0o666, 0))
				bed.Must(t, os.Chmod(dir+"/s", 0o666))
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			c.make(t, a.Other)
			a.How, a.Options = bed.AsNobody(), []string{"-stdout", a.Other + "/" + c.path}
			bed.Conclusion{Code: 125, Line: "stdout .*: cannot be opened: " + c.line}.Expect(t, a.Start(t, bed.StartModes[0]))
		})
	}
}

// A file system that PROGRAM has left can be unmounted.
func TestDirectoryIsNotKeptBusy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options string
		stays   bool
	}{
		{"", false},
		{"-same-group", false},
		{"-ready cmd:true", false},
		{"-chdir sub -stop-command :", false},
		{"-restart on-failure", true},
		{"-restart-signal USR2", true},
		{"-stop-command :", true},
	} {
		t.Run(c.options, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			bed.Must(t, os.Mkdir(dir+"/sub", 0o755))
			options := []string{"-pidfile", "p.pid", "-supervisor-pidfile", "s.pid", "-stdout", "/dev/stdout"}
			r, program := bed.Leashed(t, bed.How{Dir: dir}, append(options, strings.Fields(c.options)...)...)
			want := "/"
			if c.stays {
				want = dir
			}
			at := ""
			if !bed.Poll(func() bool {
				cwd, err := os.Readlink(bed.ProcFile(r.PID(), "cwd"))
				at = cwd
				return err == nil && at == want
			}) {
				t.Errorf("it stands in %s, want %s", at, want)
			}
			if at, err := os.Readlink(bed.ProcFile(program, "cwd")); err != nil || !strings.HasPrefix(at, dir) {
				t.Errorf("PROGRAM stands in %s, %v, not in %s", at, err, dir)
			}
			bed.RemoveFile(t, dir+"/p.pid")
			r.ExpectSignal(t, syscall.SIGTERM)
			bed.ExpectFiles(t, dir, "sub")
		})
	}
}

// The command of -ready starts where the program did, and pidleash stays there so long.
func TestReadyCommandsDirectory(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		if strings.Contains(m.Name, "forking") || m.Name == "sidecar" { // the former stay in "/", the latter has no -ready
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			a.How.Dir = bed.OpenDir(t)
			a.Options = []string{"-ready", `cmd:pwd >>"` + a.Other + `/where"; test "$(wc -l <"` + a.Other + `/where")" = 2`}
			a.Start(t, m)
			want := a.How.Dir + "\n" + a.How.Dir + "\n"
			bed.Await(t, "the command's second start, in "+a.How.Dir, func() bool {
				where, _ := os.ReadFile(a.Other + "/where")
				return string(where) == want
			})
			a.Leave(t)
		})
	}
}
