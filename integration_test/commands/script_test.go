package commands

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// TestScript runs testdata/script: the command line and the messages. Beside
// testscript's own commands there are:
//
//	exits CODE|SIGNAL program [args...]
//		It ends with this code or by this signal; stdout, stderr and cmp
//		then look at what it wrote.
//	mistake pattern program [args...]
//		It ends with 125 and writes nothing but one line with a hint to
//		standard error, which matches the pattern.
//	jsonlines
//		What the last program wrote to standard error are JSON objects, one
//		in each line, with a level and a message.
//
// $SIGNALS is testdata/signals.c, compiled. An empty directory bin is first in
// PATH. Names in it are links: a file that was written a moment ago may still be
// open in a process that another test forks, and cannot be executed.
func TestScript(t *testing.T) {
	t.Parallel()
	signals := bed.CompileC(t, "signals.c")
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		// Otherwise a run of some of the scripts leaves a directory behind.
		WorkdirRoot: t.TempDir(),
		Setup: func(env *testscript.Env) error {
			env.Setenv("SIGNALS", signals)
			env.Setenv("PATH", strings.Join([]string{env.WorkDir + "/bin", filepath.Dir(bed.Pidleash), env.Getenv("PATH")}, ":"))
			return os.Mkdir(filepath.Join(env.WorkDir, "bin"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     scriptExits,
			"mistake":   scriptMistake,
			"jsonlines": scriptJSONLines,
		},
	})
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE|SIGNAL program [args...]")
	}
	have := scriptEnding(ts, args[1:])
	if have != args[0] {
		ts.Fatalf("it ended with %s, want %s", have, args[0])
	}
}

// scriptEnding runs a command and returns its exit code, or the signal's name.
func scriptEnding(ts *testscript.TestScript, args []string) string {
	var exit *exec.ExitError
	err := ts.Exec(args[0], args[1:]...)
	switch {
	case err == nil:
		return "0"
	case !errors.As(err, &exit):
		ts.Fatalf("%q: %v", args, err)
	}
	status := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
	}
	return strconv.Itoa(status.ExitStatus())
}

func scriptMistake(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mistake pattern program [args...]")
	}
	if have := scriptEnding(ts, args[1:]); have != "125" {
		ts.Fatalf("it ended with %s, want 125", have)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output has %q, want nothing", out)
	}
	line := ts.ReadFile("stderr")
	if !regexp.MustCompile(`^pidleash: [^\n]*; hint: [^\n]+[^.\n]\n$`).MatchString(line) {
		ts.Fatalf("standard error has %q, want one line with a hint", line)
	}
	if !regexp.MustCompile(args[0]).MatchString(line) {
		ts.Fatalf("standard error has %q, want a match of %q", line, args[0])
	}
}

func scriptJSONLines(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stderr")
	if neg || len(args) > 0 || text == "" {
		ts.Fatalf("usage: jsonlines, after a program that writes some")
	}
	for line := range strings.Lines(text) {
		var message struct {
			Level   string `json:"@level"`
			Message string `json:"@message"`
		}
		if err := json.Unmarshal([]byte(line), &message); err != nil || message.Level == "" || message.Message == "" {
			ts.Fatalf("line %q: %+v, %v", line, message, err)
		}
	}
}
