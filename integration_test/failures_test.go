package integration

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A mark is an environment variable that every process of one attempt has:
// pidleash, its watchdog, PROGRAM and what comes of it.
type mark string

var marks atomic.Int64

// newMark is unique. Who still bears it at the end of the test is killed.
func newMark(t testing.TB) mark {
	m := mark(fmt.Sprintf("LEASH_MARK=%d-%d", os.Getpid(), marks.Add(1)))
	t.Cleanup(func() {
		for _, pid := range m.bearers() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return m
}

// bearers lists who has it. A zombie has no environment any more.
func (m mark) bearers() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		text, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
		// The test itself may have been started by a test.
		if err == nil && strings.Contains("\x00"+string(text), "\x00"+string(m)+"\x00") && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// watchdog returns the PID of the pidleash with this mark that is in the background, 0
// when there is none.
func (m mark) watchdog() int {
	for _, pid := range m.bearers() {
		words, _ := os.ReadFile(procFile(pid, "cmdline"))
		if name, _, _ := strings.Cut(string(words), "\x00"); name == "pidleash-watchdog" || name == "pidleash-supervisor" {
			return pid
		}
	}
	return 0
}

// soon is how long what is on its way out may take: less than any wait of a stop
// schedule.
const soon = 5 * time.Second

// expectNobody fails the test unless all who bear the mark end by themselves.
func (m mark) expectNobody(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(soon); ; time.Sleep(time.Millisecond) {
		left := m.bearers()
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			for _, pid := range left {
				words, _ := os.ReadFile(procFile(pid, "cmdline"))
				t.Errorf("left behind: PID %d, %q", pid, words)
			}
			return
		}
	}
}

// startMode is one of the ways in which pidleash holds PROGRAM.
type startMode struct {
	name    string
	options []string
	// as is the mode whose failures it has; empty: name.
	as string
}

func (m startMode) kind() string {
	if m.as != "" {
		return m.as
	}
	return m.name
}

var startModes = []startMode{
	{name: "foreground"},
	{name: "forking", options: []string{"-forking"}},
	{name: "daemon", options: []string{"-daemon"}},
	{name: "daemon forking", options: []string{"-daemon", "-forking"}},
	{name: "sidecar", options: []string{"-sidecar"}},
	{name: "daemon supervisor", options: []string{"-daemon", "-restart-signal", "USR2"}, as: "daemon"},
}

// attempt is a start that is to fail.
type attempt struct {
	dir     string // of the PID files
	other   string // another directory
	mark    mark
	how     how
	pidfile string
	super   string // empty: none
	options []string
	program []string
}

func newAttempt(t testing.TB) *attempt {
	a := &attempt{dir: openDir(t), other: openDir(t), mark: newMark(t)}
	a.pidfile = a.dir + "/p.pid"
	a.program = []string{"touch", a.other + "/marker"}
	return a
}

func (a *attempt) start(t testing.TB, m startMode) *run {
	a.how.env = append(a.how.env, string(a.mark))
	words := append([]string{"-pidfile", a.pidfile}, m.options...)
	if a.super != "" {
		words = append(words, "-supervisor-pidfile", a.super)
	}
	return start(t, a.how, append(append(words, a.options...), a.program...)...)
}

// shell makes PROGRAM a script, with the other directory as $0.
func (a *attempt) shell(script string) { a.program = []string{"sh", "-c", script, a.other} }

// conclusion is how pidleash ends, and what it says.
type conclusion struct {
	code   int
	signal syscall.Signal // instead of the code, when not 0
	line   string         // a pattern; empty: it says nothing
}

func (v conclusion) expect(t testing.TB, r *run) {
	t.Helper()
	if v.signal != 0 {
		r.expectSignal(t, v.signal)
	} else {
		r.expectCode(t, v.code)
	}
	if v.line == "" {
		r.expectQuiet(t)
	} else {
		r.expectOneLine(t, v.line)
	}
}

// failure is one way in which a start fails.
type failure struct {
	name    string
	arrange func(t *testing.T, a *attempt)
	conclusion
	in    map[string]conclusion // in these modes instead
	not   string                // not in these modes
	runs  bool                  // PROGRAM may have run
	stays []string              // what is in the directory before and after
	// later: the watchdog cleans up, after the end of the process that was started.
	later string
}

// asUser are an attempt's options, given by somebody who is not root.
func asUser(options ...string) func(*testing.T, *attempt) {
	return func(t *testing.T, a *attempt) {
		needRoot(t)
		a.how, a.options = asNobody(), options
	}
}

func withOptions(options ...string) func(*testing.T, *attempt) {
	return func(_ *testing.T, a *attempt) {
		for _, option := range options {
			a.options = append(a.options, strings.ReplaceAll(option, "OTHER", a.other))
		}
	}
}

// runs makes PROGRAM a script. The options are for those modes in which the start
// is otherwise over with PROGRAM's execve.
func runs(script string, options ...string) func(*testing.T, *attempt) {
	return func(_ *testing.T, a *attempt) {
		a.options = options
		a.shell(script)
	}
}

// holds has another pidleash there before.
func holds(options ...string) func(*testing.T, *attempt) {
	return func(t *testing.T, a *attempt) {
		for i := range options {
			options[i] = strings.ReplaceAll(options[i], "DIR", a.dir)
		}
		holder := start(t, how{}, append(options, first(t), "hold")...)
		holder.number(t)
	}
}

// program writes PROGRAM's file.
func program(name, text string, mode os.FileMode) func(*testing.T, *attempt) {
	return func(t *testing.T, a *attempt) {
		a.program = []string{a.other + "/" + name}
		if text != "" {
			writeFile(t, a.program[0], text, mode)
		}
	}
}

// noDaemon is said of a program that leaves nothing behind.
const noDaemon = "sh: has ended and has left no daemon behind"

var failures = []failure{
	{name: "no directory", conclusion: conclusion{code: 125, line: "pidfile .*/no/p.pid: no directory .*/no; hint: create it"},
		arrange: func(_ *testing.T, a *attempt) { a.pidfile = a.dir + "/no/p.pid" }},
	{name: "no directory for the supervisor", conclusion: conclusion{code: 125, line: "pidfile .*/no/s.pid: no directory .*/no; hint: create it"},
		arrange: func(_ *testing.T, a *attempt) { a.super = a.dir + "/no/s.pid" }},
	{name: "held", conclusion: conclusion{code: 120, line: `pidfile .*/p.pid: already running as PID \d+ .first., held by PID \d+ .pidleash.; hint: `},
		arrange: func(t *testing.T, a *attempt) { holds("-pidfile", a.pidfile)(t, a) }, stays: []string{"p.pid"}},
	{name: "supervisor held", conclusion: conclusion{code: 120, line: `pidfile .*/s.pid: already running as PID \d+ .pidleash., held by PID \d+ .pidleash.`},
		arrange: func(t *testing.T, a *attempt) {
			a.super = a.dir + "/s.pid"
			holds("-supervisor-pidfile", a.super)(t, a)
		}, stays: []string{"s.pid"}},
	{name: "reserved", conclusion: conclusion{code: 120, line: `pidfile .*/p.pid: already in use, held by PID \d+ .pidleash.; hint: `},
		arrange: func(t *testing.T, a *attempt) { holds("-forking", "-pidfile", a.pidfile)(t, a) }, stays: []string{".p.pid.lock"}},
	{name: "directory not writable", conclusion: conclusion{code: 125, line: "permission denied; hint: .* user 65534 may write"},
		arrange: func(t *testing.T, a *attempt) {
			asUser()(t, a)
			must(t, os.Chmod(a.dir, 0o755))
		}},
	{name: "stdout without directory", conclusion: conclusion{code: 125, line: "stdout .*/no/log: cannot be opened: no such file or directory; hint: create the directory .*/no"},
		arrange: withOptions("-stdout", "OTHER/no/log")},
	{name: "stderr is a directory", conclusion: conclusion{code: 125, line: "stderr .*: cannot be opened: is a directory; hint: name a file in it"},
		arrange: withOptions("-stderr", "OTHER")},
	{name: "no directory to enter", conclusion: conclusion{code: 125, line: "directory .*/no: cannot be entered: no such file or directory; hint: "},
		arrange: withOptions("-chdir", "OTHER/no")},
	{name: "directory the user may not enter", conclusion: conclusion{code: 125, line: "directory .*/d: cannot be entered: permission denied; hint: user nobody "},
		arrange: func(t *testing.T, a *attempt) {
			needRoot(t)
			dir := openDir(t) + "/d"
			must(t, os.Mkdir(dir, 0o700))
			a.options = []string{"-user", "nobody", "-chdir", dir}
		}},
	{name: "no such user", conclusion: conclusion{code: 125, line: "no-such-user.*no such user in /etc/passwd; hint: "},
		arrange: withOptions("-user", "no-such-user")},
	{name: "user of somebody who is not root", conclusion: conclusion{code: 125, line: "user daemon: cannot become it: operation not permitted; hint: "},
		arrange: asUser("-user", "daemon")},
	{name: "nice of somebody who is not root", conclusion: conclusion{code: 125, line: "nice -5: cannot be set: (permission denied|operation not permitted); hint: "},
		arrange: asUser("-nice", "-5")},
	{name: "oom-score-adj of somebody who is not root", conclusion: conclusion{code: 125, line: "oom-score-adj -500: cannot be set: (permission denied|operation not permitted); hint: "},
		arrange: asUser("-oom-score-adj", "-500")},
	{name: "no program", conclusion: conclusion{code: 127, line: "/program: not found"}, arrange: program("program", "", 0)},
	{name: "not in PATH", conclusion: conclusion{code: 127, line: "no-such-program: not found in PATH; hint: "},
		arrange: func(_ *testing.T, a *attempt) { a.program = []string{"no-such-program"} }},
	{name: "not executable", conclusion: conclusion{code: 126, line: "/script: cannot be executed: permission denied; hint: chmod"},
		arrange: program("script", "#!/bin/sh\n", 0o644), runs: true},
	{name: "no interpreter", conclusion: conclusion{code: 126, line: "/script: its interpreter /no/such is missing"},
		arrange: program("script", "#!/no/such\n", 0o755), runs: true},

	{name: "ends with 0", runs: true, not: "sidecar, foreground", conclusion: conclusion{code: 125, line: noDaemon},
		arrange: runs("exit 0", "-ready", "1m"),
		in:      map[string]conclusion{"daemon": {code: 125, line: "sh: ended with code 0 before it was up"}}},
	{name: "ends with 3", runs: true, not: "sidecar", conclusion: conclusion{code: 3},
		arrange: runs("exit 3", "-ready", "1m"),
		in: map[string]conclusion{
			"daemon":         {code: 3, line: "sh: ended with code 3 before it was up"},
			"daemon forking": {code: 3, line: "sh: ended with code 3 before it was up"}}},
	{name: "ends by SEGV", runs: true, not: "sidecar", conclusion: conclusion{signal: syscall.SIGSEGV},
		arrange: runs("ulimit -c 0; kill -SEGV $$", "-ready", "1m"),
		in: map[string]conclusion{
			"daemon":         {code: 139, line: "sh: ended by SIGSEGV before it was up"},
			"daemon forking": {code: 139, line: "sh: ended by SIGSEGV before it was up"}}},
	{name: "ends with 3, with its descriptor", runs: true, not: "sidecar, forking", conclusion: conclusion{code: 3},
		arrange: runs("exit 3", "-ready", "fd:3"),
		in:      map[string]conclusion{"daemon": {code: 3, line: "sh: ended with code 3 before it was up"}}},
	{name: "becomes a program that ends with 3", runs: true, not: "forking, foreground, daemon", later: "sidecar",
		conclusion: conclusion{code: 3}, arrange: runs("exit 3")},
	{name: "becomes a program that ends by SEGV", runs: true, not: "forking, foreground, daemon", later: "sidecar",
		conclusion: conclusion{signal: syscall.SIGSEGV}, arrange: runs("ulimit -c 0; kill -SEGV $$")},
	{name: "not in time", runs: true, not: "sidecar", conclusion: conclusion{code: 125, line: "sh: is not up after 200ms"},
		arrange: runs("sleep 60 & wait", "-ready", "fd:3", "-start-timeout", "200ms"),
		in: map[string]conclusion{
			"forking":        {code: 125, line: "sh: has not gone to the background after 200ms; hint: "},
			"daemon forking": {code: 125, line: "sh: has not gone to the background after 200ms; hint: "}}},
	{name: "descriptor closed", runs: true, not: "sidecar, forking", conclusion: conclusion{code: 125, line: "sh: closed descriptor 3 without writing a newline"},
		arrange: runs("exec 3>&-; sleep 60 & wait", "-ready", "fd:3")},
	{name: "daemon closes descriptor", runs: true, not: "sidecar, foreground, daemon", conclusion: conclusion{code: 125, line: "sh: closed descriptor 3 without writing a newline"},
		arrange: runs("exec 3>&-; sleep 60 &", "-ready", "fd:3")},
	{name: "starter fails", runs: true, not: "sidecar, foreground, daemon", conclusion: conclusion{code: 3},
		arrange: runs("sleep 60 & exit 3"),
		in:      map[string]conclusion{"daemon forking": {code: 3, line: "sh: ended with code 3 before it was up"}}},
	{name: "several daemons", runs: true, not: "sidecar, foreground, daemon", conclusion: conclusion{code: 125, line: `sh: has left 2 processes behind, PIDs \[\d+ \d+\]: .*; hint: -follow FILE`},
		arrange: runs("sleep 60 & sleep 60 &")},
	{name: "daemon not in time", runs: true, not: "sidecar, foreground, daemon", conclusion: conclusion{code: 125, line: "sh: is not up after 200ms"},
		arrange: func(_ *testing.T, a *attempt) {
			a.options = []string{"-follow", a.other + "/never.pid", "-start-timeout", "200ms"}
			a.shell("sleep 60 &")
		}},
}

// Of a start that fails nothing is left: no file, no process. It ends with the
// code of the table and says why in one line.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		for _, f := range failures {
			if f.appliesTo(m) {
				t.Run(m.name+"/"+f.name, func(t *testing.T) { f.run(t, m, "") })
				t.Run(m.name+"/"+f.name+"/supervisor", func(t *testing.T) { f.run(t, m, "/s.pid") })
			}
		}
	}
}

// appliesTo takes "daemon" for that mode only, not for "daemon forking".
func (f *failure) appliesTo(m startMode) bool {
	for _, name := range strings.Split(f.not, ", ") {
		// A list without -forking's modes ends in "forking": both of them.
		if name == m.kind() || name == "forking" && m.name == "daemon forking" {
			return false
		}
	}
	return true
}

func (f *failure) run(t *testing.T, m startMode, super string) {
	t.Parallel()
	a := newAttempt(t)
	if super != "" {
		a.super = a.dir + super
	}
	f.arrange(t, a)
	want, special := f.in[m.kind()]
	if !special {
		want = f.conclusion
	}
	r := a.start(t, m)
	want.expect(t, r)
	if m.kind() == f.later {
		await(t, "the watchdog cleans up", func() bool { return isEmpty(a.dir) })
	}
	expectFiles(t, a.dir, f.stays...)
	if !f.runs {
		expectEmptyDir(t, a.other)
	}
	a.mark.expectNobody(t)
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// mountFailure is what a mount can do to a start.
type mountFailure struct {
	name   string
	script string // makes the directory d in $0, where the PID files are
	conclusion
	program []string // DIR is $0
	only    []string // in these modes; nil: in all
}

var mountFailures = []mountFailure{
	{name: "full", script: `mount -t tmpfs -o size=16k none "$0"; mkdir "$0/d"; head -c 1M /dev/zero 2>&- >"$0/fill" || :`,
		conclusion: conclusion{code: 125, line: "pidfile .*: cannot be (written|created in .*): no space left on device; hint: make room"},
		program:    []string{"sh", "-c", "sleep 60 &"}},
	{name: "noexec", script: `mount -t tmpfs -o noexec none "$0"; mkdir "$0/d"; cp /bin/true "$0/program"`,
		conclusion: conclusion{code: 126, line: "/program: cannot be executed: permission denied; hint: .*noexec"},
		program:    []string{"DIR/program"}},
	{name: "no proc", script: `mkdir "$0/d"; umount -l /proc`,
		conclusion: conclusion{code: 125, line: "hint: mount /proc"},
		program:    []string{"sleep", "60"}, only: []string{"daemon", "daemon forking", "sidecar"}},
	{name: "no proc to seek in", script: `mkdir "$0/d"; umount -l /proc`,
		conclusion: conclusion{code: 125, line: "/proc"},
		program:    []string{"sh", "-c", "sleep 60 &"}, only: []string{"forking"}},
}

func TestFailuresOfMounts(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		for _, f := range mountFailures {
			if f.only == nil || slices.Contains(f.only, m.kind()) {
				t.Run(m.name+"/"+f.name, func(t *testing.T) { f.run(t, m, "") })
				t.Run(m.name+"/"+f.name+"/supervisor", func(t *testing.T) { f.run(t, m, "/d/s.pid") })
			}
		}
	}
}

// run has the script show what is in the directory at the end.
func (f *mountFailure) run(t *testing.T, m startMode, super string) {
	t.Parallel()
	a := newAttempt(t)
	a.pidfile, a.program = a.dir+"/d/p.pid", slices.Clone(f.program)
	a.program[0] = strings.ReplaceAll(f.program[0], "DIR", a.dir)
	if super != "" {
		a.super = a.dir + super
	}
	a.how = inMountNamespace(t, f.script+`; code=0; "$@" || code=$?; ls -A "$0/d"; exit $code`, a.dir)
	r := a.start(t, m)
	f.expect(t, r)
	if got := r.rest(t); got != "" {
		t.Errorf("the directory has %q, want nothing", got)
	}
	a.mark.expectNobody(t)
}

// Who tells pidleash to end in the middle of the start means the start.
func TestToldToEndDuringStart(t *testing.T) {
	t.Parallel()
	for _, m := range startModes[:4] {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
			for _, super := range []string{"", "/s.pid"} {
				t.Run(m.name+"/"+sig.String()+super, func(t *testing.T) {
					t.Parallel()
					a := newAttempt(t)
					if super != "" {
						a.super = a.dir + super
					}
					a.options = []string{"-ready", "fd:3"}
					a.program = []string{"sh", "-c", `: >"$0/up"; exec sleep 60`, a.other}
					r := a.start(t, m)
					await(t, "PROGRAM runs", func() bool { return !isEmpty(a.other) })
					r.signal(sig)
					conclusion{signal: sig}.expect(t, r)
					expectEmptyDir(t, a.dir)
					a.mark.expectNobody(t)
				})
			}
		}
	}
}

// A starter that has left a child behind is stopped with it.
func TestToldToEndWhileSeekingDaemon(t *testing.T) {
	t.Parallel()
	for _, m := range []startMode{startModes[1], startModes[3]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := newAttempt(t)
			a.options = []string{"-follow", a.other + "/never.pid"}
			a.shell(`sleep 60 & : >"$0/up"`)
			r := a.start(t, m)
			await(t, "PROGRAM runs", func() bool { return !isEmpty(a.other) })
			await(t, "the starter has ended", func() bool {
				for _, pid := range a.mark.bearers() {
					if name, _ := os.ReadFile(procFile(pid, "comm")); string(name) == "sh\n" {
						return false
					}
				}
				return true
			})
			r.signal(syscall.SIGTERM)
			conclusion{signal: syscall.SIGTERM}.expect(t, r)
			expectEmptyDir(t, a.dir)
			a.mark.expectNobody(t)
		})
	}
}

// At whatever moment of the start a TERM comes: either it ends all of it, or the
// start was over.
func TestTermAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for range 15 {
				termOnce(t, m)
			}
		})
	}
}

func termOnce(t *testing.T, m startMode) {
	a := newAttempt(t)
	a.super = a.dir + "/s.pid"
	a.program = []string{"sleep", "60"}
	if strings.Contains(m.name, "forking") {
		a.shell("sleep 60 &")
	}
	r := a.start(t, m)
	// Only the moment is random: nothing is concluded from it.
	time.Sleep(time.Duration(rand.Intn(20_000)) * time.Microsecond)
	r.signal(syscall.SIGTERM)
	status := r.wait(t)
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGTERM:
	case strings.HasPrefix(m.name, "daemon") && status.Exited() && status.ExitStatus() == 0:
		must(t, os.Remove(a.pidfile))
	default:
		t.Errorf("pidleash ended by %s\n%s", describe(status), r.stderr())
	}
	r.expectQuiet(t)
	a.mark.expectNobody(t)
	expectEmptyDir(t, a.dir)
}

// Without its watchdog a program in the background would be nobody's.
func TestWatchdogKilledDuringStart(t *testing.T) {
	t.Parallel()
	for _, m := range startModes[2:4] {
		for _, super := range []string{"", "/s.pid"} {
			t.Run(m.name+super, func(t *testing.T) {
				t.Parallel()
				a := newAttempt(t)
				if super != "" {
					a.super = a.dir + super
				}
				must(t, syscall.Mkfifo(a.other+"/gate", 0o600))
				a.options = []string{"-ready", "fd:3"}
				script := `read x <"$0/gate"; echo >&3; exec sleep 60`
				if strings.Contains(m.name, "forking") {
					script = "{ " + script + "; } &"
				}
				a.shell(script)
				r := a.start(t, m)
				await(t, "PROGRAM runs", func() bool { _, err := os.Stat(a.pidfile); return err == nil })
				watchdog := a.mark.watchdog()
				if watchdog == 0 {
					t.Fatal("no watchdog")
				}
				must(t, syscall.Kill(watchdog, syscall.SIGKILL))
				await(t, "the watchdog is gone", func() bool { return dead(watchdog) })
				must(t, os.WriteFile(a.other+"/gate", []byte("\n"), 0))
				conclusion{code: 125, line: "the watchdog has ended before it was watching"}.expect(t, r)
				expectEmptyDir(t, a.dir)
				a.mark.expectNobody(t)
			})
		}
	}
}

// A launcher that is killed has not started anything.
func TestLauncherKilledDuringStart(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.super = a.dir + "/s.pid"
	a.options = []string{"-ready", "fd:3"}
	a.program = []string{"sh", "-c", `: >"$0/up"; exec sleep 60`, a.other}
	r := a.start(t, startModes[2])
	await(t, "PROGRAM runs", func() bool { return !isEmpty(a.other) })
	watchdog := a.mark.watchdog()
	r.signal(syscall.SIGKILL)
	r.expectSignal(t, syscall.SIGKILL)
	await(t, "the watchdog has ended", func() bool { return gone(watchdog) || dead(watchdog) })
}
