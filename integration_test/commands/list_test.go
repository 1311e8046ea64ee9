package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// plantAll makes every plant in a directory, where a walk finds it, and returns
// what list shall say of them.
func plantAll(t *testing.T, dir string) (want []answer) {
	t.Helper()
	for _, p := range plants {
		if p.root && os.Geteuid() != 0 {
			continue
		}
		at := filepath.Join(dir, strings.ReplaceAll(p.name, " ", "-"))
		bed.Must(t, os.Mkdir(at, 0o755))
		file := filepath.Join(at, "p.pid")
		want = append(want, answer{File: file, PID: p.make(t, file), State: p.state, Code: p.code})
	}
	return want
}

// The audit finds every planted lie in one run, and the honest files beside them.
func TestListFindsPlantedLies(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	want := plantAll(t, dir)
	unchanged(t, dir, func() {
		r := bed.Start(t, bed.How{}, "list", "-json", dir)
		r.ExpectCode(t, 4)
		r.ExpectQuiet(t)
		all := map[string]answer{}
		for _, a := range answers(r, t) {
			if _, twice := all[a.File]; twice {
				t.Errorf("%s is there twice", a.File)
			}
			all[a.File] = a
		}
		for _, w := range want {
			if a := all[w.File]; a.State != w.State || a.Code != w.Code || a.PID != w.PID || (a.Holder != 0) != (w.State == "held") {
				t.Errorf("list says %+v, want %+v", a, w)
			}
		}
		if len(all) != len(want) {
			t.Errorf("%d files are listed, want %d", len(all), len(want))
		}
	})
	unchanged(t, dir, func() { expectTable(t, dir, want) })
}

// expectTable wants a row for each file, in full.
func expectTable(t *testing.T, dir string, want []answer) {
	t.Helper()
	r := bed.Start(t, bed.How{}, "list", dir)
	r.ExpectCode(t, 4)
	text := r.Rest(t)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if !regexp.MustCompile(`^FILE +PID  PROGRAM +UP SINCE  STATE$`).MatchString(lines[0]) || len(lines) != len(want)+1 {
		t.Errorf("%d files, and the table is\n%s", len(want), text)
	}
	for _, w := range want {
		pid, program := "-", "-        -     "
		if w.PID != 0 {
			pid = fmt.Sprint(w.PID)
		}
		if w.Code == 0 {
			program = `first    (\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d)`
		}
		state := map[string]string{"recycled": "recycled PID: .*", "held": `held by pidleash PID \d+`, "running": "running", "empty": "empty"}[w.State]
		if state == "" {
			state = w.State + ": .*"
		}
		row := "(?m)^" + regexp.QuoteMeta(w.File) + " +" + pid + "  " + program + ` +` + state + "$"
		if !regexp.MustCompile(row).MatchString(text) {
			t.Errorf("no row matches %s in\n%s", row, text)
		}
	}
}

// listOnTerminal is what list writes to a terminal of so many columns.
func listOnTerminal(t *testing.T, cols uint16, dir string, env ...string) string {
	t.Helper()
	// The shell waits: the terminal has its size before list asks for it.
	env = append([]string{"TERM=xterm", "NO_COLOR="}, env...)
	c := bed.NewConsole(t, env, "sh", "-c", `read go; exec "$0" list "$1"`, bed.Pidleash, dir)
	c.Resize(24, cols)
	c.Types("go\n")
	c.Wait()
	return c.All()
}

var colours = regexp.MustCompile("\x1b\\[[0-9]*m")

func TestListFitsTerminal(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	plantAll(t, dir)
	bed.WriteFile(t, dir+"/漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字.pid", "x", 0o644)
	for _, cols := range []uint16{80, 100, 60} {
		text := listOnTerminal(t, cols, dir)
		widest := 0
		for line := range strings.Lines(colours.ReplaceAllString(text, "")) {
			line = strings.TrimSuffix(line, "\n")
			widest = max(widest, cells(line))
			if !strings.Contains(line, "p.pid ") && !strings.Contains(line, "漢字.pid ") && !strings.HasPrefix(line, "FILE ") {
				t.Errorf("on %d columns %q does not tell which file it is", cols, line)
			}
		}
		if widest > int(cols) || widest < int(cols)-10 {
			t.Errorf("%d of %d columns are used by\n%s", widest, cols, text)
		}
		for _, state := range []string{"running", "held by pidl", "stale: ", "recycled PID", "empty", "untrusted", "unreadable"} {
			if os.Geteuid() == 0 && cols >= 80 && !strings.Contains(text, state) {
				t.Errorf("on %d columns no state is %q:\n%s", cols, state, text)
			}
		}
	}
	// A terminal that does not know its size gets everything.
	if text := listOnTerminal(t, 0, dir); !strings.Contains(text, dir+"/older-than-the-boot/p.pid") || strings.Contains(text, "…") {
		t.Errorf("on a terminal without a size:\n%s", text)
	}
}

// cells counts Chinese characters twice.
func cells(line string) int {
	return utf8.RuneCountInString(line) + strings.Count(line, "漢") + strings.Count(line, "字")
}

func TestListColours(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	bed.PlantPID(t, dir+"/down.pid", bed.DeadPID)
	bed.PlantPID(t, dir+"/up.pid", bed.PlainProgram(t))
	bed.PlantPIDAt(t, dir+"/other.pid", bed.PlainProgram(t), bed.LongAgo)
	text := listOnTerminal(t, 80, dir)
	for _, want := range []string{"\x1b[32mrunning\x1b[m", "\x1b[33mstale: ", "\x1b[31mrecycled PID"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		if text := listOnTerminal(t, 80, dir, env); strings.Contains(text, "\x1b") || !strings.Contains(text, "running") {
			t.Errorf("with %s: %q", env, text)
		}
	}
	r := bed.Start(t, bed.How{Env: []string{"TERM=xterm", "NO_COLOR="}}, "list", dir)
	if text := r.Rest(t); strings.Contains(text, "\x1b") || !strings.Contains(text, "running") {
		t.Errorf("to a pipe: %q", text)
	}
}

// listed are the files that list tells of, without the directory.
func listed(t *testing.T, h bed.How, code int, dir string, words ...string) string {
	t.Helper()
	r := bed.Start(t, h, append([]string{"list", "-json"}, words...)...)
	r.ExpectCode(t, code)
	var names []string
	for _, a := range answers(r, t) {
		names = append(names, strings.TrimPrefix(a.File, dir+"/")+"="+a.State)
	}
	return strings.Join(names, " ")
}

func TestListNames(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	for _, name := range []string{"a.pid", "a.pidfile", "pid", "pidfile", ".hidden.pid", "sub/dir.pid/b.pid", "sub/pid/c.pid",
		"a.pids", "apid", "a.pid.lock", ".a.pid.lock", "a.PID", "a", "a.pid~"} {
		bed.Must(t, os.MkdirAll(filepath.Dir(dir+"/"+name), 0o755))
		bed.WriteFile(t, dir+"/"+name, "", 0o644)
	}
	bed.Must(t, os.Symlink(dir, dir+"/sub/loop"))
	bed.Must(t, os.Symlink(dir, dir+"/link"))
	bed.Must(t, os.Mkdir(dir+"/sub/empty", 0o755))
	all := ".hidden.pid=empty a.pid=empty a.pidfile=empty pid=empty pidfile=empty sub/dir.pid/b.pid=empty sub/pid/c.pid=empty"
	below := "link/" + strings.ReplaceAll(all, " ", " link/")
	for _, c := range []struct {
		words []string
		code  int
		want  string
	}{
		{[]string{dir}, 1, all},
		{[]string{dir + "/"}, 1, all},
		{[]string{"."}, 1, strings.ReplaceAll("./"+all, " ", " ./")},
		{[]string{dir + "/link"}, 1, below},    // somebody has named it
		{[]string{dir + "/link///"}, 1, below}, //
		{[]string{dir + "/a", dir + "/sub/pid"}, 1, "a=empty sub/pid/c.pid=empty"},
		{[]string{dir + "/none", dir + "/sub/pid"}, 3, "none=missing sub/pid/c.pid=empty"},
		{[]string{dir + "/sub/empty"}, 0, ""},
	} {
		if got := listed(t, bed.How{Dir: dir}, c.code, dir, c.words...); got != c.want {
			t.Errorf("%q: %s, want %s", c.words, got, c.want)
		}
	}
	r := bed.Start(t, bed.How{}, "list", dir+"/sub/empty")
	r.ExpectCode(t, 0)
	if text := r.Rest(t); text != "no PID files in "+dir+"/sub/empty\n" {
		t.Errorf("where there is none: %q", text)
	}
}

// What cannot be read is told, and does not hide the rest.
func TestListForNobody(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	dir := bed.OpenDir(t)
	bed.Must(t, os.Mkdir(dir+"/closed", 0o700))
	bed.Must(t, os.Mkdir(dir+"/listless", 0o711))
	bed.Must(t, os.Mkdir(dir+"/open", 0o755))
	bed.PlantPID(t, dir+"/closed/a.pid", bed.DeadPID)
	plantHeld(t, dir+"/open/b.pid")
	bed.PlantPID(t, dir+"/open/c.pid", bed.PlainProgram(t))
	bed.Must(t, os.Chmod(dir+"/open/c.pid", 0o600))
	want := "closed/=unreadable listless/=unreadable open/b.pid=held open/c.pid=unreadable"
	if got := listed(t, bed.AsNobody(), 4, dir, dir); got != want {
		t.Errorf("nobody sees %s, want %s", got, want)
	}
	r := bed.Start(t, bed.AsNobody(), "list", dir)
	r.ExpectCode(t, 4)
	if text := r.Rest(t); !regexp.MustCompile(`(?m)^\S+/closed/ .* unreadable: directory: permission denied$`).MatchString(text) {
		t.Errorf("the table is\n%s", text)
	}
	if got := listed(t, bed.AsNobody(), 4, dir, dir+"/closed"); got != "closed/=unreadable" {
		t.Errorf("of a closed directory alone: %s", got)
	}
	if got := listed(t, bed.AsNobody(), 4, dir, dir+"/closed/a.pid"); got != "closed/a.pid=unreadable" {
		t.Errorf("of a file in it: %s", got)
	}
}

// /run is the default. Mounts in memory are entered, others are not: there are
// roots of containers below /run, whose PIDs are others.
func TestListMounts(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	h := bed.InMountNamespace(t, `mount -t tmpfs none /run; mkdir /run/user /run/root; mount -t tmpfs none /run/user; mount --bind "$0" /run/root
echo 4194305 >/run/a.pid; echo 4194305 >/run/user/b.pid; echo 4194305 >/run/root/c.pid
[ "$(stat -f -c %T /run)" != "$(stat -f -c %T /run/root)" ] || rm /run/root/c.pid`, dir)
	if got := listed(t, h, 1, "/run"); got != "a.pid=stale user/b.pid=stale" {
		t.Errorf("below /run there are %s", got)
	}
	var st unix.Statfs_t
	bed.Must(t, unix.Statfs(dir, &st))
	if st.Type == unix.TMPFS_MAGIC {
		bed.Missing(t, "%s is in memory", dir)
	}
	r := bed.Start(t, h, "list", "-log-level", "info")
	r.ExpectCode(t, 1)
	r.ExpectOneLine(t, "directory /run/root: not entered: another kind of file system")
	// Who names it means it.
	if got := listed(t, h, 1, "/run", "/run/root"); got != "root/c.pid=stale" {
		t.Errorf("below /run/root there are %s", got)
	}
}

// A directory that is a link at the moment of the visit is none: what it was, a
// user may have exchanged.
func TestListWhileDirectoriesChange(t *testing.T) {
	t.Parallel()
	dir, outside := bed.OpenDir(t), bed.OpenDir(t)
	bed.WriteFile(t, outside+"/trap.pid", "", 0o644)
	bed.Must(t, os.Mkdir(dir+"/d", 0o755))
	bed.Must(t, os.Symlink(outside, dir+"/link"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir+"/d", unix.AT_FDCWD, dir+"/link", unix.RENAME_EXCHANGE)
			}
		}
	}()
	for range 100 {
		if got := listed(t, bed.How{}, 0, dir, dir); got != "" {
			t.Errorf("list has followed a link: %s", got)
			break
		}
	}
	close(stop)
	<-stopped
}

// Files of daemons as they are: nginx behind pidleash writes one of its own, too.
func TestListOfDaemon(t *testing.T) {
	t.Parallel()
	l := bed.StartLeashed(t, bed.NginxDaemon)
	r := bed.Start(t, bed.How{}, "list", "-json", l.Dir)
	r.ExpectCode(t, 0)
	all := answers(r, t)
	if len(all) != 2 {
		t.Fatalf("%+v, want nginx' own file and pidleash's", all)
	}
	leash, own := all[0], all[1]
	if leash.File != l.Pidfile || leash.State != "held" || leash.PID != l.Program.Pid || leash.Holder != l.Cmd.Process.Pid || leash.Program != "nginx" {
		t.Errorf("%+v, want nginx held by pidleash", leash)
	}
	if own.File != l.Dir+"/own.pid" || own.State != "running" || own.PID != leash.PID || own.Holder != 0 || own.Since != leash.Since {
		t.Errorf("%+v, want the same process, held by nobody", own)
	}
	// And it obeys.
	bed.Start(t, bed.How{}, "signal", "HUP", own.File).ExpectCode(t, 0)
	l.Await("new workers", func() bool {
		now := l.Children()
		return len(now) == l.Daemon.Workers && now[0].Pid != l.Workers[0].Pid && now[0].Pid != l.Workers[1].Pid
	})
	bed.Start(t, bed.How{}, "stop", leash.File).ExpectCode(t, 0)
	if status := l.Wait(); !status.Exited() && status.Signal() != syscall.SIGTERM {
		t.Errorf("pidleash ended by %s", bed.Describe(status))
	}
	l.ExpectNoPIDFile()
}
