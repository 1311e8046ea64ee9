package signals

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
	"pidleash/internal/plan"
)

func TestRewrite(t *testing.T) {
	t.Parallel()
	p := bed.StartTeller(t, bed.How{}, bed.ForEver,
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
		p.Signal(pair[0])
		p.Got(t, pair[1])
	}
	for _, dropped := range []syscall.Signal{syscall.SIGQUIT, 64} {
		p.Signal(dropped)
		p.RoundTrips(t)
	}
	p.Finish(t)
	p.ExpectQuiet(t)
}

// Also into what nobody survives.
func TestRewriteToKill(t *testing.T) {
	t.Parallel()
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-rewrite", "TERM:KILL")
	p.Signal(syscall.SIGTERM)
	p.ExpectSignal(t, syscall.SIGKILL)
}

func TestRewriteByEnvironment(t *testing.T) {
	t.Parallel()
	both := []string{"PIDLEASH_REWRITE=TERM:QUIT\nHUP:none\n10:12\n"}
	p := bed.StartTeller(t, bed.How{Env: both}, bed.ForEver)
	p.Signal(syscall.SIGHUP)
	p.Signal(syscall.SIGTERM)
	p.Got(t, syscall.SIGQUIT)
	p.Signal(syscall.SIGUSR1)
	p.Got(t, syscall.SIGUSR2)
	p.Finish(t)

	// The command line replaces all of it.
	p = bed.StartTeller(t, bed.How{Env: both}, bed.ForEver, "-rewrite", "USR2:ALRM")
	for _, pair := range [][2]syscall.Signal{
		{syscall.SIGHUP, syscall.SIGHUP}, {syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGUSR2, syscall.SIGALRM},
	} {
		p.Signal(pair[0])
		p.Got(t, pair[1])
	}
	p.Finish(t)
}

func TestRewriteRefused(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"KILL", "9", "STOP", "CHLD", "17", "PIPE", "32", "33", "34", "RTMIN", "URG", "PROF"} {
		bed.ExpectUsageError(t, nil, []string{"-rewrite", from + ":USR1"}, "is not forwarded")
	}
	for _, test := range []struct{ value, line string }{
		{"TERM", "no FROM:TO"},
		{"", "no FROM:TO"},
		{"TERM:", `unknown signal ""`},
		{":TERM", `unknown signal ""`},
		{"none:TERM", `unknown signal "none"`},
		{"TERM:QUIT:INT", `unknown signal "QUIT:INT"`},
		{"TERM:0", `unknown signal "0"`},
		{"TERM:65", `unknown signal "65"`},
	} {
		bed.ExpectUsageError(t, nil, []string{"-rewrite", test.value}, fmt.Sprintf("option -rewrite %q: %s", test.value, test.line))
	}
	bed.ExpectUsageError(t, nil, []string{"-rewrite", "TERM:QUIT", "-rewrite", "15:INT"}, "SIGTERM is rewritten twice")
	bed.ExpectUsageError(t, []string{"PIDLEASH_REWRITE=TERM:QUIT\nTERM:QUIT"}, nil, "SIGTERM is rewritten twice")
	bed.ExpectUsageError(t, []string{"PIDLEASH_REWRITE=TERM:QUIT\n\nHUP:INT"}, nil, "no FROM:TO")
}

// Whatever PROGRAM takes for TERM, it was told to end: a removal goes on in the schedule from
// where that stands.
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
		p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-settle", "0", "-stop", strings.TrimPrefix(plan.SignalName(test.have), "SIG")+"/forever", "-rewrite", test.rewrite)
		p.Signal(test.sent)
		p.Got(t, test.have)
		bed.RemoveFile(t, file)
		p.AwaitStderr(t, "removed, stopping PID ")
		p.RoundTrips(t) // it has had nothing else
		p.Finish(t)
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
		p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-settle", "0", "-stop", "KILL", "-rewrite", test.rewrite)
		p.Signal(test.sent)
		bed.RemoveFile(t, file)
		p.ExpectSignal(t, syscall.SIGKILL)
	}
}

func TestRewriteSparesSchedule(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-settle", "0", "-stop", "TERM",
		"-rewrite", "TERM:QUIT", "-rewrite", "CONT:none")
	bed.RemoveFile(t, file)
	p.GotWithCont(t, syscall.SIGTERM)
	p.Signal(syscall.SIGTERM) // and forwarded ones are still rewritten
	p.Got(t, syscall.SIGQUIT)
	p.Finish(t)
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
		t.Run(strings.Join(slices.Concat(test.before, test.options, strings.Fields(test.env)), ","), func(t *testing.T) {
			bed.NeedEntry(t)
			h := bed.How{Before: append([]string{bed.CompileC(t, "as.c")}, test.before...), Env: []string{"PIDLEASH_IGNORE=" + test.env}}
			r := bed.Start(t, h, append(test.options, bed.CompileC(t, "signals.c"), "begin")...)
			if line := r.Line(t); !strings.HasPrefix(line, "blocked") {
				t.Errorf("PROGRAM wrote %q", line)
			}
			r.Expect(t, test.want)
			r.ExpectCode(t, 0)
			r.ExpectQuiet(t)
		})
	}
	for _, test := range []struct{ value, line string }{
		{"KILL", "SIGKILL cannot be ignored"},
		{"PIPE,STOP", "SIGSTOP cannot be ignored"},
		{"9", "SIGKILL cannot be ignored"},
		{"PIPE,", `unknown signal ""`},
		{"PIPE,none", `unknown signal "none"`},
	} {
		bed.ExpectUsageError(t, nil, []string{"-ignore", test.value}, test.line)
	}
}
