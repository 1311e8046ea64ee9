package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startWaiting runs pidleash before a PROGRAM that lives until its standard input
// ends. It returns when pidleash waits for the files that the options name.
func startWaiting(t testing.TB, h how, options ...string) *run {
	t.Helper()
	r := start(t, h, append(append([]string{"-log-level", "info"}, options...), "--", first(t), "hold")...)
	r.awaitStderr(t, `pidleash: waiting for /`)
	if programs := descendants(r.pid()); len(programs) > 0 {
		t.Fatalf("it waits, and PROGRAM runs as PID %v", programs)
	}
	return r
}

// expectStarted fails the test unless an event makes pidleash start PROGRAM.
func (r *run) expectStarted(t testing.TB, begin time.Time) (program int) {
	t.Helper()
	program = r.number(t)
	if took := time.Since(begin); took > byEvent {
		t.Errorf("it took %v: no event", took)
	}
	return program
}

// leave lets PROGRAM end by itself, and pidleash with it.
func (r *run) leave(t testing.TB) {
	t.Helper()
	r.stdin.Close()
	r.expectCode(t, 0)
}

// expectNeverStarted fails the test if PROGRAM has said a word.
func (r *run) expectNeverStarted(t testing.TB) {
	t.Helper()
	if text := r.rest(t); text != "" {
		t.Errorf("PROGRAM was started and wrote %q", text)
	}
}

// expectShut fails the test unless an event has made pidleash stop PROGRAM, and it
// has said in one line for which file.
func (r *run) expectShut(t testing.TB, begin time.Time, why string) {
	t.Helper()
	r.expectSignal(t, syscall.SIGTERM)
	if took := time.Since(begin); took > byEvent {
		t.Errorf("it took %v: no event", took)
	}
	r.expectOneLine(t, `^pidleash: `+why+`, stopping PID [0-9]+\n$`)
}

// arrivals are the ways in which a file comes to be at $0/a/b/file, of which only
// what the first script makes is there before.
var arrivals = map[string]struct{ before, appear string }{
	"created":               {`mkdir -p "$0/a/b"`, `: >"$0/a/b/file"`},
	"renamed":               {`mkdir -p "$0/a/b"; : >"$0/a/b/other"`, `mv "$0/a/b/other" "$0/a/b/file"`},
	"moved in":              {`mkdir -p "$0/a/b"; : >"$0/other"`, `mv "$0/other" "$0/a/b/file"`},
	"linked":                {`mkdir -p "$0/a/b"; : >"$0/other"`, `ln "$0/other" "$0/a/b/file"`},
	"directory made":        {`mkdir "$0/a"`, `mkdir "$0/a/b"; : >"$0/a/b/file"`},
	"directories made":      {`:`, `mkdir -p "$0/a/b"; : >"$0/a/b/file"`},
	"directories in steps":  {`:`, `mkdir "$0/a"; sleep 0.05; mkdir "$0/a/b"; sleep 0.05; : >"$0/a/b/file"`},
	"directory made again":  {`mkdir -p "$0/a/b"`, `rm -r "$0/a"; mkdir -p "$0/a/b"; : >"$0/a/b/file"`},
	"directory renamed":     {`mkdir -p "$0/a/c"; : >"$0/a/c/file"`, `mv "$0/a/c" "$0/a/b"`},
	"directories renamed":   {`mkdir -p "$0/c/b"; : >"$0/c/b/file"`, `mv "$0/c" "$0/a"`},
	"link to directory":     {`mkdir -p "$0/c/b"; : >"$0/c/b/file"`, `ln -s c "$0/a"`},
	"directory itself":      {`mkdir -p "$0/a/b"`, `mkdir "$0/a/b/file"`},
	"fifo":                  {`mkdir -p "$0/a/b"`, `mkfifo "$0/a/b/file"`},
	"link to a file":        {`mkdir -p "$0/a/b"; : >"$0/other"`, `ln -s ../../other "$0/a/b/file"`},
	"target in its place":   {`mkdir -p "$0/a/b"; ln -s other "$0/a/b/file"`, `: >"$0/a/b/other"`},
	"file for a directory":  {`mkdir "$0/a"; : >"$0/a/b"`, `rm "$0/a/b"; mkdir "$0/a/b"; : >"$0/a/b/file"`},
	"dangling link for one": {`mkdir -p "$0/a/b"; ln -s nothing "$0/a/b/file"`, `rm "$0/a/b/file"; : >"$0/a/b/file"`},
}

// What there is at first is no FILE, and what is there at last is one.
func TestWhileWaits(t *testing.T) {
	for name, c := range arrivals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			sh(t, c.before, dir)
			r := startWaiting(t, how{}, "-while", dir+"/a/b/file")
			begin := time.Now()
			sh(t, c.appear, dir)
			r.expectStarted(t, begin)
			r.leave(t)
			r.expectOneLine(t, `^pidleash: waiting for `+dir+`/a/b/file\n$`)
		})
	}
}

func sh(t testing.TB, script, dir string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script, dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// No event tells of a target that is elsewhere: the second look does.
func TestWhileWaitsForTheTarget(t *testing.T) {
	t.Parallel()
	dir, other := openDir(t), openDir(t)
	must(t, os.Symlink(other+"/target", dir+"/file"))
	r := startWaiting(t, how{}, "-while", dir+"/file")
	writeFile(t, other+"/target", "", 0o644)
	r.number(t)
	// Of its end an event tells.
	awaitWatched(t, r, other+"/target")
	begin := time.Now()
	must(t, os.Remove(other+"/target"))
	r.expectSignal(t, syscall.SIGTERM)
	if took := time.Since(begin); took > byEvent {
		t.Errorf("it took %v: no event", took)
	}
}

// presences are what counts as FILE at $0/file.
var presences = map[string]string{
	"empty file": `: >"$0/file"`,
	"file":       `echo 1 >"$0/file"`,
	"directory":  `mkdir "$0/file"`,
	"fifo":       `mkfifo "$0/file"`,
	"unreadable": `: >"$0/file"; chmod 0 "$0/file"`,
	"link":       `: >"$0/other"; ln -s other "$0/file"`,
}

func TestWhilePresent(t *testing.T) {
	for name, script := range presences {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := how{}
			if name == "unreadable" {
				needRoot(t)
				h = asNobody()
			}
			dir := openDir(t)
			file := dir + "/file"
			sh(t, script, dir)
			r, program := leashed(t, h, "-settle", "0", "-while", file)
			// Another inode is a file as good, even for a moment's look. What may not
			// be read cannot be watched, inotify(7): it is looked at every second.
			if name != "directory" && name != "unreadable" {
				awaitWatched(t, r, file)
				writeFile(t, dir+"/new", "", 0o600)
				must(t, os.Rename(dir+"/new", file))
				awaitWatched(t, r, file)
			}
			if dead(program) {
				t.Fatalf("another file at the path has ended PROGRAM:\n%s", r.stderr())
			}
			r.expectQuiet(t)
			begin := time.Now()
			must(t, os.Remove(file))
			r.expectShut(t, begin, "while "+file+": gone")
		})
	}
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		file := openDir(t) + "/file"
		socket, err := net.Listen("unix", file)
		must(t, err)
		defer socket.Close()
		r, _ := leashed(t, how{}, "-while", file)
		begin := time.Now()
		socket.Close()
		r.expectShut(t, begin, "while "+file+": gone")
	})
}

func TestWhileGone(t *testing.T) {
	for name, script := range map[string]string{
		"unlink":            `rm "$0/a/b/file"`,
		"rename":            `mv "$0/a/b/file" "$0/a/b/other"`,
		"directory removed": `rm -r "$0/a"`,
		"directory is one":  `rm -r "$0/a/b"; : >"$0/a/b"`,
		"dangling link":     `ln -s nothing "$0/a/b/link"; mv "$0/a/b/link" "$0/a/b/file"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			file := dir + "/a/b/file"
			sh(t, `mkdir -p "$0/a/b"; : >"$0/a/b/file"`, dir)
			r, _ := leashed(t, how{}, "-while", file)
			awaitWatched(t, r, file)
			begin := time.Now()
			sh(t, script, dir)
			r.expectShut(t, begin, "while "+file+": gone")
		})
	}
}

// No event tells of a parent directory that is renamed, nor of a link whose target
// stays.
func TestWhileGoneWithoutEvent(t *testing.T) {
	for name, script := range map[string]string{
		"directory renamed": `mv "$0/a" "$0/c"`,
		"link removed":      `rm "$0/a/b/file"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			sh(t, `mkdir -p "$0/a/b"; : >"$0/other"; ln -s ../../other "$0/a/b/file"`, dir)
			r, _ := leashed(t, how{}, "-while", dir+"/a/b/file")
			sh(t, script, dir)
			r.expectSignal(t, syscall.SIGTERM)
		})
	}
}

// A file system that does not answer has not removed anything.
func TestWhileUnknown(t *testing.T) {
	needRoot(t)
	t.Parallel()
	dir := openDir(t)
	file := dir + "/file"
	writeFile(t, file, "", 0o644)
	r, program := leashed(t, asNobody(), "-settle", "10ms", "-while", file)
	awaitWatched(t, r, file)
	must(t, os.Chmod(dir, 0))
	nudge(t, file)
	r.awaitStderr(t, `while `+file+`: permission denied\n`)
	nudgeInVain(t, file)
	if dead(program) {
		t.Error("PROGRAM has ended")
	}
	must(t, os.Chmod(dir, 0o777))
	must(t, os.Remove(file))
	r.expectSignal(t, syscall.SIGTERM)
	if r.warnings("permission denied") != 1 || r.warnings("gone, stopping") != 1 || r.warnings("\n") != 2 {
		t.Errorf("want one warning, and one about the removal:\n%s", r.stderr())
	}
}

func TestWhileHoldsPIDFile(t *testing.T) {
	t.Parallel()
	dir, gate := openDir(t), openDir(t)+"/file"
	file := dir + "/p.pid"
	r := startWaiting(t, how{}, "-pidfile", file, "-supervisor-pidfile", dir+"/super.pid", "-while", gate)
	expectNames := func(file string, pid int) {
		t.Helper()
		if got := readFile(t, file); got != fmt.Sprintln(pid) {
			t.Errorf("%s has %q, want %d", file, got, pid)
		}
		if !isLockedBy(t, file, r.pid()) {
			t.Errorf("%s is not locked by pidleash", file)
		}
	}
	expectNames(file, r.pid())
	expectNames(dir+"/super.pid", r.pid())
	second := start(t, how{}, "-pidfile", file, "-while", gate, "true")
	second.expectCode(t, 120)
	second.expectOneLine(t, fmt.Sprintf("pidfile %s: already running as PID %d ", file, r.pid()))

	begin := time.Now()
	writeFile(t, gate, "", 0o644)
	program := r.expectStarted(t, begin)
	expectNames(file, program)
	expectNames(dir+"/super.pid", r.pid())
	r.leave(t)
	expectEmptyDir(t, dir)
}

// The wait begins with the claim: what cannot be had is told before it.
func TestWhileMistakesComeFirst(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	gate := dir + "/no/file"
	holder, _ := leashed(t, how{}, "-pidfile", dir+"/held.pid")
	for _, c := range []struct {
		file, program string
		code          int
	}{
		{dir + "/held.pid", "true", 120},
		{dir + "/no/p.pid", "true", 125},
		{dir + "/p.pid", dir + "/program", 127},
		{dir + "/p.pid", dir, 126},
	} {
		r := start(t, how{}, "-pidfile", c.file, "-while", gate, c.program)
		r.expectCode(t, c.code)
		r.expectOneLine(t, "^pidleash: ")
	}
	holder.leave(t)
	expectEmptyDir(t, dir)
}

func TestWhilePIDFileRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		options []string
		code    int
		script  string
		why     string
		left    []string
	}{
		"removed":     {nil, 0, `rm "$0/p.pid"`, "removed", nil},
		"with a code": {[]string{"-removed-exit", "9"}, 9, `rm "$0/p.pid"`, "removed", nil},
		"replaced": {nil, 0, `echo 4194305 >"$0/new"; mv "$0/new" "$0/p.pid"`,
			"replaced", []string{"p.pid"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			r := startWaiting(t, how{}, append(c.options, "-pidfile", dir+"/p.pid", "-while", openDir(t)+"/file")...)
			begin := time.Now()
			sh(t, c.script, dir)
			r.expectCode(t, c.code)
			if took := time.Since(begin); took > byEvent {
				t.Errorf("it took %v: no event", took)
			}
			r.expectNeverStarted(t)
			if r.warnings("pidfile "+dir+"/p.pid: "+c.why+", not starting\n") != 1 || r.warnings("\n") != 2 {
				t.Errorf("want one line about that:\n%s", r.stderr())
			}
			expectFiles(t, dir, c.left...)
		})
	}
}

func TestWhileTermination(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			// -removed-exit is about something else.
			options := []string{"-removed-exit", "9", "-pidfile", dir + "/p.pid", "-while", dir + "/no/file"}
			r := startWaiting(t, how{}, options...)
			r.signal(syscall.SIGWINCH) // nobody is there to have it
			r.signal(syscall.SIGUSR1)
			r.signal(sig)
			r.expectSignal(t, sig)
			r.expectNeverStarted(t)
			if r.warnings("\n") != 1 {
				t.Errorf("standard error has %q, want nothing but the wait", r.stderr())
			}
			expectEmptyDir(t, dir)
		})
	}
	t.Run("success", func(t *testing.T) {
		t.Parallel()
		r := startWaiting(t, how{}, "-success", "143", "-while", openDir(t)+"/file")
		r.signal(syscall.SIGTERM)
		r.expectCode(t, 0)
	})
	t.Run("dropped", func(t *testing.T) {
		t.Parallel()
		r := startWaiting(t, how{}, "-rewrite", "TERM:none", "-rewrite", "INT:QUIT", "-while", openDir(t)+"/file")
		r.signal(syscall.SIGTERM)
		await(t, "TERM is not pending", func() bool { return !isPending(r.pid(), syscall.SIGTERM) })
		r.signal(syscall.SIGINT)
		r.expectSignal(t, syscall.SIGINT)
	})
	t.Run("PID 1", func(t *testing.T) {
		t.Parallel()
		needRoot(t)
		r := startWaiting(t, how{attr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}}, "-while", openDir(t)+"/file")
		r.signal(syscall.SIGTERM)
		r.expectCode(t, 143)
	})
	t.Run("terminal", func(t *testing.T) {
		for _, options := range []string{"", "-same-group"} {
			c := newConsole(t, nil, append(strings.Fields(pidleash+" -log-level info -while "+openDir(t)+"/file "+options), "true")...)
			c.expect("waiting for ")
			c.types("\x03")
			if status := c.wait(); status.Signal() != syscall.SIGINT {
				t.Errorf("%s: after ^C it has ended by %s", options, describe(status))
			}
		}
	})
}

func TestWhileTimeout(t *testing.T) {
	for name, c := range map[string]struct{ options, env []string }{
		"option":   {options: []string{"-start-timeout", "300ms"}},
		"variable": {env: []string{"PIDLEASH_START_TIMEOUT=300ms"}},
		"ready":    {options: []string{"-start-timeout", "300ms", "-ready", "fd:3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			writeFile(t, dir+"/there", "", 0o644)
			options := append(c.options, "-pidfile", dir+"/p.pid", "-while", dir+"/there", "-while", dir+"/one", "-while-running", dir+"/two")
			r := start(t, how{env: c.env}, append(options, "--", first(t), "hold")...)
			r.expectCode(t, 125)
			r.expectOneLine(t, `^pidleash: [^ ]*first: was not started: after 300ms still waiting for `+dir+`/one, `+dir+`/two\n$`)
			r.expectNeverStarted(t)
			expectFiles(t, dir, "there")
		})
	}
	t.Run("in time", func(t *testing.T) {
		t.Parallel()
		file := openDir(t) + "/file"
		r := startWaiting(t, how{}, "-start-timeout", "2s", "-while", file)
		writeFile(t, file, "", 0o644)
		r.number(t)
		time.Sleep(2*time.Second + 500*time.Millisecond) // the limit, which must not end anything any more
		r.leave(t)
	})
	t.Run("for ever", func(t *testing.T) {
		t.Parallel()
		file := openDir(t) + "/file"
		r := startWaiting(t, how{}, "-start-timeout", "0", "-while", file)
		writeFile(t, file, "", 0o644)
		r.number(t)
		r.leave(t)
	})
}

// stopped is a PROGRAM behind -while whose file is removed.
func TestWhileStops(t *testing.T) {
	for name, c := range map[string]struct {
		options []string
		script  string // of PROGRAM, which is told to end by then
		code    int
		signal  syscall.Signal
	}{
		"schedule":         {[]string{"-stop", "INT/1h/KILL"}, ``, 0, syscall.SIGINT},
		"PROGRAM's code":   {nil, `trap 'exit 7' TERM;`, 7, 0},
		"code":             {[]string{"-removed-exit", "9"}, `trap 'exit 7' TERM;`, 9, 0},
		"code of a signal": {[]string{"-removed-exit", "0"}, ``, 0, 0},
		"success":          {[]string{"-success", "7"}, `trap 'exit 7' TERM;`, 0, 0},
		"KILL at the end":  {[]string{"-stop", "TERM/100ms/KILL"}, `trap : TERM;`, 0, syscall.SIGKILL},
		"stop command":     {[]string{"-stop", "1h/KILL", "-stop-command", "kill -USR1 $MAINPID"}, `trap 'exit 8' USR1;`, 8, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, file := openDir(t), openDir(t)+"/file"
			writeFile(t, file, "", 0o644)
			options := append(c.options, "-pidfile", dir+"/p.pid", "-while", file)
			r := start(t, how{}, append(options, "--", "sh", "-c", c.script+`echo $$; while :; do read x || sleep 0.01; done`)...)
			program := r.number(t)
			must(t, os.Remove(file))
			if c.signal != 0 {
				r.expectSignal(t, c.signal)
			} else {
				r.expectCode(t, c.code)
			}
			r.expectOneLine(t, fmt.Sprintf(`^pidleash: while %s: gone, stopping PID %d\n$`, file, program))
			expectEmptyDir(t, dir)
		})
	}
}

func TestWhileSweeps(t *testing.T) {
	for _, mode := range []string{"mixed", "process"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			gate := openDir(t) + "/file"
			writeFile(t, gate, "", 0o644)
			f := startFamily(t, how{}, inMode(mode, "-while", gate), "program", relatives...)
			must(t, os.Remove(gate))
			f.told(t, both(syscall.SIGTERM, "program")...)
			left := relatives
			if mode == "mixed" {
				f.told(t, both(syscall.SIGTERM, relatives...)...)
				left = nil
			}
			f.expectSignal(t, syscall.SIGKILL)
			f.over(t, left...)
			f.expectOneLine(t, "while "+gate+": gone, stopping PID ")
		})
	}
}

func TestWhileSettle(t *testing.T) {
	t.Parallel()
	const settle = 2 * time.Second
	file := openDir(t) + "/file"
	writeFile(t, file, "", 0o644)
	p := startTeller(t, how{}, forEver, "-settle", settle.String(), "-stop", "TERM", "-while", file)
	awaitWatched(t, p.run, file)
	begin := time.Now()
	must(t, os.Remove(file))
	awaitWatched(t, p.run, filepath.Dir(file))
	p.roundTrips(t)
	writeFile(t, file, "", 0o644)
	awaitWatched(t, p.run, file)
	time.Sleep(time.Until(begin.Add(settle + 500*time.Millisecond))) // the removal would count by now
	p.roundTrips(t)
	p.expectQuiet(t)
	begin = time.Now()
	must(t, os.Remove(file))
	p.gotWithCont(t, syscall.SIGTERM)
	if took := time.Since(begin); took < settle {
		t.Errorf("it was stopped after %v", took)
	}
	p.finish(t)
}

// A file that comes back does not save a PROGRAM that is being stopped.
func TestWhileStaysDown(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/file"
	writeFile(t, file, "", 0o644)
	p := startTeller(t, how{}, forEver, "-restart", "always", "-settle", "0", "-stop", "TERM", "-while", file)
	awaitWatched(t, p.run, file)
	must(t, os.Remove(file))
	p.gotWithCont(t, syscall.SIGTERM)
	writeFile(t, file, "", 0o644)
	awaitWatched(t, p.run, file)
	p.finish(t)
	p.expectCode(t, 8)
	p.expectOneLine(t, `while `+file+`: gone, stopping PID [0-9]+\n$`)
}

func TestWhileSeveral(t *testing.T) {
	for _, gone := range []string{"one", "two", "three"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			var options []string
			for _, name := range []string{"one", "two", "three"} {
				options = append(options, "-while", dir+"/a/"+name)
			}
			r := startWaiting(t, how{}, options...)
			must(t, os.Mkdir(dir+"/a", 0o755))
			for _, name := range []string{"three", "one"} {
				writeFile(t, dir+"/a/"+name, "", 0o644)
				awaitWatched(t, r, dir+"/a/"+name)
				if programs := descendants(r.pid()); len(programs) > 0 {
					t.Fatalf("%s/a/two is missing, and PROGRAM runs as PID %v", dir, programs)
				}
			}
			begin := time.Now()
			writeFile(t, dir+"/a/two", "", 0o644)
			r.expectStarted(t, begin)
			awaitWatched(t, r, dir+"/a/two")
			begin = time.Now()
			must(t, os.Remove(dir+"/a/"+gone))
			r.expectSignal(t, syscall.SIGTERM)
			if took := time.Since(begin); took > byEvent {
				t.Errorf("it took %v: no event", took)
			}
			if r.warnings("while "+dir+"/a/"+gone+": gone, stopping") != 1 {
				t.Errorf("want the file that is gone:\n%s", r.stderr())
			}
		})
	}
}

func TestWhileByEnvironment(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	env := []string{"PIDLEASH_WHILE=one\n" + dir + "/t w o", "PIDLEASH_WHILE_RUNNING=three"}
	r := startWaiting(t, how{env: env, dir: dir}, "-chdir", "/")
	r.awaitStderr(t, fmt.Sprintf(`waiting for %[1]s/one, %[1]s/t w o, %[1]s/three\n`, dir))
	for _, name := range []string{"one", "t w o", "three"} {
		writeFile(t, dir+"/"+name, fmt.Sprintln(os.Getpid()), 0o644)
	}
	r.number(t)
	r.leave(t)
	// PROGRAM does not have them.
	r = start(t, how{env: []string{"PIDLEASH_WHILE=/", "PIDLEASH_WHILE_RUNNING=" + dir + "/one"}},
		"sh", "-c", `echo "[$PIDLEASH_WHILE$PIDLEASH_WHILE_RUNNING]"`)
	r.expect(t, "[]")
	r.expectCode(t, 0)
}

func TestWhileMistakes(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	file := dir + "/p.pid"
	for _, name := range []string{"-while", "-while-running"} {
		variable := "PIDLEASH_" + strings.ReplaceAll(strings.ToUpper(name[1:]), "-", "_")
		for _, c := range []struct {
			options, env []string
			line         string
		}{
			{[]string{"-pidfile", file, "-sidecar", name, dir}, nil, name + " and -sidecar: "},
			{[]string{"-pidfile", file, "-forking", name, dir}, nil, name + " and -forking: "},
			{[]string{"-pidfile", file, name, file}, nil, "file " + file + " is given for two purposes"},
			{[]string{"-supervisor-pidfile", file, name, file}, nil, "file " + file + " is given for two purposes"},
			{[]string{name, dir, name, ""}, nil, "option " + name + ` "": no file`},
			{nil, []string{variable + "=" + dir + "\n\n" + dir}, "variable " + variable + ` "": no file`},
			{[]string{"-pidfile", file, "-sidecar"}, []string{variable + "=" + dir}, name + " and -sidecar: "},
		} {
			expectUsageError(t, c.env, c.options, c.line)
		}
	}
	expectEmptyDir(t, dir)
}

// A removal never restarts, whenever it comes.
func TestWhileNeverRestarts(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, file string) *run{
		"running": func(t *testing.T, file string) *run {
			r, _ := leashed(t, how{}, "-restart", "always", "-restart-delay", "0", "-while", file)
			must(t, os.Remove(file))
			r.expectSignal(t, syscall.SIGTERM)
			r.expectOneLine(t, "while "+file+`: gone, stopping PID [0-9]+\n`)
			return r
		},
		"back-off": func(t *testing.T, file string) *run {
			return whileBackOff(t, file, 0)
		},
		"back-off with a code": func(t *testing.T, file string) *run {
			return whileBackOff(t, file, 9, "-removed-exit", "9")
		},
		"stop for a restart": func(t *testing.T, file string) *run {
			p := startTeller(t, how{}, forEver, "-restart-signal", "HUP", "-stop", "TERM", "-while", file)
			awaitWatched(t, p.run, file)
			p.signal(syscall.SIGHUP)
			p.gotWithCont(t, syscall.SIGTERM)
			must(t, os.Remove(file))
			p.awaitStderr(t, "while "+file+`: gone, stopping PID [0-9]+\n`)
			p.finish(t)
			p.expectCode(t, 8)
			return p.run
		},
		"stop for a restart, the moment before its end": func(t *testing.T, file string) *run {
			p := startTeller(t, how{}, forEver, "-restart-signal", "HUP", "-settle", "1s", "-stop", "TERM", "-while", file)
			awaitWatched(t, p.run, file)
			p.signal(syscall.SIGHUP)
			p.gotWithCont(t, syscall.SIGTERM)
			must(t, os.Remove(file))
			awaitWatched(t, p.run, filepath.Dir(file))
			p.stdin.Close()
			p.awaitStderr(t, "while "+file+`: gone, not starting again\n`)
			p.expectCode(t, 0) // none was running
			return p.run
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := openDir(t) + "/file"
			writeFile(t, file, "", 0o644)
			if text := run(t, file).rest(t); text != "" {
				t.Errorf("PROGRAM was started again and wrote %q", text)
			}
		})
	}
}

// whileBackOff removes the file when no PROGRAM runs, and a new one is an hour away.
func whileBackOff(t *testing.T, file string, code int, options ...string) *run {
	dir := openDir(t)
	options = append(options, "-log-level", "info", "-pidfile", dir+"/p.pid", "-restart", "always", "-restart-delay", "1h", "-while", file)
	r := start(t, how{}, append(options, "--", "sh", "-c", "echo $$; exit 3")...)
	r.number(t)
	r.awaitStderr(t, "restarting in 1h")
	if got := pidIn(t, dir+"/p.pid"); got != r.pid() {
		t.Errorf("between two runs the PID file names %d, want pidleash, %d", got, r.pid())
	}
	awaitWatched(t, r, file)
	begin := time.Now()
	must(t, os.Remove(file))
	r.expectCode(t, code)
	if took := time.Since(begin); took > byEvent {
		t.Errorf("it took %v: no event", took)
	}
	if r.warnings("while "+file+": gone, not starting again") != 1 || r.warnings("\n") != 2 {
		t.Errorf("want one line about the file:\n%s", r.stderr())
	}
	expectEmptyDir(t, dir)
	return r
}

// A -restart does not mean to start before the file is there.
func TestWhileBeforeRestart(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/file"
	r := startWaiting(t, how{}, "-restart", "always", "-restart-delay", "0", "-restart-signal", "HUP", "-while", file)
	r.signal(syscall.SIGHUP) // asks for a restart of nobody
	await(t, "HUP is not pending", func() bool { return !isPending(r.pid(), syscall.SIGHUP) })
	writeFile(t, file, "", 0o644)
	program := r.number(t)
	r.signal(syscall.SIGHUP)
	if again := r.number(t); again == program {
		t.Errorf("PROGRAM is still PID %d", program)
	}
	r.signal(syscall.SIGTERM)
	r.expectSignal(t, syscall.SIGTERM)
}

// A service manager shows what is waited for.
func TestWhileTellsManager(t *testing.T) {
	t.Parallel()
	m, file := newManager(t), openDir(t)+"/file"
	r := startWaiting(t, m.how(), "-while", file)
	m.expect("STATUS=Waiting for " + file)
	writeFile(t, file, "", 0o644)
	m.expect("STATUS=")
	r.number(t)
	must(t, os.Remove(file))
	m.expect("STATUS=Stopping: while " + file + ": gone")
	r.expectSignal(t, syscall.SIGTERM)
	m.expect("STATUS=Stopped: while " + file + ": gone")
}

// PROGRAM gets what it would have got: the watches are there before it.
func TestWhileHidesItsDescriptors(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	plain := launch(t, exec.Command(first(t), "hold"))
	writeFile(t, dir+"/file", "", 0o644)
	writeFile(t, dir+"/running.pid", fmt.Sprintln(plain.number(t)), 0o644)
	r := startWaiting(t, how{}, "-pidfile", dir+"/p.pid", "-while", dir+"/file", "-while-running", dir+"/running.pid", "-while", dir+"/late")
	writeFile(t, dir+"/late", "", 0o644)
	expectDescriptors(t, r.number(t), plain.pid())
	r.leave(t)
}

// As long as nothing happens pidleash sleeps. Over this time it may look once more, and
// the runtime wakes a thread now and then.
func TestWhileIsIdle(t *testing.T) {
	for name, present := range map[string]bool{"waiting": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			options := []string{"-pidfile", dir + "/p.pid", "-while", dir + "/file", "-while-running", dir + "/running.pid"}
			var r *run
			if present {
				writeFile(t, dir+"/file", "", 0o644)
				writeFile(t, dir+"/running.pid", fmt.Sprintln(os.Getpid()), 0o644)
				r, _ = leashed(t, how{}, options...)
			} else {
				r = startWaiting(t, how{}, options...)
			}
			time.Sleep(500 * time.Millisecond) // it falls asleep
			used := switches(t, r.pid())
			time.Sleep(3 * time.Second) // the time in which it must do next to nothing
			if used = switches(t, r.pid()) - used; used > 50 {
				t.Errorf("pidleash has slept and woken %d times in three seconds", used)
			}
		})
	}
}

// Without events the paths are looked at every second.
func TestWhilePolled(t *testing.T) {
	t.Parallel()
	const limit = `echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"`
	if err := exec.Command("unshare", "-Ur", "sh", "-ec", limit, "sh", "true").Run(); err != nil {
		missing(t, "user namespaces: %v", err)
	}
	file := openDir(t) + "/file"
	r := startWaiting(t, how{before: []string{"unshare", "-Ur", "sh", "-ec", limit, "sh"}}, "-while", file)
	r.awaitStderr(t, "while "+file+": looking every 1s: no inotify instance left")
	begin := time.Now()
	writeFile(t, file, "", 0o644)
	r.expectStarted(t, begin)
	begin = time.Now()
	must(t, os.Remove(file))
	r.expectSignal(t, syscall.SIGTERM)
	if took := time.Since(begin); took > byEvent {
		t.Errorf("it took %v, want about a second", took)
	}
}

// A served is a process with a PID file that other programs live by.
type served struct {
	pid  int
	kill func()
}

// serveDaemon is a process without pidleash.
func serveDaemon(t testing.TB) served {
	t.Helper()
	r := launch(t, exec.Command(first(t), "hold"))
	return served{r.number(t), func() { r.signal(syscall.SIGKILL); <-r.done }}
}

// names has the file say the PID, in one step.
func (s served) names(t testing.TB, file string) {
	t.Helper()
	writeFile(t, file+".new", fmt.Sprintln(s.pid), 0o644)
	must(t, os.Rename(file+".new", file))
}

func TestWhileRunningPidleash(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/db.pid"
	r := startWaiting(t, how{}, "-while-running", file)
	begin := time.Now()
	db, _ := leashed(t, how{}, "-restart-signal", "HUP", "-pidfile", file)
	program := r.expectStarted(t, begin)
	// A restart of the other one is a PID after another.
	db.signal(syscall.SIGHUP)
	second := db.number(t)
	awaitWatched(t, r, file)
	if got := pidIn(t, file); got != second {
		t.Errorf("%s names %d, want %d", file, got, second)
	}
	if dead(program) {
		t.Fatalf("a restart has ended PROGRAM:\n%s", r.stderr())
	}
	begin = time.Now()
	db.leave(t)
	r.expectSignal(t, syscall.SIGTERM)
	if took := time.Since(begin); took > byEvent {
		t.Errorf("it took %v: no event", took)
	}
	if r.warnings("while-running "+file+": not running, stopping PID") != 1 || r.warnings("\n") != 2 {
		t.Errorf("want one line about the end:\n%s", r.stderr())
	}
}

// It names pidleash while that waits itself, which is as good as running.
func TestWhileRunningAWait(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	db := startWaiting(t, how{}, "-pidfile", dir+"/db.pid", "-while", dir+"/file")
	r, _ := leashed(t, how{}, "-while-running", dir+"/db.pid")
	writeFile(t, dir+"/file", "", 0o644)
	db.number(t)
	awaitWatched(t, r, dir+"/db.pid")
	r.leave(t)
	r.expectQuiet(t)
}

// The file of a process that has died is as good as none, wherever it is.
func TestWhileRunningDies(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/db.pid"
	db := serveDaemon(t)
	db.names(t, file)
	r, program := leashed(t, how{}, "-while-running", file)
	begin := time.Now()
	db.kill()
	r.expectShut(t, begin, "while-running "+file+": not running")
	if _, err := os.Lstat(file); err != nil {
		t.Errorf("the file is not pidleash's: %v", err)
	}
	if !gone(program) {
		t.Error("PROGRAM is left")
	}
	// Control: to -while the file is all.
	r, _ = leashed(t, how{}, "-while", file)
	r.leave(t)
}

func TestWhileRunningRemoved(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/db.pid"
	serveDaemon(t).names(t, file)
	r, _ := leashed(t, how{}, "-while-running", file)
	awaitWatched(t, r, file)
	begin := time.Now()
	must(t, os.Remove(file))
	r.expectShut(t, begin, "while-running "+file+": not running")
}

// What is at the path names nobody who runs: then pidleash waits until it does.
func TestWhileRunningWaits(t *testing.T) {
	db := serveDaemon(t)
	for name, before := range map[string]func(t *testing.T, file string){
		"stale":   func(t *testing.T, file string) { writeFile(t, file, noSuchPID, 0o644) },
		"empty":   func(t *testing.T, file string) { writeFile(t, file, "", 0o644) },
		"garbage": func(t *testing.T, file string) { writeFile(t, file, "a line of a log\n", 0o644) },
		"recycled": func(t *testing.T, file string) {
			db.names(t, file)
			hourAgo := time.Now().Add(-time.Hour)
			must(t, os.Chtimes(file, hourAgo, hourAgo))
		},
		"zombie": func(t *testing.T, file string) {
			// Its parent does not wait for it.
			r := launch(t, exec.Command("sh", "-c", "sleep 60 & echo $!; exec "+first(t)+" hold"))
			pid := r.number(t)
			r.number(t)
			must(t, syscall.Kill(pid, syscall.SIGKILL))
			await(t, "there is a zombie", func() bool { return processState(pid) == "Z" })
			served{pid: pid}.names(t, file)
		},
		"thread":  func(t *testing.T, file string) { served{pid: threadOf(t, os.Getpid())}.names(t, file) },
		"nothing": func(*testing.T, string) {},
	} {
		for way, appear := range map[string]func(t *testing.T, file string){
			"renamed": func(t *testing.T, file string) { db.names(t, file) },
			"written": func(t *testing.T, file string) { must(t, os.WriteFile(file, fmt.Appendln(nil, db.pid), 0o644)) },
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				file := openDir(t) + "/db.pid"
				before(t, file)
				r := startWaiting(t, how{}, "-while-running", file)
				begin := time.Now()
				appear(t, file)
				r.expectStarted(t, begin)
				r.leave(t)
				r.expectOneLine(t, "waiting for "+file+`\n$`)
			})
		}
	}
}

// threadOf is a thread of a process other than its first, which /proc shows likewise.
func threadOf(t testing.TB, pid int) (thread int) {
	t.Helper()
	entries, err := os.ReadDir(procFile(pid, "task"))
	must(t, err)
	for _, e := range entries {
		if thread, err = strconv.Atoi(e.Name()); err == nil && thread != pid {
			return thread
		}
	}
	t.Fatalf("PID %d has one thread only", pid)
	return 0
}

// The next process writes its PID and the last one ends, in whatever order.
func TestWhileRunningSuccessor(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]time.Duration{"before": 0, "after": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := openDir(t) + "/db.pid"
			db, next := serveDaemon(t), serveDaemon(t)
			db.names(t, file)
			p := startTeller(t, how{}, forEver, "-settle", settle.String(), "-stop", "TERM", "-while-running", file)
			awaitWatched(t, p.run, file)
			begin := time.Now()
			if name == "before" {
				next.names(t, file)
				awaitWatched(t, p.run, file)
				db.kill()
			} else {
				db.kill()
				p.roundTrips(t)
				next.names(t, file)
				awaitWatched(t, p.run, file)
				time.Sleep(time.Until(begin.Add(settle + 500*time.Millisecond))) // the end would count by now
			}
			p.roundTrips(t)
			p.expectQuiet(t)
			next.kill()
			p.gotWithCont(t, syscall.SIGTERM)
			p.finish(t)
			p.expectOneLine(t, "while-running "+file+": not running, stopping PID ")
		})
	}
}

// However often the file changes between two that live, nothing piles up.
func TestWhileRunningLeaksNothing(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/db.pid"
	both := []served{serveDaemon(t), serveDaemon(t)}
	both[0].names(t, file)
	r, _ := leashed(t, how{}, "-while-running", file)
	awaitWatched(t, r, file)
	count := func() int {
		fds, err := os.ReadDir(procFile(r.pid(), "fd"))
		must(t, err)
		return len(fds)
	}
	before := count()
	for i := range 50 {
		both[(i+1)%2].names(t, file)
		awaitWatched(t, r, file)
	}
	await(t, fmt.Sprintf("it has %d descriptors again", before), func() bool { return count() <= before+2 })
	begin := time.Now()
	both[0].kill()
	r.expectShut(t, begin, "while-running "+file+": not running")
}

// As root, a file says nothing that its writers could not do themselves.
func TestWhileRunningUntrusted(t *testing.T) {
	needRoot(t)
	for name, spoil := range map[string]func(t *testing.T, file string){
		"mode":  func(t *testing.T, file string) { must(t, os.Chmod(file, 0o666)) },
		"owner": func(t *testing.T, file string) { must(t, os.Chown(file, nobody, nobody)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := openDir(t) + "/db.pid"
			db := serveDaemon(t)
			db.names(t, file)
			spoil(t, file)
			r := startWaiting(t, how{}, "-while-running", file)
			r.awaitStderr(t, "while-running "+file+": .*\n")
			nudgeInVain(t, file)
			must(t, os.Chown(file, 0, 0))
			must(t, os.Chmod(file, 0o644))
			r.number(t)
			if r.warnings("while-running "+file+": ") != 1 || r.warnings("\n") != 2 {
				t.Errorf("want one warning:\n%s", r.stderr())
			}
			begin := time.Now()
			spoil(t, file)
			r.expectSignal(t, syscall.SIGTERM)
			if took := time.Since(begin); took > byEvent {
				t.Errorf("it took %v: no event", took)
			}
			if r.warnings("while-running "+file+": ") != 3 || r.warnings(", stopping PID ") != 1 {
				t.Errorf("want one warning more, and the end:\n%s", r.stderr())
			}
		})
	}
	t.Run("other users take it", func(t *testing.T) {
		t.Parallel()
		file := openDir(t) + "/db.pid"
		serveDaemon(t).names(t, file)
		must(t, os.Chmod(file, 0o666))
		r, _ := leashed(t, asNobody(), "-while-running", file)
		r.leave(t)
		r.expectQuiet(t)
	})
}

// A file system that does not answer has ended nobody; but the process itself can.
func TestWhileRunningUnknown(t *testing.T) {
	needRoot(t)
	for _, end := range []string{"file removed", "process ends"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			file := dir + "/db.pid"
			db := serveDaemon(t)
			db.names(t, file)
			r, program := leashed(t, asNobody(), "-settle", "10ms", "-while-running", file)
			awaitWatched(t, r, file)
			must(t, os.Chmod(dir, 0))
			nudge(t, file)
			r.awaitStderr(t, "while-running "+file+": .*permission denied\n")
			nudgeInVain(t, file)
			if dead(program) {
				t.Fatalf("PROGRAM has ended:\n%s", r.stderr())
			}
			begin := time.Now()
			if end == "process ends" {
				db.kill()
			} else {
				must(t, os.Chmod(dir, 0o777))
				must(t, os.Remove(file))
			}
			r.expectSignal(t, syscall.SIGTERM)
			if took := time.Since(begin); took > byEvent {
				t.Errorf("it took %v: no event", took)
			}
			if r.warnings("permission denied") != 1 || r.warnings("not running, stopping") != 1 || r.warnings("\n") != 2 {
				t.Errorf("want one warning, and one about the end:\n%s", r.stderr())
			}
		})
	}
}

// While no program runs pidleash waits for children that it was started with, and as
// PID 1 for all that falls to it.
func TestWhileReapsOthers(t *testing.T) {
	t.Parallel()
	t.Run("children", func(t *testing.T) {
		t.Parallel()
		dir := openDir(t)
		h := how{before: []string{"sh", "-c", `sleep 0.3 & exec "$@"`, "sh"}}
		r := start(t, h, "-log-level", "info", "-while", dir+"/file", "--", first(t), "hold")
		r.awaitStderr(t, `pidleash: waiting for /`)
		await(t, "the child has been waited for", func() bool { return len(childPIDs(r.pid())) == 0 })
		r.signal(syscall.SIGTERM)
		r.expectSignal(t, syscall.SIGTERM)
	})
	t.Run("PID 1", func(t *testing.T) {
		t.Parallel()
		needRoot(t)
		dir := openDir(t)
		r := startWaiting(t, asPID1(), "-while", dir+"/file")
		for range 2 {
			sh(t, fmt.Sprintf("nsenter -t %d -p sh -c '(sleep 0.1 & echo >\"$0\")' \"$0/ran\"", r.pid()), dir)
			await(t, "the orphan has been waited for", func() bool { return len(childPIDs(r.pid())) == 0 })
		}
		r.signal(syscall.SIGTERM)
		r.expectCode(t, 128+int(syscall.SIGTERM))
	})
}
