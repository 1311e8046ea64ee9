package exit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

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
	dir, pids := bed.OpenDir(t), bed.OpenDir(t)
	in := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
	for name, script := range c.files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		bed.WriteFile(t, file, in(script), 0o755)
	}
	for name, mode := range c.chmod {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	h := bed.How{Dir: dir, OnlyIn: []string{"PATH=" + in(c.path)}}
	if c.unset {
		h.OnlyIn = []string{}
	}
	if c.nobody {
		bed.NeedRoot(t)
		h.Attr = bed.AsNobody().Attr
	}
	r := bed.Start(t, h, "-pidfile", pids+"/p.pid", "--", in(c.program), "x", "y")
	r.ExpectCode(t, c.code)
	if got := r.Rest(t); got != in(c.stdout) {
		t.Errorf("standard output has %q, want %q", got, in(c.stdout))
	}
	if c.stderr == "" {
		r.ExpectQuiet(t)
	} else {
		r.ExpectOneLine(t, in(c.stderr))
	}
	bed.ExpectEmptyDir(t, pids)
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
			dir, outside, pids := bed.OpenDir(t), bed.OpenDir(t), bed.OpenDir(t)
			bed.WriteFile(t, outside+"/script", "#!"+dir+"/true\n", 0o755)
			h := bed.InMountNamespace(t, `mount -t tmpfs -o noexec none "$0"; cp /bin/true "$0"`, dir)
			program := strings.NewReplacer("DIR", dir, "OUTSIDE", outside).Replace(words[0])
			r := bed.Start(t, h, "-pidfile", pids+"/p.pid", program)
			r.ExpectCode(t, 126)
			r.ExpectOneLine(t, "cannot be executed: permission denied; hint: .*noexec")
			bed.ExpectEmptyDir(t, pids)
		})
	}
}

// A stale file is replaced before execve is tried; nothing at all is left when
// that fails.
func TestFailedExecAfterStaleFile(t *testing.T) {
	t.Parallel()
	dir, pids := bed.OpenDir(t), bed.OpenDir(t)
	bed.WriteFile(t, dir+"/p", noInterpret, 0o755)
	bed.WriteFile(t, pids+"/p.pid", "", 0o644)
	bed.Start(t, bed.How{}, "-pidfile", pids+"/p.pid", dir+"/p").ExpectCode(t, 126)
	bed.ExpectEmptyDir(t, pids)
}
