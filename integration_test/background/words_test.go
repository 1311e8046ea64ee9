package background

import (
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// backgroundModes are those in which PROGRAM does not have the caller's standard error.
func backgroundModes() (modes []bed.StartMode) {
	for _, m := range bed.StartModes {
		if strings.HasPrefix(m.Name, "daemon") {
			modes = append(modes, m)
		}
	}
	return modes
}

// A start that has failed says what PROGRAM has said, where it can know that, and otherwise how it could.
func TestFailedStartSaysWhy(t *testing.T) {
	t.Parallel()
	const hint = "; hint: with -stderr FILE its last words would be here\n$"
	for _, c := range []struct {
		name    string
		options []string
		script  string
		line    string // what it has behind the reason
	}{
		{"nowhere", nil, "echo broken >&2", hint},
		{"standard error", []string{"-stderr", "OTHER/err"}, "echo broken >&2", `; OTHER/err: "broken"` + "\n$"},
		{"standard output", []string{"-stdout", "OTHER/out"}, "echo broken", `; OTHER/out: "broken"` + "\n$"},
		{"both", []string{"-stdout", "OTHER/out", "-stderr", "OTHER/err"}, "echo broken; echo because >&2", `; OTHER/err: "because"; OTHER/out: "broken"` + "\n$"},
		{"one file", []string{"-stdout", "OTHER/log", "-stderr", "OTHER/log"}, "echo broken; echo because >&2", `; OTHER/log: "broken" "because"` + "\n$"},
		{"only to the other", []string{"-stdout", "OTHER/out"}, "echo broken >&2", hint},
		{"nothing said", []string{"-stderr", "OTHER/err"}, ":", "before it was up\n$"},
		{"no file", []string{"-stderr", "/dev/null"}, "echo broken >&2", "before it was up\n$"},
		{"its own log", []string{"-ready-file", "OTHER/own"}, `echo broken >"$0/own"`, `; OTHER/own: "broken"` + "\n$"},
	} {
		for _, mode := range backgroundModes() {
			t.Run(c.name+" "+mode.Name, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				a.Options = []string{"-ready", "30s"}
				for _, option := range c.options {
					a.Options = append(a.Options, strings.ReplaceAll(option, "OTHER", a.Other))
				}
				a.Shell(c.script + "; exit 3")
				line := "^pidleash: sh: ended with code 3 before it was up" + strings.ReplaceAll(strings.TrimPrefix(c.line, "before it was up"), "OTHER", a.Other)
				bed.Conclusion{Code: 3, Line: line}.Expect(t, a.Start(t, mode))
				bed.ExpectEmptyDir(t, a.Dir)
			})
		}
	}
}

// The same for one that is not up in time, and one that goes on in the foreground.
func TestLateStartSaysWhy(t *testing.T) {
	t.Parallel()
	for _, mode := range backgroundModes() {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			inTime(t, func(limit string) bool { return lateStart(t, mode, limit) })
		})
	}
}

func lateStart(t *testing.T, mode bed.StartMode, limit string) bool {
	t.Helper()
	a := bed.NewAttempt(t)
	a.Options = []string{"-ready", "notify", "-start-timeout", limit, "-stop", "KILL"}
	a.Shell("echo waiting >&2; exec sleep 600")
	want := "^pidleash: sh: is not up after " + limit + "; hint: with -stderr FILE its last words would be here\n$"
	if strings.Contains(mode.Name, "forking") {
		want = "^pidleash: sh: has not gone to the background after " + limit + "; hint: without -forking it may stay in the foreground\n$"
	}
	bed.Conclusion{Code: 125, Line: want}.Expect(t, a.Start(t, mode))
	a.Options = append(a.Options, "-stderr", a.Other+"/err")
	want = strings.Replace(want, limit, limit+`; `+a.Other+`/err: "waiting"`, 1)
	want = strings.Replace(want, "; hint: with -stderr FILE its last words would be here", "", 1)
	a.How.Env = nil
	r := a.Start(t, mode)
	r.ExpectCode(t, 125)
	bed.ExpectEmptyDir(t, a.Dir)
	a.Mark.ExpectNobody(t)
	if bed.ReadFile(t, a.Other+"/err") == "" {
		return false
	}
	r.ExpectOneLine(t, want)
	return true
}
