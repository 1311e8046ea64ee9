package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// first returns the path of the C program in testdata/first.c.
func first(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		missing(t, "%v", err)
	}
	path, err := compileFirst()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// compileFirst puts it beside the binary under test, where it is removed with it.
var compileFirst = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(pidleash), "first")
	gcc := exec.Command("gcc", "-static", "-O", "-Wall", "-Wextra", "-o", path, filepath.Join("testdata", "first.c"))
	if out, err := gcc.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", gcc, err, out)
	}
	return path, nil
})

// keepCoresBusy lets every process of the test compete for the processor.
func keepCoresBusy(t testing.TB) {
	t.Helper()
	for range 2 {
		cmd := exec.Command(first(t), "busy")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
	}
}

// TestFileIsThereFirst lets PROGRAM's first act be to read the PID file.
func TestFileIsThereFirst(t *testing.T) {
	t.Run("1000 times", func(t *testing.T) { checkFirst(t, 2, 500) })
	t.Run("garbage collector busy", func(t *testing.T) {
		checkFirst(t, 2, 50, "GOGC=1")
	})
	t.Run("garbage collector stops the world", func(t *testing.T) {
		checkFirst(t, 2, 50, "GOGC=1", "GODEBUG=gcstoptheworld=1")
	})
	t.Run("cores busy", func(t *testing.T) {
		keepCoresBusy(t)
		checkFirst(t, 8, 25, "GOGC=1")
	})
}

// checkFirst starts the program again and again, on as many paths at a time as
// there are workers.
func checkFirst(t *testing.T, workers, times int, env ...string) {
	program := first(t)
	var wg sync.WaitGroup
	for range workers {
		file := filepath.Join(openDir(t), "p.pid")
		wg.Go(func() {
			for i := range times {
				cmd := exec.Command(pidleash, "-pidfile", file, program, "check", file)
				cmd.Env = append(os.Environ(), env...)
				if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
					t.Errorf("start %d: %v: %s", i, err, out)
					return
				}
			}
			expectEmptyDir(t, filepath.Dir(file))
		})
	}
	wg.Wait()
}

// A lookup is one case of finding PROGRAM as execvp(3) does. The strings may
// hold DIR, for the directory of the case.
type lookup struct {
	name    string
	files   map[string]string // a name with its script; its mode is 0755
	chmod   map[string]os.FileMode
	path    string // PATH
	unset   bool   // no PATH at all
	program string
	nobody  bool // as an unprivileged user
	code    int
	stdout  string
	stderr  string // a pattern for the one line; empty: silent
}

const (
	good        = "#!/bin/sh\necho good $0 $*\n"
	noHashBang  = "echo plain $0 $*\n"
	noInterpret = "#!/no/such/interpreter -x\n"
)

var lookups = []lookup{
	{name: "in PATH", files: map[string]string{"a/p": good}, path: "/nowhere:DIR/a", program: "p", stdout: "good DIR/a/p x y\n"},
	{name: "the first one wins", files: map[string]string{"a/p": good, "b/p": good}, path: "DIR/b:DIR/a", program: "p", stdout: "good DIR/b/p x y\n"},
	{name: "no PATH", unset: true, program: "echo", stdout: "x y\n"},
	{name: "PATH has no default when it is set", path: "DIR", program: "echo", code: 127, stderr: "echo: not found in PATH; hint: "},
	{name: "PATH empty is the current directory", files: map[string]string{"p": good}, path: "", program: "p", stdout: "good p x y\n"},
	{name: "empty element first", files: map[string]string{"p": good}, path: ":/nowhere", program: "p", stdout: "good p x y\n"},
	{name: "empty element in between", files: map[string]string{"p": good}, path: "/nowhere::/nowhere", program: "p", stdout: "good p x y\n"},
	{name: "empty element last", files: map[string]string{"p": good}, path: "/nowhere:", program: "p", stdout: "good p x y\n"},
	{name: "dot", files: map[string]string{"p": good}, path: ".", program: "p", stdout: "good ./p x y\n"},
	{name: "relative element", files: map[string]string{"a/p": good}, path: "a", program: "p", stdout: "good a/p x y\n"},
	{name: "element is a file", files: map[string]string{"f": "", "a/p": good}, path: "DIR/f:DIR/a", program: "p", stdout: "good DIR/a/p x y\n"},
	{name: "slash at the end of an element", files: map[string]string{"a/p": good}, path: "DIR/a/", program: "p", stdout: "good DIR/a//p x y\n"},

	{name: "slash", files: map[string]string{"a/p": good}, path: "/nowhere", program: "a/p", stdout: "good a/p x y\n"},
	{name: "absolute", files: map[string]string{"a/p": good}, program: "DIR/a/p", stdout: "good DIR/a/p x y\n"},
	{name: "slash is not searched", files: map[string]string{"b/a/p": good}, path: "DIR/b", program: "a/p", code: 127, stderr: "a/p: not found"},
	{name: "slash and a file as directory", files: map[string]string{"f": ""}, program: "DIR/f/p", code: 127, stderr: "f/p: not found"},

	{name: "script without #!", files: map[string]string{"a/p": noHashBang}, path: "DIR/a", program: "p", stdout: "plain DIR/a/p x y\n"},
	{name: "script without #! by path", files: map[string]string{"a/p": noHashBang}, program: "DIR/a/p", stdout: "plain DIR/a/p x y\n"},
	{name: "empty script", files: map[string]string{"p": ""}, program: "DIR/p"},

	{name: "not executable, then a good one", files: map[string]string{"a/p": good, "b/p": good}, chmod: map[string]os.FileMode{"a/p": 0o644}, path: "DIR/a:DIR/b", program: "p", stdout: "good DIR/b/p x y\n"},
	{name: "not executable, then nothing", files: map[string]string{"a/p": good}, chmod: map[string]os.FileMode{"a/p": 0o644}, path: "DIR/a:/nowhere", program: "p", code: 126, stderr: "DIR/a/p: cannot be executed: permission denied; hint: chmod"},
	{name: "not executable by path", files: map[string]string{"p": good}, chmod: map[string]os.FileMode{"p": 0o644}, program: "./p", code: 126, stderr: "./p: cannot be executed: permission denied; hint: chmod"},
	{name: "directory of that name, then a good one", files: map[string]string{"a/p/x": "", "b/p": good}, path: "DIR/a:DIR/b", program: "p", stdout: "good DIR/b/p x y\n"},
	{name: "directory of that name, then nothing", files: map[string]string{"a/p/x": ""}, path: "DIR/a", program: "p", code: 126, stderr: "DIR/a/p: is a directory"},
	{name: "directory by path", files: map[string]string{"p/x": ""}, program: "DIR/p", code: 126, stderr: "DIR/p: is a directory"},
	{name: "element not searchable, then a good one", nobody: true, files: map[string]string{"a/p": good, "b/p": good}, chmod: map[string]os.FileMode{"a": 0o700}, path: "DIR/a:DIR/b", program: "p", stdout: "good DIR/b/p x y\n"},
	{name: "element not searchable, then nothing", nobody: true, files: map[string]string{"a/p": good}, chmod: map[string]os.FileMode{"a": 0o700}, path: "DIR/a:/nowhere", program: "p", code: 126, stderr: "DIR/a/p: cannot be executed: permission denied"},

	{name: "interpreter missing", files: map[string]string{"p": noInterpret}, program: "DIR/p", code: 126, stderr: "DIR/p: its interpreter /no/such/interpreter is missing"},
	{name: "interpreter missing, in PATH", files: map[string]string{"a/p": noInterpret}, path: "DIR/a", program: "p", code: 126, stderr: "DIR/a/p: its interpreter /no/such/interpreter is missing"},
	{name: "interpreter missing, then a good one", files: map[string]string{"a/p": noInterpret, "b/p": good}, path: "DIR/a:DIR/b", program: "p", stdout: "good DIR/b/p x y\n"},
	{name: "interpreter not executable, then a good one", files: map[string]string{"a/p": "#!DIR/i\n", "i": "x", "b/p": good}, chmod: map[string]os.FileMode{"i": 0o644}, path: "DIR/a:DIR/b", program: "p", stdout: "good DIR/b/p x y\n"},
	{name: "interpreter not executable, then none", files: map[string]string{"a/p": "#!DIR/i\n", "i": "x", "b/p": noInterpret}, chmod: map[string]os.FileMode{"i": 0o644}, path: "DIR/a:DIR/b", program: "p", code: 126, stderr: "DIR/a/p: cannot be executed: permission denied"},
	{name: "interpreter not executable", files: map[string]string{"p": "#!DIR/i\n", "i": "x"}, chmod: map[string]os.FileMode{"i": 0o644}, program: "DIR/p", code: 126, stderr: "DIR/p: cannot be executed: permission denied; hint: .*interpreter"},
	{name: "not found", path: "DIR:/bin", program: "no-such-program", code: 127, stderr: "no-such-program: not found in PATH; hint: give its full path"},
	{name: "not found by path", program: "./no-such-program", code: 127, stderr: "./no-such-program: not found"},
	{name: "empty", path: "DIR:/bin", program: "", code: 127, stderr: `"": not found in PATH`},
	{name: "name too long", path: "/bin", program: strings.Repeat("p", 300), code: 126, stderr: "cannot be executed: file name too long"},
}

func TestLookup(t *testing.T) {
	for _, c := range lookups {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

func (c *lookup) run(t *testing.T) {
	dir, pids := openDir(t), openDir(t)
	in := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
	for name, script := range c.files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, in(script), 0o755)
	}
	for name, mode := range c.chmod {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	h := how{dir: dir, onlyIn: []string{"PATH=" + in(c.path)}}
	if c.unset {
		h.onlyIn = []string{}
	}
	if c.nobody {
		needRoot(t)
		h.attr = asNobody().attr
	}
	r := start(t, h, "-pidfile", pids+"/p.pid", "--", in(c.program), "x", "y")
	r.expectCode(t, c.code)
	if got := r.rest(t); got != in(c.stdout) {
		t.Errorf("standard output has %q, want %q", got, in(c.stdout))
	}
	if c.stderr == "" {
		r.expectQuiet(t)
	} else {
		r.expectOneLine(t, in(c.stderr))
	}
	expectEmptyDir(t, pids)
}

// inMountNamespace runs the script in a mount namespace of its own, and then
// pidleash in it. The script's $0 is the directory.
func inMountNamespace(t testing.TB, script, dir string) how {
	t.Helper()
	needRoot(t)
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		missing(t, "unshare -m: %v", err)
	}
	return how{before: []string{"unshare", "-m", "sh", "-ec", script + `; exec "$@"`, dir}}
}

// On a file system mounted noexec only execve itself refuses a script whose
// interpreter is there: by then the PID file has been published.
func TestNoexec(t *testing.T) {
	for name, words := range map[string][]string{
		"program":     {"DIR/true"},
		"interpreter": {"OUTSIDE/script"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, outside, pids := openDir(t), openDir(t), openDir(t)
			writeFile(t, outside+"/script", "#!"+dir+"/true\n", 0o755)
			h := inMountNamespace(t, `mount -t tmpfs -o noexec none "$0"; cp /bin/true "$0"`, dir)
			program := strings.NewReplacer("DIR", dir, "OUTSIDE", outside).Replace(words[0])
			r := start(t, h, "-pidfile", pids+"/p.pid", program)
			r.expectCode(t, 126)
			r.expectOneLine(t, "cannot be executed: permission denied; hint: .*noexec")
			expectEmptyDir(t, pids)
		})
	}
}

// A stale file is replaced before execve is tried; nothing at all is left when
// that fails.
func TestFailedExecAfterStaleFile(t *testing.T) {
	t.Parallel()
	dir, pids := openDir(t), openDir(t)
	writeFile(t, dir+"/p", noInterpret, 0o755)
	writeFile(t, pids+"/p.pid", "", 0o644)
	start(t, how{}, "-pidfile", pids+"/p.pid", dir+"/p").expectCode(t, 126)
	expectEmptyDir(t, pids)
}

// Package syscall raises the soft limit at start; PROGRAM must not see that.
func TestLimitOfDescriptors(t *testing.T) {
	t.Parallel()
	const limits = `ulimit -Sn; ulimit -Hn; echo .`
	want := func(soft string) string {
		out, err := exec.Command("sh", "-c", "ulimit -Sn "+soft+"; "+limits).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	for _, soft := range []string{"64", "256", "1024"} {
		h := how{before: []string{"sh", "-c", `ulimit -Sn "$0"; exec "$@"`, soft}}
		r := start(t, h, "sh", "-c", limits)
		r.expectCode(t, 0)
		if got := r.rest(t); got != want(soft) || !strings.HasPrefix(got, soft+"\n") {
			t.Errorf("soft and hard limit %q, want %q", got, want(soft))
		}
	}
}

// Bytes, not text: the kernel's own copies are compared.
func TestArgumentsAndEnvironment(t *testing.T) {
	t.Parallel()
	args := []string{"hold", "", " ", "a b", "--", "-x", "--pidfile=x", "-h", "status", "\n", "\xff\xfe", "*", "$HOME", strings.Repeat("x", 100_000)}
	env := []string{"Z=1", "A=2", "EMPTY=", "SPACE=a b", "LINE=a\nb", "BYTES=\xff", "EQUALS=a=b", "PIDLEASH=1", "PIDLEASHX=1", "HOME=/", "_=x"}
	consumed := []string{"PIDLEASH_LOG_LEVEL=warn", "PIDLEASH_SETTLE=1s"}
	program := first(t)
	dir := openDir(t)
	r := start(t, how{onlyIn: append(consumed, env...)}, append([]string{"-pidfile", dir + "/p.pid", "--", program}, args...)...)
	pid := r.number(t)
	if got, want := readFile(t, procFile(pid, "cmdline")), zeroed(append([]string{program}, args...)); got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	if got, want := readFile(t, procFile(pid, "environ")), zeroed(env); got != want {
		t.Errorf("environment %q, want %q", got, want)
	}
	r.stdin.Close()
	r.expectCode(t, 0)
	r.expectQuiet(t)
}

func procFile(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

func zeroed(list []string) string { return strings.Join(list, "\x00") + "\x00" }

// What PROGRAM is given beside arguments and environment: descriptors, group,
// parent, directory, umask.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	r := start(t, how{dir: dir, umask: "037"}, "-pidfile", "p.pid", first(t), "hold")
	pid := r.number(t)
	plain := launch(t, exec.Command(first(t), "hold"))
	expectDescriptors(t, pid, plain.number(t))
	if cwd, err := os.Readlink(procFile(pid, "cwd")); err != nil || cwd != dir {
		t.Errorf("working directory %s, %v; want %s", cwd, err, dir)
	}
	if status := readFile(t, procFile(pid, "status")); !strings.Contains(status, "\nUmask:\t0037\n") || !strings.Contains(status, fmt.Sprintf("\nPPid:\t%d\n", r.pid())) {
		t.Errorf("want umask 037 and the parent %d:\n%s", r.pid(), status)
	}
	group, err := syscall.Getpgid(pid)
	if err != nil || group != pid {
		t.Errorf("process group %d, %v; want %d", group, err, pid)
	}
	if st, err := os.Stat(dir + "/p.pid"); err != nil || st.Mode() != 0o644 {
		t.Errorf("mode of the PID file %v, %v; want 0644", st.Mode(), err)
	}
	r.stdin.Close()
	r.expectCode(t, 0)
	expectEmptyDir(t, dir)
}

// What pidleash was given beyond 0, 1 and 2 is PROGRAM's: sockets and pipes of
// a service manager.
func TestInheritedDescriptors(t *testing.T) {
	t.Parallel()
	read, write := newPipe(t)
	defer read.Close()
	defer write.Close()
	extra := []*os.File{read, write}
	plain := exec.Command(first(t), "hold")
	plain.ExtraFiles = extra
	r := start(t, how{extra: extra}, "-pidfile", openDir(t)+"/p.pid", first(t), "hold")
	expectDescriptors(t, r.number(t), launch(t, plain).number(t))
	r.stdin.Close()
	r.expectCode(t, 0)
}

// expectDescriptors fails the test unless PROGRAM has the descriptors that the
// same program has when it is started without pidleash. Those are more than 0
// to 2 when the test's process was given more itself.
func expectDescriptors(t testing.TB, pid, plain int) {
	t.Helper()
	have, targets := descriptorsOf(t, pid)
	want, _ := descriptorsOf(t, plain)
	if have != want {
		t.Errorf("PID %d has the descriptors %q, want %s", pid, targets, want)
	}
}

func descriptorsOf(t testing.TB, pid int) (numbers string, targets []string) {
	t.Helper()
	entries, err := os.ReadDir(procFile(pid, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, _ := os.Readlink(procFile(pid, "fd/") + e.Name())
		numbers, targets = numbers+" "+e.Name(), append(targets, e.Name()+" "+target)
	}
	return numbers, targets
}
