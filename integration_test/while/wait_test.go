package while

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

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
			dir := bed.OpenDir(t)
			sh(t, c.before, dir)
			r := startWaiting(t, bed.How{}, "-while", dir+"/a/b/file")
			begin := time.Now()
			sh(t, c.appear, dir)
			expectStarted(r, t, begin)
			leave(r, t)
			r.ExpectOneLine(t, `^pidleash: waiting for `+dir+`/a/b/file\n$`)
		})
	}
}

// No event tells of a target that is elsewhere: the second look does.
func TestWhileWaitsForTheTarget(t *testing.T) {
	t.Parallel()
	dir, other := bed.OpenDir(t), bed.OpenDir(t)
	bed.Must(t, os.Symlink(other+"/target", dir+"/file"))
	r := startWaiting(t, bed.How{}, "-while", dir+"/file")
	bed.WriteFile(t, other+"/target", "", 0o644)
	r.Number(t)
	// Of its end an event tells.
	bed.AwaitWatched(t, r, other+"/target")
	begin := time.Now()
	bed.Must(t, os.Remove(other+"/target"))
	r.ExpectSignal(t, syscall.SIGTERM)
	if took := bed.Since(begin); took > bed.ByEvent {
		t.Errorf("it took %v: no event", took)
	}
}

// The wait begins with the claim: what cannot be had is told before it.
func TestWhileMistakesComeFirst(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	condition := dir + "/no/file"
	holder, _ := bed.Leashed(t, bed.How{}, "-pidfile", dir+"/held.pid")
	for _, c := range []struct {
		file, program string
		code          int
	}{
		{dir + "/held.pid", "true", 120},
		{dir + "/no/p.pid", "true", 125},
		{dir + "/p.pid", dir + "/program", 127},
		{dir + "/p.pid", dir, 126},
	} {
		r := bed.Start(t, bed.How{}, "-pidfile", c.file, "-while", condition, c.program)
		r.ExpectCode(t, c.code)
		r.ExpectOneLine(t, "^pidleash: ")
	}
	leave(holder, t)
	bed.ExpectEmptyDir(t, dir)
}

func TestWhileTimeout(t *testing.T) {
	for name, c := range map[string]struct{ options, env []string }{
		"option":   {options: []string{"-start-timeout", "300ms"}},
		"variable": {env: []string{"PIDLEASH_START_TIMEOUT=300ms"}},
		"ready":    {options: []string{"-start-timeout", "300ms", "-ready", "fd:3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			bed.WriteFile(t, dir+"/there", "", 0o644)
			options := slices.Concat(c.options, []string{"-pidfile", dir + "/p.pid", "-while", dir + "/there", "-while", dir + "/one",
				"-while-running", dir + "/two"})
			r := bed.Start(t, bed.How{Env: c.env}, append(options, "--", bed.CompileC(t, "first.c"), "hold")...)
			r.ExpectCode(t, 125)
			r.ExpectOneLine(t, `^pidleash: [^ ]*first: was not started: after 300ms still waiting for `+dir+`/one, `+dir+`/two\n$`)
			expectNeverStarted(r, t)
			bed.ExpectFiles(t, dir, "there")
		})
	}
	t.Run("in time", func(t *testing.T) {
		t.Parallel()
		file := bed.OpenDir(t) + "/file"
		r := startWaiting(t, bed.How{}, "-start-timeout", "2s", "-while", file)
		bed.WriteFile(t, file, "", 0o644)
		r.Number(t)
		time.Sleep(2*time.Second + 500*time.Millisecond) // the limit, which must not end anything any more
		leave(r, t)
	})
	t.Run("for ever", func(t *testing.T) {
		t.Parallel()
		file := bed.OpenDir(t) + "/file"
		r := startWaiting(t, bed.How{}, "-start-timeout", "0", "-while", file)
		bed.WriteFile(t, file, "", 0o644)
		r.Number(t)
		leave(r, t)
	})
}

func TestWhileByEnvironment(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	env := []string{"PIDLEASH_WHILE=one\n" + dir + "/t w o", "PIDLEASH_WHILE_RUNNING=three"}
	r := startWaiting(t, bed.How{Env: env, Dir: dir}, "-chdir", "/")
	r.AwaitStderr(t, fmt.Sprintf(`waiting for %[1]s/one, %[1]s/t w o, %[1]s/three\n`, dir))
	for _, name := range []string{"one", "t w o", "three"} {
		bed.WriteFile(t, dir+"/"+name, fmt.Sprintln(os.Getpid()), 0o644)
	}
	r.Number(t)
	leave(r, t)
	// PROGRAM does not have them.
	r = bed.Start(t, bed.How{Env: []string{"PIDLEASH_WHILE=/", "PIDLEASH_WHILE_RUNNING=" + dir + "/one"}},
		"sh", "-c", `echo "[$PIDLEASH_WHILE$PIDLEASH_WHILE_RUNNING]"`)
	r.Expect(t, "[]")
	r.ExpectCode(t, 0)
}

func TestWhileMistakes(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
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
			bed.ExpectUsageError(t, c.env, c.options, c.line)
		}
	}
	bed.ExpectEmptyDir(t, dir)
}
