package launch

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
)

const unset = "(unset)"

// finds has what execvp(3) does, and execve(2) where that decides. DIR is the test's directory,
// which is the current one as well.
var finds = []struct {
	name    string
	path    string
	program string
	dir     string
	want    string // the candidates
	failure fault.Error
}{
	{name: "in PATH", path: "/nowhere:DIR/a", program: "p", want: "DIR/a/p"},
	{name: "in the order of PATH", path: "DIR/b:DIR/a", program: "p", want: "DIR/b/p DIR/a/p"},
	{name: "no PATH", path: unset, program: "sh", want: "/bin/sh /usr/bin/sh"},
	{name: "PATH has no default when it is set", path: "DIR", program: "sh", failure: fault.Error{Object: "sh", Problem: "not found in PATH", Hint: "give its full path", Code: 127}},
	{name: "PATH empty is the current directory", path: "", program: "here", want: "here"},
	{name: "empty elements", path: ":/nowhere::", program: "here", want: "here here here"},
	{name: "dot", path: ".", program: "here", want: "./here"},
	{name: "relative element", path: "a", program: "p", want: "a/p"},
	{name: "relative element after -chdir", path: "a", program: "p", dir: "DIR/sub", want: "a/p"},
	{name: "relative element, not after -chdir", path: "b", program: "p", dir: "DIR/sub", failure: fault.Error{Object: "p", Problem: "not found in PATH", Hint: "give its full path", Code: 127}},
	{name: "element is a file", path: "DIR/here:DIR/a", program: "p", want: "DIR/a/p"},
	{name: "slash at the end of an element", path: "DIR/a/", program: "p", want: "DIR/a//p"},
	{name: "not executable, then a good one", path: "DIR/plain:DIR/a", program: "p", want: "DIR/a/p"},
	{name: "not executable, then nothing", path: "/nowhere:DIR/plain:DIR/folder", program: "p", failure: fault.Error{Object: "DIR/plain/p", Problem: "cannot be executed", Err: unix.EACCES, Hint: "chmod +x", Code: 126}},
	{name: "a directory, then a good one", path: "DIR/folder:DIR/a", program: "p", want: "DIR/a/p"},
	{name: "a directory, then nothing", path: "DIR/folder", program: "p", failure: fault.Error{Object: "DIR/folder/p", Problem: "is a directory", Code: 126}},
	{name: "empty", path: "DIR", program: "", failure: fault.Error{Object: `""`, Problem: "not found in PATH", Hint: "give its full path", Code: 127}},

	{name: "slash", path: "/nowhere", program: "a/p", want: "a/p"},
	{name: "slash after -chdir", path: "", program: "./a/p", dir: "DIR/sub/", want: "./a/p"},
	{name: "absolute, -chdir or not", path: "", program: "DIR/b/p", dir: "/nowhere", want: "DIR/b/p"},
	{name: "slash is not searched", path: "DIR/sub", program: "sub/p", failure: fault.Error{Object: "sub/p", Problem: "not found", Code: 127}},
	{name: "a file as directory", path: "", program: "./here/p", failure: fault.Error{Object: "./here/p", Problem: "not found", Code: 127}},
	{name: "not executable by path", path: "", program: "plain/p", failure: fault.Error{Object: "plain/p", Problem: "cannot be executed", Err: unix.EACCES, Hint: "chmod +x", Code: 126}},
	{name: "a directory by path", path: "", program: "folder/p", failure: fault.Error{Object: "folder/p", Problem: "is a directory", Code: 126}},
	{name: "a fifo", path: "", program: "./fifo", failure: fault.Error{Object: "./fifo", Problem: "cannot be executed", Err: unix.EACCES, Hint: "chmod +x", Code: 126}},
	{name: "name too long", path: "DIR", program: strings.Repeat("p", 300), failure: fault.Error{Object: "DIR/" + strings.Repeat("p", 300), Problem: "cannot be executed", Err: unix.ENAMETOOLONG, Code: 126}},
}

func TestFind(t *testing.T) {
	for _, c := range finds {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"a/p", "b/p", "here", "sub/a/p"} {
				write(t, dir+"/"+name, "", 0o755)
			}
			write(t, dir+"/plain/p", "", 0o644)
			write(t, dir+"/folder/p/x", "", 0o755)
			must(t, unix.Mkfifo(dir+"/fifo", 0o755))
			t.Chdir(dir)
			in := func(text string) string { return strings.ReplaceAll(text, "DIR", dir) }
			t.Setenv("PATH", in(c.path))
			if c.path == unset {
				os.Unsetenv("PATH")
			}
			program, err := Find(in(c.program), in(c.dir))
			if c.failure.Problem != "" {
				c.failure.Object = in(c.failure.Object)
				if program != nil {
					t.Errorf("found %v", program.candidates)
				}
				expectFault(t, err, c.failure)
				return
			}
			must(t, err)
			if want := strings.Fields(in(c.want)); !slices.Equal(program.candidates, want) {
				t.Errorf("got %q, want %q", program.candidates, want)
			}
			equal(t, "name", program.Name, in(c.program))
		})
	}
}

func TestCheckDir(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "", 0o644)
	for _, good := range []string{"", dir} {
		if err := CheckDir(&plan.Context{Dir: good}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, cause := range map[string]error{dir + "/file": unix.ENOTDIR, dir + "/nothing": unix.ENOENT} {
		expectFault(t, CheckDir(&plan.Context{Dir: bad}), fault.Error{Object: "directory " + bad, Problem: "cannot be entered", Err: cause, Hint: "create it, or name another with -chdir"})
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(dir+"/fifo", 0o600))
	before := openDescriptors(t)
	for bad, want := range map[string]fault.Error{
		dir:           {Err: unix.EISDIR, Hint: "name a file in it"},
		dir + "/x/y":  {Err: unix.ENOENT, Hint: "create the directory " + dir + "/x"},
		dir + "/fifo": {Err: unix.ENXIO, Hint: "nobody reads this fifo"},
	} {
		want.Object, want.Problem = "stderr "+bad, "cannot be opened"
		f, err := Open(contextWith(dir+"/out", bad))
		if f != nil {
			t.Errorf("%s: opened", bad)
		}
		expectFault(t, err, want)
	}
	equal(t, "descriptors", openDescriptors(t), before)
}

// What Open and Detach have opened is closed, and nothing else.
func TestFiles(t *testing.T) {
	dir, before := t.TempDir(), openDescriptors(t)
	f, err := Open(contextWith(dir+"/out", ""))
	must(t, err)
	if f.Stdio[0] != asFound || f.Stdio[1] < 3 || f.Stdio[2] != asFound {
		t.Errorf("got %v, want the file as standard output only", f.Stdio)
	}
	must(t, f.Detach())
	if f.Stdio[0] < 3 || f.Stdio[2] != f.Stdio[0] || f.Stdio[1] == f.Stdio[0] {
		t.Errorf("got %v, want /dev/null but for standard output", f.Stdio)
	}
	equal(t, "opened", openDescriptors(t)-before, 2)
	f.Close()
	f.Close()
	equal(t, "left", openDescriptors(t)-before, 0)
	(*Files)(nil).Close()
	f, err = Open(&plan.Context{})
	must(t, err)
	equal(t, "nothing to open", f.Stdio, [3]int{asFound, asFound, asFound})
	if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); errors.Is(err, unix.EBADF) {
		t.Error("standard input is closed")
	}
}
