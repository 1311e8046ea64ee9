package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRewrite(t *testing.T) {
	t.Parallel()
	p := startTeller(t, how{}, forEver,
		"-rewrite", "USR2:HUP", "-rewrite", "sighup:10", "-rewrite", "3:none", "-rewrite", "RTMIN+3:SIGRTMAX",
		"-rewrite", "64:None", "-rewrite", "ALRM:WINCH", "-rewrite", "CONT:34")
	for _, pair := range [][2]syscall.Signal{
		{syscall.SIGUSR2, syscall.SIGHUP}, // once: HUP is not rewritten on top of that
		{syscall.SIGHUP, syscall.SIGUSR1},
		{37, 64},
		{syscall.SIGALRM, syscall.SIGWINCH},
		{syscall.SIGCONT, 34}, // what pidleash cannot catch it can send
		{syscall.SIGTERM, syscall.SIGTERM},
	} {
		p.signal(pair[0])
		p.got(t, pair[1])
	}
	for _, dropped := range []syscall.Signal{syscall.SIGQUIT, 64} {
		p.signal(dropped)
		p.roundTrips(t)
	}
	p.finish(t)
	p.expectQuiet(t)
}

// Also into what nobody survives.
func TestRewriteToKill(t *testing.T) {
	t.Parallel()
	p := startTeller(t, how{}, forEver, "-rewrite", "TERM:KILL")
	p.signal(syscall.SIGTERM)
	p.expectSignal(t, syscall.SIGKILL)
}

func TestRewriteByEnvironment(t *testing.T) {
	t.Parallel()
	both := []string{"PIDLEASH_REWRITE=TERM:QUIT\nHUP:none\n10:12\n"}
	p := startTeller(t, how{env: both}, forEver)
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGTERM)
	p.got(t, syscall.SIGQUIT)
	p.signal(syscall.SIGUSR1)
	p.got(t, syscall.SIGUSR2)
	p.finish(t)

	// The command line replaces all of it.
	p = startTeller(t, how{env: both}, forEver, "-rewrite", "USR2:ALRM")
	for _, pair := range [][2]syscall.Signal{
		{syscall.SIGHUP, syscall.SIGHUP}, {syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGUSR2, syscall.SIGALRM},
	} {
		p.signal(pair[0])
		p.got(t, pair[1])
	}
	p.finish(t)
}

func TestRewriteRefused(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"KILL", "9", "STOP", "CHLD", "17", "PIPE", "32", "33", "34", "RTMIN", "URG", "PROF"} {
		expectUsageError(t, nil, []string{"-rewrite", from + ":USR1"}, "is not forwarded")
	}
	for _, test := range []struct{ value, line string }{
		{"TERM", "no FROM:TO"},
		{"", "no FROM:TO"},
		{"TERM:", `"" is no signal`},
		{":TERM", `"" is no signal`},
		{"none:TERM", `"none" is no signal`},
		{"TERM:QUIT:INT", `"QUIT:INT" is no signal`},
		{"TERM:0", `"0" is no signal`},
		{"TERM:65", `"65" is no signal`},
	} {
		expectUsageError(t, nil, []string{"-rewrite", test.value}, fmt.Sprintf("option -rewrite %q: %s", test.value, test.line))
	}
	expectUsageError(t, nil, []string{"-rewrite", "TERM:QUIT", "-rewrite", "15:INT"}, "SIGTERM is rewritten twice")
	expectUsageError(t, []string{"PIDLEASH_REWRITE=TERM:QUIT\nTERM:QUIT"}, nil, "SIGTERM is rewritten twice")
	expectUsageError(t, []string{"PIDLEASH_REWRITE=TERM:QUIT\n\nHUP:INT"}, nil, "no FROM:TO")
}

// Whatever PROGRAM takes for TERM, it was told to end.
func TestRewrittenTermTellsToEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rewrite    string
		sent, have syscall.Signal
	}{
		{"TERM:QUIT", syscall.SIGTERM, syscall.SIGQUIT},
		{"USR2:TERM", syscall.SIGUSR2, syscall.SIGTERM},
	} {
		file := filepath.Join(t.TempDir(), "p.pid")
		p := startTeller(t, how{}, forEver, "-pidfile", file, "-settle", "0", "-stop", "KILL", "-rewrite", test.rewrite)
		p.signal(test.sent)
		p.got(t, test.have)
		removeFile(t, file)
		p.roundTrips(t)
		p.finish(t)
		p.expectQuiet(t)
	}
	// Else the removal is what stops it.
	for _, test := range []struct {
		rewrite string
		sent    syscall.Signal
	}{
		{"USR2:QUIT", syscall.SIGUSR2},
		{"TERM:none", syscall.SIGTERM}, // PROGRAM knows nothing of it
	} {
		file := filepath.Join(t.TempDir(), "p.pid")
		p := startTeller(t, how{}, forEver, "-pidfile", file, "-settle", "0", "-stop", "KILL", "-rewrite", test.rewrite)
		p.signal(test.sent)
		removeFile(t, file)
		p.expectSignal(t, syscall.SIGKILL)
	}
}

func TestRewriteSparesSchedule(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := startTeller(t, how{}, forEver, "-pidfile", file, "-settle", "0", "-stop", "TERM",
		"-rewrite", "TERM:QUIT", "-rewrite", "CONT:none")
	removeFile(t, file)
	p.gotWithCont(t, syscall.SIGTERM)
	p.signal(syscall.SIGTERM) // and forwarded ones are still rewritten
	p.got(t, syscall.SIGQUIT)
	p.finish(t)
}

func TestIgnore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		before  []string // what pidleash is started with
		options []string
		env     string
		want    string
	}{
		{[]string{"ignore=13", "ignore=1"}, nil, "", "ignored 1 13"},
		{[]string{"ignore=13", "ignore=1"}, []string{"-ignore", "none"}, "", "ignored"},
		{[]string{"ignore=13"}, []string{"-ignore", "USR1,sigusr2,64,RTMIN"}, "", "ignored 10 12 34 64"},
		{nil, []string{"-ignore", "PIPE"}, "", "ignored 13"},
		{nil, nil, "PIPE,HUP", "ignored 1 13"},
		{[]string{"ignore=13"}, nil, "none", "ignored"},
		{nil, []string{"-ignore", "USR1"}, "PIPE", "ignored 10"},
	} {
		h := how{before: append([]string{compileC(t, "as.c")}, test.before...), env: []string{"PIDLEASH_IGNORE=" + test.env}}
		r := start(t, h, append(test.options, compileC(t, "signals.c"), "begin")...)
		if line := r.line(t); !strings.HasPrefix(line, "blocked") {
			t.Errorf("PROGRAM wrote %q", line)
		}
		r.expect(t, test.want)
		r.expectCode(t, 0)
		r.expectQuiet(t)
	}
	for _, test := range []struct{ value, line string }{
		{"KILL", "SIGKILL cannot be ignored"},
		{"PIPE,STOP", "SIGSTOP cannot be ignored"},
		{"9", "SIGKILL cannot be ignored"},
		{"PIPE,", `"" is no signal`},
		{"PIPE,none", `"none" is no signal`},
	} {
		expectUsageError(t, nil, []string{"-ignore", test.value}, test.line)
	}
}

// The codes of an environment that a whole unit shares.
func TestSuccessByEnvironment(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env     string
		options []string
		script  string
		want    int
	}{
		{"3,140-150", nil, "exit 3", 0},
		{"3,140-150", nil, "exit 145", 0},
		{"3,140-150", nil, "exit 4", 4},
		{"3,140-150", nil, "kill -TERM $$", 0},
		{"3", []string{"-success", "4"}, "exit 3", 3},
		{"3", []string{"-success", "4"}, "exit 4", 0},
	} {
		h := how{env: []string{"PIDLEASH_SUCCESS=" + test.env}}
		r := start(t, h, append(test.options, "sh", "-c", test.script)...)
		r.expectCode(t, test.want)
		r.expectQuiet(t)
	}
	expectUsageError(t, []string{"PIDLEASH_SUCCESS=5-3"}, nil, `"5-3" is no code and no range`)
}

// It has no meaning for a PROGRAM without a PID file, but may be set for many.
func TestRemovedExitByEnvironment(t *testing.T) {
	t.Parallel()
	h := how{env: []string{"PIDLEASH_REMOVED_EXIT=5"}}
	r := start(t, h, "sh", "-c", "exit 9")
	r.expectCode(t, 9)
	r.expectQuiet(t)

	f := startFamily(t, h, []string{"-stop", "TERM"}, "program:take")
	removeFile(t, f.file)
	f.expectCode(t, 5)

	f = startFamily(t, h, []string{"-stop", "TERM", "-removed-exit", "0"}, "program:take")
	removeFile(t, f.file)
	f.expectCode(t, 0)

	// Whatever it takes to stop the descendants.
	f = startFamily(t, h, inMode("mixed"), "program:take", "session")
	removeFile(t, f.file)
	f.expectCode(t, 5)

	// The end of a PROGRAM that was told to end is its own.
	f = startFamily(t, h, []string{"-stop", "KILL"}, "program:take")
	f.signal(syscall.SIGTERM)
	f.expectCode(t, 7)
}

// rotate gives every signal another one.
func rotate(all []syscall.Signal) (to map[syscall.Signal]syscall.Signal, options []string) {
	to = map[syscall.Signal]syscall.Signal{}
	for i, from := range all {
		to[from] = all[(i+7)%len(all)]
		options = append(options, "-rewrite", fmt.Sprintf("%d:%d", int(from), int(to[from])))
	}
	return to, options
}

// Every signal in every mode, rewritten or not: who gets which.
func TestSignalMatrix(t *testing.T) {
	t.Parallel()
	all := forwardedSignals()
	rotated, rewrites := rotate(all)
	for mode, who := range map[string][]string{
		"process": {"program"},
		"mixed":   {"program"},
		"group":   {"program", "same"},
		"tree":    {"program", "same", "session"},
	} {
		for name, options := range map[string][]string{"as sent": nil, "rewritten": rewrites} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				f := startFamily(t, how{}, inMode(mode, options...), "program", "same", "session")
				send := func(sig syscall.Signal) {
					f.signal(sig)
					if options != nil {
						sig = rotated[sig]
					}
					var want []string
					for _, one := range who {
						want = append(want, fmt.Sprintf("%s %d", one, int(sig)))
					}
					f.told(t, want...)
				}
				for _, sig := range all {
					send(sig)
				}
				// By now whatever too many had was sent.
				send(syscall.SIGUSR1)
				f.untouched(t, "program", "same", "session")
				f.tell(t, "exit 0")
				f.wait(t)
				f.expectQuiet(t)
			})
		}
	}
}
