package file

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

func TestManyStartsOneWinner(t *testing.T) {
	for name, stale := range map[string]string{"nothing there": "", "stale file": bed.NoSuchPID} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				raceForPath(t, stale)
			}
		})
	}
}

// raceForPath starts 100 at once on one path, with a reader who never stops
// looking at it.
func raceForPath(t *testing.T, stale string) {
	t.Helper()
	const starts = 100
	file := bed.OpenDir(t) + "/p.pid"
	if stale != "" {
		bed.WriteFile(t, file, stale, 0o644)
	}
	r := readAllTheTime(file)
	runs := startAtOnce(t, starts, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	bed.Await(t, "all but one have ended", func() bool { return len(bed.StillRunning(runs)) <= 1 })
	left := bed.StillRunning(runs)
	if len(left) != 1 {
		t.Fatalf("no start has won; one said: %s", runs[0].Stderr())
	}
	winner := left[0]
	program := winner.Number(t)
	if got := bed.ReadFile(t, file); got != strconv.Itoa(program)+"\n" {
		t.Errorf("the file has %q, PROGRAM is %d", got, program)
	}
	for _, l := range runs {
		if l != winner {
			expectRefused(t, l, runs, winner, program, stale != "")
		}
	}
	winner.Stdin.Close()
	winner.ExpectCode(t, 0)
	winner.ExpectQuiet(t)
	r.stop(t)
	bed.ExpectEmptyDir(t, filepath.Dir(file))
}

// expectRefused checks what a loser has said. Who loses while the stale file is
// being replaced names the start that is replacing it, which may not be the one
// that wins in the end.
func expectRefused(t *testing.T, l *bed.Run, runs []*bed.Run, winner *bed.Run, program int, stale bool) {
	t.Helper()
	l.ExpectCode(t, 120)
	l.ExpectOneLine(t, "")
	text := l.Stderr()
	// Until its execve PROGRAM has the name of pidleash.
	want := fmt.Sprintf(`: already running as PID %d \((first|pidleash)\), held by PID %d \(pidleash\)`, program, winner.PID())
	if regexp.MustCompile(want).MatchString(text) {
		return
	}
	m := regexp.MustCompile(`held by PID (\d+) `).FindStringSubmatch(text)
	if !stale || m == nil || !slices.ContainsFunc(runs, func(r *bed.Run) bool { return strconv.Itoa(r.PID()) == m[1] }) {
		t.Errorf("a loser said %q, want %q", text, want)
	}
}

// startAtOnce prepares all of them behind one gate.
func startAtOnce(t *testing.T, n int, args ...string) (runs []*bed.Run) {
	t.Helper()
	wait, gate := bed.NewPipe(t)
	defer wait.Close()
	h := bed.How{Before: []string{"sh", "-c", `read _ <&3; exec "$@" 3<&-`, "sh"}, Extra: []*os.File{wait}}
	for range n {
		runs = append(runs, bed.Start(t, h, args...))
	}
	gate.Close()
	return runs
}

// A pathReader reads a file again and again, as a monitoring script may at any
// moment.
type pathReader struct {
	quit chan struct{}
	wg   sync.WaitGroup
	seen int
	bad  []string
}

func readAllTheTime(path string) *pathReader {
	r := &pathReader{quit: make(chan struct{})}
	r.wg.Go(func() { r.read(path) })
	return r
}

func (r *pathReader) read(path string) {
	complete := regexp.MustCompile(`^[0-9]+\n$`)
	for {
		select {
		case <-r.quit:
			return
		default:
		}
		switch text, err := os.ReadFile(path); {
		case os.IsNotExist(err):
		case err != nil:
			r.bad = append(r.bad, err.Error())
		case !complete.Match(text):
			r.bad = append(r.bad, strconv.Quote(string(text)))
		default:
			r.seen++
		}
	}
}

// stop ends the reader and fails the test if it has ever seen half a file.
func (r *pathReader) stop(t *testing.T) {
	t.Helper()
	close(r.quit)
	r.wg.Wait()
	if len(r.bad) > 0 {
		t.Errorf("seen at the path: %s", r.bad[0])
	}
	if r.seen == 0 {
		t.Error("the reader has never seen the file: it proves nothing")
	}
}

// The file is never seen incomplete, however often it comes and goes.
func TestFileIsNeverIncomplete(t *testing.T) {
	file := bed.OpenDir(t) + "/p.pid"
	r := readAllTheTime(file)
	for range 50 {
		if out, err := exec.Command(bed.Pidleash, "-pidfile", file, bed.CompileC(t, "first.c"), "check", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	r.stop(t)
}

func TestNextStartAfterKill(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	r := bed.Start(t, bed.How{}, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	program := r.Number(t)
	r.Signal(syscall.SIGKILL)
	r.ExpectSignal(t, syscall.SIGKILL)
	bed.Await(t, "PROGRAM dies with pidleash", func() bool { return bed.Ended(program) })
	if got := bed.ReadFile(t, file); got != fmt.Sprintln(program) {
		t.Errorf("the file left behind has %q, want %d", got, program)
	}
	r = bed.Start(t, bed.How{}, "-log-level", "info", "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	next := r.Number(t)
	if got := bed.ReadFile(t, file); got != fmt.Sprintln(next) {
		t.Errorf("the file has %q, PROGRAM is %d", got, next)
	}
	r.Stdin.Close()
	r.ExpectCode(t, 0)
	r.ExpectOneLine(t, fmt.Sprintf("pidfile %s: stale, replacing it: PID %d .*(does not run|has ended)", file, program))
	bed.ExpectEmptyDir(t, filepath.Dir(file))
}

// Without the parent-death signal PROGRAM lives on, and its file is not stale.
func TestOrphanIsNotStale(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	r := bed.Start(t, bed.How{}, "-pdeathsig", "none", "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	program := r.Number(t)
	r.Signal(syscall.SIGKILL)
	r.ExpectSignal(t, syscall.SIGKILL)
	next := bed.Start(t, bed.How{}, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	next.ExpectCode(t, 120)
	next.ExpectOneLine(t, fmt.Sprintf("already running as PID %d .*held by nobody.*; hint: ", program))
	r.Stdin.Close()
	bed.Await(t, "PROGRAM ends", func() bool { return bed.Ended(program) })
}

func TestProgramWithoutPidleash(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	file, pid := dir+"/p.pid", bed.PlainProgram(t)
	bed.WriteFile(t, file, fmt.Sprintln(pid), 0o644)
	r := bed.Start(t, bed.How{}, "-pidfile", file, "touch", dir+"/marker")
	r.ExpectCode(t, 120)
	r.ExpectOneLine(t, fmt.Sprintf("pidfile %s: already running as PID %d .first., held by nobody: .*; hint: ", file, pid))
	bed.ExpectFiles(t, dir, "p.pid")

	// Control: the same file, written before that process started.
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, before, before); err != nil {
		t.Fatal(err)
	}
	r = bed.Start(t, bed.How{}, "-log-level", "info", "-pidfile", file, "touch", dir+"/marker")
	r.ExpectCode(t, 0)
	r.ExpectOneLine(t, "stale, replacing it: .*started after the file was written")
	bed.ExpectFiles(t, dir, "marker")
}

// In a container the same small PIDs come back: the file of the last run names
// pidleash itself or the shell that starts it.
func TestFileNamesThisStart(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"itself":     `echo $$ >"$0"; exec "$@"`,
		"its parent": `echo $$ >"$0"; "$@"; exit $?`,
	} {
		for _, m := range bed.StartModes {
			t.Run(name+" "+m.Name, func(t *testing.T) {
				t.Parallel()
				a := bed.Sleeper(t)
				if strings.Contains(m.Name, "forking") {
					a.Shell("sleep 600 & true")
				}
				a.How.Before = []string{"sh", "-c", script, a.PIDFile}
				a.Options = []string{"-log-level", "info"}
				r := a.Start(t, m)
				bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
				r.AwaitStderr(t, "this start itself or what started it")
				a.Leave(t)
			})
		}
	}
}

// A refusal is a PID file that cannot be claimed.
type refusal struct {
	name   string
	make   func(t *testing.T, dir string)
	file   string // in the directory
	nobody bool
	stderr string
	stays  []string // what is in the directory, before and after
}

var refusals = []refusal{
	{name: "symbolic link", file: "p.pid", stderr: "is a symbolic link; hint: ", stays: []string{"p.pid", "target"},
		make: func(t *testing.T, dir string) {
			bed.WriteFile(t, dir+"/target", "", 0o644)
			bed.Must(t, os.Symlink("target", dir+"/p.pid"))
		}},
	{name: "directory", file: "p.pid", stderr: "is a directory; hint: ", stays: []string{"p.pid"},
		make: func(t *testing.T, dir string) { bed.Must(t, os.Mkdir(dir+"/p.pid", 0o755)) }},
	{name: "fifo", file: "p.pid", stderr: "is not a regular file; hint: name another path", stays: []string{"p.pid"},
		make: func(t *testing.T, dir string) { bed.Must(t, syscall.Mkfifo(dir+"/p.pid", 0o644)) }},
	{name: "no PID file", file: "p.pid", stderr: "is not a PID file; hint: ", stays: []string{"p.pid"},
		make: func(t *testing.T, dir string) {
			bed.WriteFile(t, dir+"/p.pid", strings.Repeat("a line of a log\n", 100), 0o644)
		}},
	{name: "missing directory", file: "no/p.pid", stderr: "no directory DIR/no; hint: ",
		make: func(*testing.T, string) {}},
	{name: "missing directory on the way back", file: "d/no/../p.pid", stays: []string{"d"},
		stderr: "no directory DIR/d/no/..; hint: create it",
		make:   func(t *testing.T, dir string) { bed.Must(t, os.Mkdir(dir+"/d", 0o755)) }},
	{name: "name that is too long", file: strings.Repeat("p", 256), stderr: "file name too long; hint: choose a shorter path",
		make: func(*testing.T, string) {}},
	{name: "links in a circle", file: "l/p.pid", stderr: "too many levels of symbolic links; hint: its symbolic links lead in a circle", stays: []string{"l"},
		make: func(t *testing.T, dir string) { bed.Must(t, os.Symlink("l", dir+"/l")) }},
	{name: "file system that takes no files", file: "d/p.pid", stays: []string{"d"},
		stderr: "cannot be created in DIR/d: its file system takes no files; hint: choose a directory",
		make:   func(t *testing.T, dir string) { bed.Must(t, os.Symlink("/proc", dir+"/d")) }},
	{name: "file as directory", file: "f/p.pid", stderr: "its directory is not a directory; hint: name a file in a directory", stays: []string{"f"},
		make: func(t *testing.T, dir string) { bed.WriteFile(t, dir+"/f", "", 0o644) }},
	{name: "directory that may not be written", file: "d/p.pid", nobody: true, stderr: "permission denied; hint: .*65534", stays: []string{"d"},
		make: func(t *testing.T, dir string) { bed.Must(t, os.Mkdir(dir+"/d", 0o755)) }},
	{name: "directory that may not be entered", file: "d/p.pid", nobody: true, stderr: "permission denied; hint: user 65534 may not enter directory DIR/d", stays: []string{"d"},
		make: func(t *testing.T, dir string) { bed.Must(t, os.Mkdir(dir+"/d", 0o700)) }},
	{name: "file that may not be read", file: "p.pid", nobody: true, stderr: "permission denied; hint: user 65534 may not read this file, which is user 0's", stays: []string{"p.pid"},
		make: func(t *testing.T, dir string) { bed.WriteFile(t, dir+"/p.pid", bed.NoSuchPID, 0o600) }},
	{name: "stale file that may not be removed", file: "p.pid", nobody: true, stderr: "is stale and cannot be removed: operation not permitted; hint: choose a directory where user 65534 may remove files", stays: []string{"p.pid"},
		make: func(t *testing.T, dir string) {
			bed.Must(t, os.Chmod(dir, 0o777|os.ModeSticky))
			bed.WriteFile(t, dir+"/p.pid", bed.NoSuchPID, 0o644)
		}},
}

func TestRefusals(t *testing.T) {
	for _, c := range refusals {
		for _, options := range [][]string{nil, {"-forking"}} { // which locks the path before it reads the file
			t.Run(strings.Join(append(options, c.name), " "), func(t *testing.T) {
				t.Parallel()
				c.expect(t, options)
			})
		}
	}
}

func (c *refusal) expect(t *testing.T, options []string) {
	dir, markers := bed.OpenDir(t), bed.OpenDir(t)
	c.make(t, dir)
	h, path := bed.How{}, dir+"/"+c.file
	if c.nobody {
		bed.NeedRoot(t)
		h = bed.AsNobody()
	}
	r := bed.Start(t, h, append(options, "-pidfile", path, "touch", markers+"/marker")...)
	r.ExpectCode(t, 125)
	r.ExpectOneLine(t, "pidfile "+path+": .*"+strings.ReplaceAll(c.stderr, "DIR", dir))
	bed.ExpectFiles(t, dir, c.stays...)
	bed.ExpectEmptyDir(t, markers)
}

// What a mount can do to a directory; the script shows what is in it at the end.
func TestRefusalsOfFileSystems(t *testing.T) {
	for name, c := range map[string]struct{ script, stderr, stays string }{
		"read-only":   {`mount -t tmpfs -o ro none "$0"`, "read-only file system; hint: ", ""},
		"full":        {`mount -t tmpfs -o size=16k none "$0"; head -c 1M /dev/zero 2>&- >"$0/fill" || :`, "no space left on device; hint: make room", "fill\n"},
		"mount point": {`: >"$0/p.pid"; mount --bind "$0/p.pid" "$0/p.pid"`, "is stale and cannot be removed: device or resource busy; hint: it is a mount point", "p.pid\n"},
		"no inodes":   {`mount -t tmpfs -o nr_inodes=2 none "$0"; : >"$0/fill"`, "no space left on device; hint: make room", "fill\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, markers := bed.OpenDir(t), bed.OpenDir(t)
			h := bed.InMountNamespace(t, c.script+`; code=0; "$@" || code=$?; ls -A "$0"; exit $code`, dir)
			r := bed.Start(t, h, "-pidfile", dir+"/p.pid", "touch", markers+"/marker")
			r.ExpectCode(t, 125)
			if got := r.Rest(t); got != c.stays {
				t.Errorf("the directory has %q, want %q", got, c.stays)
			}
			r.ExpectOneLine(t, c.stderr)
			bed.ExpectEmptyDir(t, markers)
		})
	}
}
