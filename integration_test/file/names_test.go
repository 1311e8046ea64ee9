package file

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// What root opens by name where other users have a hand in the path. docs/names.md is made of this table:
//
//	go test -run TestNames ./integration_test/file -update

var update = flag.Bool("update", false, "write docs/names.md anew")

const stranger = 4242 // needs no account

// namesOwners are the columns: who owns what a layout calls theirs. PROGRAM's user is nobody.
var namesOwners = []struct {
	name string
	uid  int
}{
	{"root", 0},
	{"PROGRAM's user", bed.Nobody},
	{"another user", stranger},
}

// A layout is a path, and what stands there.
type layout struct {
	name string
	// make makes it and returns the path that is opened, and that of the file that stands there.
	make func(s *site) (path, file string)
	// The answers for each of namesOwners: y is opened, n is refused, a space is not asked.
	pidfile, commands, output, others string
}

// site is a directory of root's in which a layout is made.
type site struct {
	t   *testing.T
	dir string
	uid int // theirs
}

func (s *site) own(path string, uid int) string {
	s.t.Helper()
	bed.Must(s.t, os.Lchown(path, uid, uid))
	return path
}

func (s *site) folder(name string, uid int) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	bed.Must(s.t, os.Mkdir(path, 0o755))
	return s.own(path, uid)
}

// file has a PID file that names nobody: everything can be asked about that.
func (s *site) file(name string, uid int) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	bed.WriteFile(s.t, path, bed.NoSuchPID, 0o644)
	return s.own(path, uid)
}

func (s *site) link(name, to string, uid int) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	bed.Must(s.t, os.Symlink(to, path))
	return s.own(path, uid)
}

func one(path string) (string, string) { return path, path }

var layouts = []layout{
	{"a file of theirs in a directory of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		return one(s.file("d/f", s.uid))
	}, "yyy", "yyy", "yyy", "yyy"},
	{"root's file in a directory of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		return one(s.file("d/f", 0))
	}, "yyy", "yyy", "yyy", "yyy"},
	{"a new file in a directory of theirs", func(s *site) (string, string) {
		return one(s.folder("d", s.uid) + "/f")
	}, "yyy", "   ", "yyy", "   "},
	{"a file of theirs in a directory of root's", func(s *site) (string, string) {
		s.folder("d", 0)
		return one(s.file("d/f", s.uid))
	}, "yyy", "yyy", "yyn", "yyy"},
	{"a file of theirs in a sticky directory of root's", func(s *site) (string, string) {
		bed.Must(s.t, os.Chmod(s.folder("d", 0), 0o777|os.ModeSticky))
		return one(s.file("d/f", s.uid))
	}, "yyy", "yyy", "yyn", "yyy"},
	{"root's directory in a directory of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		s.folder("d/run", 0)
		return one(s.file("d/run/f", 0))
	}, "yyy", "yyy", "yyy", "yyy"},
	{"a link of theirs to a directory of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		s.folder("d/v1", s.uid)
		return s.link("d/current", "v1", s.uid) + "/f", s.file("d/v1/f", s.uid)
	}, "yyy", "yyy", "yyy", "yyy"},
	{"a link of theirs to a directory of root's", func(s *site) (string, string) {
		s.folder("run", 0)
		s.folder("d", s.uid)
		return s.link("d/run", "../run", s.uid) + "/f", s.file("run/f", 0)
	}, "ynn", "ynn", "ynn", "ynn"},
	{"a link of theirs to one of theirs to a directory of root's", func(s *site) (string, string) {
		s.folder("run", 0)
		s.folder("d", s.uid)
		s.link("d/a", s.dir+"/run", s.uid)
		return s.link("d/b", "a", s.uid) + "/f", s.file("run/f", 0)
	}, "ynn", "ynn", "ynn", "ynn"},
	{"root's link to a directory of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		return s.link("run", "d", 0) + "/f", s.file("d/f", s.uid)
	}, "yyy", "yyy", "yyy", "yyy"},
	{"root's link to a link of theirs to a directory of root's", func(s *site) (string, string) {
		s.folder("run", 0)
		s.folder("d", s.uid)
		s.link("d/run", "../run", s.uid)
		return s.link("r", "d/run", 0) + "/f", s.file("run/f", 0)
	}, "ynn", "ynn", "ynn", "ynn"},
	{"at the end, a link of theirs to a file of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		return s.link("d/l", "f", s.uid), s.file("d/f", s.uid)
	}, "nnn", "nnn", "yyy", "yyy"},
	{"at the end, a link of theirs to root's file", func(s *site) (string, string) {
		s.folder("d", s.uid)
		return s.link("d/l", "../f", s.uid), s.file("f", 0)
	}, "nnn", "nnn", "ynn", "ynn"},
	{"at the end, a link of theirs to nothing", func(s *site) (string, string) {
		s.folder("d", s.uid)
		return s.link("d/l", "f", s.uid), s.dir + "/d/f"
	}, "nnn", "nnn", "ynn", "   "},
	{"at the end, root's link to a file of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		return s.link("l", "d/f", 0), s.file("d/f", s.uid)
	}, "nnn", "nnn", "yyy", "yyy"},
	{"another name of root's file, in a directory of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		bed.Must(s.t, os.Link(s.file("f", 0), s.dir+"/d/f"))
		return one(s.dir + "/d/f")
	}, "ynn", "ynn", "nnn", "   "},
	{"another name of root's file, in a sticky directory of root's", func(s *site) (string, string) {
		bed.Must(s.t, os.Chmod(s.folder("d", 0), 0o777|os.ModeSticky))
		bed.Must(s.t, os.Link(s.file("f", 0), s.dir+"/d/f"))
		return one(s.dir + "/d/f")
	}, "n  ", "n  ", "n  ", "   "},
	{"a fifo in a directory of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		return one(s.fifo("d/f"))
	}, "nnn", "nnn", "ynn", "   "},
	{"a fifo in root's directory in a directory of theirs", func(s *site) (string, string) {
		s.folder("d", s.uid)
		s.folder("d/run", 0)
		return one(s.fifo("d/run/f"))
	}, "nnn", "nnn", "ynn", "   "},
}

// fifo has a reader.
func (s *site) fifo(name string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	bed.Must(s.t, unix.Mkfifo(path, 0o666))
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	bed.Must(s.t, err)
	s.t.Cleanup(func() { reader.Close() })
	return s.own(path, s.uid)
}

func TestNames(t *testing.T) {
	bed.NeedRoot(t)
	for _, l := range layouts {
		for i, owner := range namesOwners {
			for _, q := range namesQuestions {
				want := q.answers(&l)[i]
				if want == ' ' {
					continue
				}
				t.Run(l.name+", "+owner.name+", "+q.name, func(t *testing.T) {
					t.Parallel()
					s := &site{t: t, dir: t.TempDir(), uid: owner.uid}
					for dir := s.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
						bed.Must(t, os.Chmod(dir, 0o755))
					}
					path, file := l.make(s)
					if got := q.ask(s, path, file); got != (want == 'y') {
						t.Errorf("opened: %v, want %c", got, want)
					}
				})
			}
		}
	}
	compareNames(t)
}

// namesQuestions ask whether a path is opened, as root. They fail the test if what is refused is changed.
var namesQuestions = []struct {
	name    string
	answers func(*layout) string
	ask     func(s *site, path, file string) bool
}{
	{"-pidfile", func(l *layout) string { return l.pidfile }, asksPIDFile},
	{"-supervisor-pidfile", func(l *layout) string { return l.pidfile }, asksSupervisor},
	{"status", func(l *layout) string { return l.commands }, asksStatus},
	{"stop", func(l *layout) string { return l.commands }, asksStop},
	{"list", func(l *layout) string { return l.commands }, asksList},
	{"-stdout", func(l *layout) string { return l.output }, func(s *site, path, file string) bool {
		return s.asksOutput("-stdout", path, file)
	}},
	{"-stderr", func(l *layout) string { return l.output }, func(s *site, path, file string) bool {
		return s.asksOutput("-stderr", path, file)
	}},
	{"-while", func(l *layout) string { return l.others }, asksWhile},
	{"-ready-file", func(l *layout) string { return l.others }, asksReadyFile},
	{"-follow", func(l *layout) string { return l.others }, asksFollow},
}

// isOpened runs pidleash as root, and is false if it refuses the path in one line and nothing happens.
func (s *site) isOpened(file string, opened, refused int, args ...string) bool {
	s.t.Helper()
	var before, after syscall.Stat_t
	missing := syscall.Lstat(file, &before)
	text, _ := readNow(file)
	r := bed.Start(s.t, bed.How{}, args...)
	switch code := r.Wait(s.t).ExitStatus(); code {
	case opened:
		return true
	case refused:
		if code == 125 && args[0] != "-while" { // which warns, and then waits
			r.ExpectOneLine(s.t, regexp.QuoteMeta(filepath.Base(s.dir)))
		}
	default:
		s.t.Errorf("exit code %d\n%s", code, r.Stderr())
	}
	if err := syscall.Lstat(file, &after); err != missing || after.Ino != before.Ino {
		s.t.Errorf("the file was inode %d, %v, and is %d, %v", before.Ino, missing, after.Ino, err)
	}
	if now, _ := readNow(file); now != text {
		s.t.Errorf("the file had %q, and has %q", text, now)
	}
	return false
}

// asksPIDFile: the file is there while PROGRAM runs, and gone afterwards.
func asksPIDFile(s *site, path, file string) bool {
	return s.isOpened(file, 0, 125, "-pidfile", path, "sh", "-c", `read pid <"$0" && test "$pid" = $$`, file)
}

func asksSupervisor(s *site, path, file string) bool {
	return s.isOpened(file, 0, 125, "-supervisor-pidfile", path, "sh", "-c", `read pid <"$0" && test "$pid" = $PPID`, file)
}

func asksStatus(s *site, path, file string) bool { return s.isOpened(file, 1, 4, "status", path) }

func asksStop(s *site, path, file string) bool { return s.isOpened(file, 0, 4, "stop", path) }

func asksList(s *site, path, file string) bool { return s.isOpened(file, 1, 4, "list", path) }

func (s *site) asksOutput(option, path, file string) bool {
	opened := s.isOpened(file, 0, 125, "-user", "nobody", option, path, "sh", "-c", "echo heard; echo heard >&2")
	text, _ := readNow(file)
	if opened != strings.Contains(text, "heard") {
		s.t.Errorf("opened: %v, but it has %q", opened, text)
	}
	return opened
}

// readNow does not wait for a fifo.
func readNow(file string) (string, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 100)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

func asksWhile(s *site, path, file string) bool {
	return s.isOpened(file, 0, 125, "-while", path, "-start-timeout", "50ms", "true")
}

// asksReadyFile: PROGRAM writes to the file itself, whatever the path; what it has said is in the message.
func asksReadyFile(s *site, path, file string) bool {
	r := bed.Start(s.t, bed.How{}, "-daemon", "-ready", "log:^never$", "-ready-file", path, "--",
		"sh", "-c", `echo heard >>"$0"; exit 3`, file)
	r.ExpectCode(s.t, 3)
	return strings.Contains(r.Stderr(), "heard")
}

// asksFollow: PROGRAM writes the PID of another descendant than the one that would be found without the file.
func asksFollow(s *site, path, file string) bool {
	pidfile := s.dir + "/p.pid"
	script := `sleep 600 & echo $! >"$0"; sleep 600 & exec sleep 0`
	r := bed.Start(s.t, bed.How{}, "-forking", "-follow", path, "-pidfile", pidfile, "-start-timeout", "1s",
		"-kill-mode", "tree", "sh", "-c", script, file)
	defer r.End()
	found := false
	bed.Await(s.t, "the daemon is found, or not", func() bool {
		text, err := os.ReadFile(pidfile)
		want, _ := os.ReadFile(file)
		found = err == nil && string(text) == string(want)
		select {
		case <-r.Done:
			return true
		default:
			return err == nil
		}
	})
	os.Remove(pidfile)
	return found
}

// compareNames fails the test unless the page is that of the table.
func compareNames(t *testing.T) {
	page, want := bed.ModuleFile("docs", "names.md"), namesPage()
	if *update {
		bed.Must(t, os.WriteFile(page, []byte(want), 0o644))
	}
	if bed.ReadFile(t, page) != want {
		t.Errorf("%s is not that of the table: go test -run TestNames ./integration_test/file -update", page)
	}
}

func namesPage() string {
	var b strings.Builder
	b.WriteString(namesHead)
	words := map[byte]string{'y': "yes", 'n': "**no**", ' ': ""}
	for _, l := range layouts {
		for i, owner := range namesOwners {
			name := ""
			if i == 0 {
				name = l.name
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", name, owner.name,
				words[l.pidfile[i]], words[l.commands[i]], words[l.output[i]], words[l.others[i]])
		}
	}
	return b.String()
}

const namesHead = `# What root opens by name

The owner of a directory can put a symbolic link there, or another name of somebody else's file. Run by root, pidleash
follows no user to a file that is not theirs; run by any other user it opens what the kernel lets it open. Each row of
the table is a path that the built binary opens in the test that made this page, and who "they" are in it. A refusal
changes nothing, and says why.

- **PID file**: -pidfile, -supervisor-pidfile. **Commands**: status, stop and list; what they refuse has code 4.
- **Output**: -stdout and -stderr. A device or a fifo is opened only below directories of root's. /dev/stdout,
  /dev/stderr and /dev/fd/N are the descriptors themselves: nothing is opened.
- **Others**: -while, -ready-file, -follow. For a message, -stdout and -stderr are read through what was opened at the
  start.

The test is ` + "`TestNames`" + ` in integration_test/file/names_test.go, the one function that opens them is in
internal/safeopen.

| the path | they are | PID file | commands | output | others |
|---|---|---|---|---|---|
`
