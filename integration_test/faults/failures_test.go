package faults

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

func kind(m bed.StartMode) string {
	if m.As != "" {
		return m.As
	}
	return m.Name
}

// failure is one way in which a start fails.
type failure struct {
	name    string
	arrange func(t *testing.T, a *bed.Attempt)
	bed.Conclusion
	in    map[string]bed.Conclusion // in these modes instead
	not   string                    // not in these modes
	runs  bool                      // PROGRAM may have run
	stays []string                  // what is in the directory before and after
	// later: the watchdog cleans up, after the end of the process that was started.
	later string
}

// asUser are an attempt's options, given by somebody who is not root.
func asUser(options ...string) func(*testing.T, *bed.Attempt) {
	return func(t *testing.T, a *bed.Attempt) {
		bed.NeedRoot(t)
		a.How, a.Options = bed.AsNobody(), options
	}
}

// runs makes PROGRAM a script. The options are for those modes in which the start
// is otherwise over with PROGRAM's execve.
func runs(script string, options ...string) func(*testing.T, *bed.Attempt) {
	return func(_ *testing.T, a *bed.Attempt) {
		a.Options = options
		a.Shell(script)
	}
}

// holds has another pidleash there before.
func holds(options ...string) func(*testing.T, *bed.Attempt) {
	return func(t *testing.T, a *bed.Attempt) {
		for i := range options {
			options[i] = strings.ReplaceAll(options[i], "DIR", a.Dir)
		}
		holder := bed.Start(t, bed.How{}, append(options, bed.CompileC(t, "first.c"), "hold")...)
		holder.Number(t)
	}
}

// program writes PROGRAM's file.
func program(name, text string, mode os.FileMode) func(*testing.T, *bed.Attempt) {
	return func(t *testing.T, a *bed.Attempt) {
		a.Program = []string{a.Other + "/" + name}
		if text != "" {
			bed.WriteFile(t, a.Program[0], text, mode)
		}
	}
}

// asNobody adds options for a user without rights.
func asNobody(options ...string) func(*testing.T, *bed.Attempt) {
	return func(t *testing.T, a *bed.Attempt) {
		bed.NeedRoot(t)
		a.How = bed.AsNobody()
		bed.WithOptions(options...)(t, a)
	}
}

// noDaemon is said of a program that leaves nothing behind.
const noDaemon = "sh: has ended and has left no daemon behind"

var failures = []failure{
	{name: "no directory", Conclusion: bed.Conclusion{Code: 125, Line: "pidfile .*/no/p.pid: no directory .*/no; hint: create it"},
		arrange: func(_ *testing.T, a *bed.Attempt) { a.PIDFile = a.Dir + "/no/p.pid" }},
	{name: "no directory for the supervisor", Conclusion: bed.Conclusion{Code: 125, Line: "pidfile .*/no/s.pid: no directory .*/no; hint: create it"},
		arrange: func(_ *testing.T, a *bed.Attempt) { a.Super = a.Dir + "/no/s.pid" }},
	{name: "held", Conclusion: bed.Conclusion{Code: 120, Line: `pidfile .*/p.pid: already running as PID \d+ .first., held by PID \d+ .pidleash.; hint: `},
		arrange: func(t *testing.T, a *bed.Attempt) { holds("-pidfile", a.PIDFile)(t, a) }, stays: []string{"p.pid"}},
	{name: "supervisor held", Conclusion: bed.Conclusion{Code: 120, Line: `pidfile .*/s.pid: already running as PID \d+ .pidleash., held by PID \d+ .pidleash.`},
		arrange: func(t *testing.T, a *bed.Attempt) {
			a.Super = a.Dir + "/s.pid"
			holds("-supervisor-pidfile", a.Super)(t, a)
		}, stays: []string{"s.pid"}},
	{name: "reserved", Conclusion: bed.Conclusion{Code: 120, Line: `pidfile .*/p.pid: already in use, held by PID \d+ .pidleash.; hint: `},
		arrange: func(t *testing.T, a *bed.Attempt) { holds("-forking", "-pidfile", a.PIDFile)(t, a) }, stays: []string{".p.pid.lock"}},
	{name: "directory not writable", Conclusion: bed.Conclusion{Code: 125, Line: "permission denied; hint: .* user 65534 may write"},
		arrange: func(t *testing.T, a *bed.Attempt) {
			asUser()(t, a)
			bed.Must(t, os.Chmod(a.Dir, 0o755))
		}},
	{name: "stdout without directory", Conclusion: bed.Conclusion{Code: 125, Line: "stdout .*/no/log: cannot be opened: no such file or directory; hint: create the directory .*/no"},
		arrange: bed.WithOptions("-stdout", "OTHER/no/log")},
	{name: "stderr is a directory", Conclusion: bed.Conclusion{Code: 125, Line: "stderr .*: cannot be opened: is a directory; hint: name a file in it"},
		arrange: bed.WithOptions("-stderr", "OTHER")},
	{name: "priority that is refused", Conclusion: bed.Conclusion{Code: 125, Line: "nice -5: cannot be set: permission denied; hint: .*CAP_SYS_NICE"},
		arrange: asNobody("-nice", "-5")},
	{name: "OOM score that is refused", Conclusion: bed.Conclusion{Code: 125, Line: "oom-score-adj -1000: cannot be set: permission denied; hint: .*CAP_SYS_RESOURCE"},
		arrange: asNobody("-oom-score-adj", "-1000")},
	{name: "log is a directory", not: "sidecar", Conclusion: bed.Conclusion{Code: 125, Line: "ready-file .*: is not a regular file; hint: name the file that the program writes"},
		arrange: bed.WithOptions("-ready", "log", "-ready-file", "OTHER")},
	{name: "daemon's file is a device", not: "sidecar, foreground, daemon", Conclusion: bed.Conclusion{Code: 125, Line: "follow /dev/null: is not a regular file; hint: "},
		arrange: bed.WithOptions("-follow", "/dev/null")},
	{name: "output is no log", not: "sidecar", Conclusion: bed.Conclusion{Code: 125, Line: "-ready log: neither -stdout nor -stderr is a regular file; hint: -ready-file FILE"},
		arrange: bed.WithOptions("-ready", "log", "-stdout", "/dev/null")},
	{name: "no directory to enter", Conclusion: bed.Conclusion{Code: 125, Line: "directory .*/no: cannot be entered: no such file or directory; hint: "},
		arrange: bed.WithOptions("-chdir", "OTHER/no")},
	{name: "directory the user may not enter", Conclusion: bed.Conclusion{Code: 125, Line: "directory .*/d: cannot be entered: permission denied; hint: user nobody "},
		arrange: func(t *testing.T, a *bed.Attempt) {
			bed.NeedRoot(t)
			dir := bed.OpenDir(t) + "/d"
			bed.Must(t, os.Mkdir(dir, 0o700))
			a.Options = []string{"-user", "nobody", "-chdir", dir}
		}},
	{name: "no such user", Conclusion: bed.Conclusion{Code: 125, Line: "no-such-user.*no such user in /etc/passwd; hint: "},
		arrange: bed.WithOptions("-user", "no-such-user")},
	{name: "user of somebody who is not root", Conclusion: bed.Conclusion{Code: 125, Line: "user daemon: cannot become it: setgroups\\(2\\): operation not permitted; hint: "},
		arrange: asUser("-user", "daemon")},
	{name: "nice of somebody who is not root", Conclusion: bed.Conclusion{Code: 125, Line: "nice -5: cannot be set: (permission denied|operation not permitted); hint: "},
		arrange: asUser("-nice", "-5")},
	{name: "oom-score-adj of somebody who is not root", Conclusion: bed.Conclusion{Code: 125, Line: "oom-score-adj -500: cannot be set: (permission denied|operation not permitted); hint: "},
		arrange: asUser("-oom-score-adj", "-500")},
	{name: "no program", Conclusion: bed.Conclusion{Code: 127, Line: "/program: not found"}, arrange: program("program", "", 0)},
	{name: "not in PATH", Conclusion: bed.Conclusion{Code: 127, Line: "no-such-program: not found in PATH; hint: "},
		arrange: func(_ *testing.T, a *bed.Attempt) { a.Program = []string{"no-such-program"} }},
	{name: "not executable", Conclusion: bed.Conclusion{Code: 126, Line: "/script: cannot be executed: permission denied; hint: chmod"},
		arrange: program("script", "#!/bin/sh\n", 0o644), runs: true},
	{name: "no interpreter", Conclusion: bed.Conclusion{Code: 126, Line: "/script: its interpreter /no/such is missing"},
		arrange: program("script", "#!/no/such\n", 0o755), runs: true},

	{name: "ends with 0", runs: true, not: "sidecar, foreground", Conclusion: bed.Conclusion{Code: 125, Line: noDaemon},
		arrange: runs("exit 0", "-ready", "1m"),
		in:      map[string]bed.Conclusion{"daemon": {Code: 125, Line: "sh: ended with code 0 before it was up"}}},
	{name: "ends with 3", runs: true, not: "sidecar", Conclusion: bed.Conclusion{Code: 3},
		arrange: runs("exit 3", "-ready", "1m"),
		in: map[string]bed.Conclusion{
			"daemon":         {Code: 3, Line: "sh: ended with code 3 before it was up"},
			"daemon forking": {Code: 3, Line: "sh: ended with code 3 before it was up"}}},
	{name: "ends by SEGV", runs: true, not: "sidecar", Conclusion: bed.Conclusion{Signal: syscall.SIGSEGV},
		arrange: runs("ulimit -c 0; kill -SEGV $$", "-ready", "1m"),
		in: map[string]bed.Conclusion{
			"daemon":         {Code: 139, Line: "sh: ended by SIGSEGV before it was up"},
			"daemon forking": {Code: 139, Line: "sh: ended by SIGSEGV before it was up"}}},
	{name: "ends with 3, with its descriptor", runs: true, not: "sidecar, forking", Conclusion: bed.Conclusion{Code: 3},
		arrange: runs("exit 3", "-ready", "fd:3"),
		in:      map[string]bed.Conclusion{"daemon": {Code: 3, Line: "sh: ended with code 3 before it was up"}}},
	{name: "becomes a program that ends with 3", runs: true, not: "forking, foreground, daemon", later: "sidecar",
		Conclusion: bed.Conclusion{Code: 3}, arrange: runs("exit 3")},
	{name: "becomes a program that ends by SEGV", runs: true, not: "forking, foreground, daemon", later: "sidecar",
		Conclusion: bed.Conclusion{Signal: syscall.SIGSEGV}, arrange: runs("ulimit -c 0; kill -SEGV $$")},
	{name: "not in time", runs: true, not: "sidecar", Conclusion: bed.Conclusion{Code: 125, Line: "sh: is not up after 200ms"},
		arrange: runs("sleep 600 & wait", "-ready", "fd:3", "-start-timeout", "200ms"),
		in: map[string]bed.Conclusion{
			"forking":        {Code: 125, Line: "sh: has not gone to the background after 200ms; hint: "},
			"daemon forking": {Code: 125, Line: "sh: has not gone to the background after 200ms; hint: "}}},
	{name: "descriptor closed", runs: true, not: "sidecar, forking", Conclusion: bed.Conclusion{Code: 125, Line: "sh: closed descriptor 3 without writing a newline"},
		arrange: runs("exec 3>&-; sleep 600 & wait", "-ready", "fd:3")},
	{name: "daemon closes descriptor", runs: true, not: "sidecar, foreground, daemon", Conclusion: bed.Conclusion{Code: 125, Line: "sh: closed descriptor 3 without writing a newline"},
		arrange: runs("exec 3>&-; sleep 600 &", "-ready", "fd:3")},
	{name: "starter fails", runs: true, not: "sidecar, foreground, daemon", Conclusion: bed.Conclusion{Code: 3},
		arrange: runs("sleep 600 & exit 3"),
		in:      map[string]bed.Conclusion{"daemon forking": {Code: 3, Line: "sh: ended with code 3 before it was up"}}},
	{name: "several daemons", runs: true, not: "sidecar, foreground, daemon", Conclusion: bed.Conclusion{Code: 125, Line: `sh: has left 2 processes behind, PIDs \[\d+ \d+\]: .*; hint: -follow FILE`},
		arrange: runs("sleep 600 & sleep 600 &")},
	{name: "daemon not in time", runs: true, not: "sidecar, foreground, daemon", Conclusion: bed.Conclusion{Code: 125, Line: "sh: is not up after 200ms"},
		arrange: func(_ *testing.T, a *bed.Attempt) {
			a.Options = []string{"-follow", a.Other + "/never.pid", "-start-timeout", "200ms"}
			a.Shell("sleep 600 &")
		}},
}

// Of a start that fails nothing is left: no file, no process. It ends with the
// code of the table and says why in one line.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		for _, f := range failures {
			if f.appliesTo(m) {
				t.Run(m.Name+"/"+f.name, func(t *testing.T) { f.run(t, m, "") })
				t.Run(m.Name+"/"+f.name+"/supervisor", func(t *testing.T) { f.run(t, m, "/s.pid") })
			}
		}
	}
}

// appliesTo takes "daemon" for that mode only, not for "daemon forking".
func (f *failure) appliesTo(m bed.StartMode) bool {
	for name := range strings.SplitSeq(f.not, ", ") {
		// A list without -forking's modes ends in "forking": both of them.
		if name == kind(m) || name == "forking" && m.Name == "daemon forking" {
			return false
		}
	}
	return true
}

func (f *failure) run(t *testing.T, m bed.StartMode, super string) {
	t.Parallel()
	a := bed.NewAttempt(t)
	if super != "" {
		a.Super = a.Dir + super
	}
	f.arrange(t, a)
	want, special := f.in[kind(m)]
	if !special {
		want = f.Conclusion
	}
	r := a.Start(t, m)
	want.Expect(t, r)
	if kind(m) == f.later {
		bed.Await(t, "the watchdog cleans up", func() bool { return bed.IsEmpty(a.Dir) })
	}
	bed.ExpectFiles(t, a.Dir, f.stays...)
	if !f.runs {
		bed.ExpectEmptyDir(t, a.Other)
	}
	a.Mark.ExpectNobody(t)
}
