package commands

import (
	"os"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// misstep is a command line that cannot be meant. In it and in the line DIR stands for the directory of the case,
// which has the PROGRAM ./p and the directory ~~. Words are separated by blanks; + is a blank in a word, and a
// word "" is empty.
type misstep struct {
	words string
	env   []string
	code  int    // of pidleash
	line  string // what the line has
}

const ran = " touch ran"

var missteps = []misstep{
	// A slip in a name.
	{words: "-pidfle DIR/x" + ran, code: 125, line: "no option -pidfle; hint: did you mean -pidfile"},
	{words: "--pidflie=DIR/x" + ran, code: 125, line: "no option -pidflie; hint: did you mean -pidfile"},
	{words: "-daemno" + ran, code: 125, line: "no option -daemno; hint: did you mean -daemon"},
	{words: "-log_level debug" + ran, code: 125, line: "no option -log_level; hint: did you mean -log-level"},
	{words: "-std x" + ran, code: 125, line: "no option -std; hint: did you mean -stderr or -stdout"},
	{words: "-p DIR/x" + ran, code: 125, line: "no option -p; hint: did you mean -pdeathsig or -pidfile"},
	{words: "-V", code: 125, line: "no option -V; hint: did you mean -version"},
	{words: "-z" + ran, code: 125, line: "no option -z; hint: pidleash -h all"},
	{words: "stop -timeuot 1s DIR/x", code: 125, line: "no option -timeuot; hint: did you mean -timeout"},
	{words: "stop -settle 1s DIR/x", code: 125, line: "no option -settle; hint: pidleash stop -h"},
	{words: "stauts DIR/x", code: 127, line: "stauts: not found in PATH; hint: did you mean pidleash status"},
	{words: "-- stauts DIR/x", code: 127, line: "stauts: not found in PATH; hint: give its full path"},
	{words: "help stpo", code: 125, line: `help: "stpo" is no command; hint: pidleash help all`},
	{words: "-- help", code: 127, line: "help: not found in PATH; hint: give its full path"},
	{words: "hlep", code: 127, line: "hlep: not found in PATH; hint: did you mean pidleash help"},
	{words: "version", code: 127, line: "version: not found in PATH; hint: pidleash -version"},
	{words: "-pidfile DIR/x stop", code: 127, line: "stop: not found in PATH; hint: a command comes before every option: pidleash stop"},

	{words: "---pidfile DIR/x" + ran, code: 125, line: "no option ---pidfile; hint: did you mean -pidfile"},
	{words: "-=x" + ran, code: 125, line: "no option -=x; hint: pidleash -h all"},
	{words: "\u2014pidfile DIR/x" + ran, code: 127, line: "\u2014pidfile: not found in PATH; hint: did you mean -pidfile, with a plain hyphen"},
	{words: "-nice 1 \u2013\u2013pidfle=DIR/x" + ran, code: 127, line: "\u2013\u2013pidfle=DIR/x: not found; hint: did you mean -pidfile, with a plain hyphen"},
	{words: "-- \u2013daemon" + ran, code: 127, line: "\u2013daemon: not found in PATH; hint: give its full path"},

	// A value that is missing.
	{words: "-pidfile -settle 5s" + ran, code: 125, line: "option -pidfile needs a value in front of -settle; hint: -pidfile FILE"},
	{words: "-stdout --daemon" + ran, code: 125, line: "option -stdout needs a value in front of --daemon; hint: -stdout FILE"},
	{words: "-pidfile -stop=KILL" + ran, code: 125, line: "option -pidfile needs a value in front of -stop; hint: "},
	{words: "-pidfile --" + ran, code: 125, line: "option -pidfile needs a value in front of --; hint: -pidfile FILE"},
	{words: "-while -h" + ran, code: 125, line: "option -while needs a value in front of -h; hint: -while FILE"},
	{words: "stop -timeout -json DIR/x", code: 125, line: "option -timeout needs a value in front of -json; hint: -timeout DURATION"},
	{words: "-pidfile=" + ran, code: 125, line: `option -pidfile "": no value, and none in a variable; hint: -pidfile FILE, or leave it out`},
	{words: `-pidfile ""` + ran, env: []string{"PIDFILE="}, code: 125, line: `option -pidfile "": no value, .*; hint: -pidfile FILE`},
	{words: `-user ""` + ran, code: 125, line: `option -user "": no value, .*; hint: USER or USER:GROUP`},
	{words: `-stderr ""` + ran, code: 125, line: `option -stderr "": no value, .*; hint: -stderr FILE`},
	{words: "-chdir=" + ran, code: 125, line: `option -chdir "": no value, .*; hint: -chdir `},
	{words: "-stop=" + ran, code: 125, line: `option -stop "": no value, .*; hint: signals and waits`},

	// One that is too many.
	{words: "-same-group true" + ran, code: 125, line: `option -same-group takes its value behind "=", so that true would be the program; hint: -same-group=true, or `},
	{words: "--daemon false" + ran, code: 125, line: `option --daemon takes its value behind "=", .*; hint: --daemon=false, or --daemon -- false if it is`},

	// Nobody has taken the words apart, or expanded them.
	{words: "touch+ran", code: 127, line: "touch ran: not found in PATH; hint: it is one word: leave out the quotes around it, or run it by sh -c"},
	{words: "-pidfile DIR/x /bin/touch+ran", code: 127, line: "/bin/touch ran: not found; hint: it is one word: "},
	{words: "-pidfile ~/x.pid" + ran, code: 125, line: `option -pidfile "~/x.pid": no directory ~; hint: only a shell expands it, .*; give the full path`},
	{words: "-pidfile %t/x.pid" + ran, code: 125, line: `option -pidfile "%t/x.pid": no directory %t; hint: only systemd expands it, .*; give the full path`},
	{words: "-pidfile DIR/%i/x.pid" + ran, code: 125, line: `option -pidfile "DIR/%i/x.pid": no directory %i; hint: only systemd`},
	{words: "-stdout $LOGS/x.log" + ran, code: 125, line: `option -stdout "\$LOGS/x.log": no directory \$LOGS; hint: nobody has expanded it; give the full path`},
	{words: "-while DIR/${X}/x" + ran, code: 125, line: `option -while ".*": no directory \$\{X\}; hint: nobody has expanded it`},
	{words: "touch ran", env: []string{"PIDFILE=%t/x.pid"}, code: 125, line: `variable PIDFILE "%t/x.pid": no directory %t; hint: only systemd`},
	{words: "~/bin/p", code: 127, line: `~/bin/p: not found; hint: only a shell expands it`},
	{words: "stop ~/x.pid", code: 125, line: `stop: "~/x.pid": no directory ~; hint: only a shell expands it`},
	{words: "status -pidfile %t/x.pid", code: 125, line: `option -pidfile "%t/x.pid": no directory %t; hint: `},

	// In the wrong order.
	{words: "signal DIR/x.pid HUP", code: 125, line: `signal: unknown signal "DIR/x.pid"; hint: the signal comes first: pidleash signal HUP FILE`},
	{words: "signal DIR/x.pid DIR/y.pid -9", code: 125, line: `signal: unknown signal .*; hint: the signal comes first: pidleash signal -9 FILE`},
	{words: "signal DIR/x.pid", code: 125, line: `signal: unknown signal "DIR/x.pid"; hint: a name or a number`},
}

// A mistake is one line, which names what is wrong and what to do about it, and nothing happens.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range missteps {
		t.Run(c.words, func(t *testing.T) {
			t.Parallel()
			dir, words := misstepWords(t, c.words)
			unchanged(t, dir, func() {
				r := bed.Start(t, bed.How{Dir: dir, Env: c.env}, words...)
				r.ExpectCode(t, c.code)
				r.ExpectOneLine(t, "^pidleash: "+strings.ReplaceAll(c.line, "DIR", dir))
				if text := r.Rest(t); text != "" {
					t.Errorf("standard output has %q", text)
				}
			})
		})
	}
}

func misstepWords(t *testing.T, text string) (dir string, words []string) {
	t.Helper()
	dir = bed.OpenDir(t)
	bed.WriteFile(t, dir+"/p", "#!/bin/sh\necho \"$@\"\n", 0o755)
	bed.Must(t, os.Mkdir(dir+"/~~", 0o755))
	for word := range strings.FieldsSeq(text) {
		words = append(words, strings.NewReplacer("DIR", dir, "+", " ", `""`, "").Replace(word))
	}
	return dir, words
}

// What looks like a mistake, and is none.
func TestNoMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []misstep{
		{words: "-nice -5 ./p"},
		{words: "-pidfile DIR/x.pid -stop -9/5s ./p"},
		{words: "-pidfile ./-settle ./p"},
		{words: "-pidfile=-x.pid ./p"},
		{words: "-pidfile ~~/x.pid ./p"},
		{words: "-pidfile DIR/%x.pid ./p"},
		{words: "-pidfile $x.pid ./p"},
		{words: "-pidfile= ./p", env: []string{"PIDFILE=DIR/x.pid"}},
		{words: "-pidfile= ./p", env: []string{"PIDLEASH_PIDFILE=DIR/x.pid"}},
		{words: "-user= ./p", env: []string{"PIDLEASH_USER=0:0"}},
		{words: "-same-group true"},
		{words: "-same-group=true ./p"},
		{words: "-same-group -- ./p"},
		{words: "-log-level info true"},
		{words: "-stop-command true -pidfile DIR/x.pid ./p"},
		{words: "./p -no-such-option"},
		{words: "-h=false ./p"},
		{words: "-version=false ./p"},
	} {
		t.Run(c.words, func(t *testing.T) {
			t.Parallel()
			dir, words := misstepWords(t, c.words)
			for i := range c.env {
				c.env[i] = strings.ReplaceAll(c.env[i], "DIR", dir)
			}
			r := bed.Start(t, bed.How{Dir: dir, Env: c.env}, words...)
			r.ExpectCode(t, 0)
			r.ExpectQuiet(t)
			bed.ExpectFiles(t, dir, "p", "~~")
		})
	}
}

// A program called as a command nearly is stays a program.
func TestProgramsWithNamesOfHelp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"version", "stauts"} {
		dir, _ := misstepWords(t, "")
		bed.Must(t, os.Rename(dir+"/p", dir+"/"+name))
		r := bed.Start(t, bed.How{Env: []string{"PATH=" + dir + ":" + os.Getenv("PATH")}}, name, "x")
		r.Expect(t, "x")
		r.ExpectCode(t, 0)
	}
}

// A variable that is nearly an option's gets one warning, and PROGRAM gets it, as it gets others of that beginning.
func TestNearlyVariables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ variable, meant string }{
		{"PIDLEASH_PIDFLIE=x", "PIDLEASH_PIDFILE"},
		{"PIDLEASH_LOGLEVEL=debug", "PIDLEASH_LOG_LEVEL"},
		{"PIDLEASH_TIMEUOT=5s", "PIDLEASH_TIMEOUT"},
		{"PIDLEASH_PORT=tcp://10.0.0.1:80", ""},
		{"PIDLEASH_PORT_80_TCP_ADDR=10.0.0.1", ""},
		{"PIDLEASH_SERVICE_HOST=10.0.0.1", ""},
		{"PIDLEASH_PIDFLIE=", ""},
	} {
		for _, mode := range bed.StartModes {
			t.Run(c.variable+" "+mode.Name, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				a.How.Env = []string{c.variable}
				a.Shell(`env >"$0/env.new"; mv "$0/env.new" "$0/env"; exec sleep 600`)
				if strings.Contains(mode.Name, "forking") {
					a.Program[2] = "{ " + a.Program[2] + "; } &"
				}
				r := a.Start(t, mode)
				bed.Await(t, "PROGRAM runs", func() bool { return !bed.IsGone(a.Other+"/env") && !bed.IsGone(a.PIDFile) })
				if text := bed.ReadFile(t, a.Other+"/env"); !strings.Contains("\n"+text, "\n"+c.variable+"\n") {
					t.Errorf("PROGRAM has no %s:\n%s", c.variable, text)
				}
				bed.RemoveFile(t, a.PIDFile)
				r.Wait(t)
				a.Mark.ExpectNobody(t)
				name, _, _ := strings.Cut(c.variable, "=")
				want := 0
				if c.meant != "" {
					want = 1
				}
				if got := r.Warnings("variable " + name + " sets no option; hint: did you mean " + c.meant + "\n"); got != want {
					t.Errorf("%d warnings, want %d:\n%s", got, want, r.Stderr())
				}
			})
		}
	}
	r := bed.Start(t, bed.How{Env: []string{"PIDLEASH_JSNO=true"}}, "status", bed.OpenDir(t)+"/x")
	r.ExpectCode(t, 3)
	r.ExpectOneLine(t, "variable PIDLEASH_JSNO sets no option; hint: did you mean PIDLEASH_JSON")
}
