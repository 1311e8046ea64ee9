package commands

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"pidleash/integration_test/bed"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if p.root {
				bed.NeedRoot(t)
			}
			file := bed.OpenDir(t) + "/p.pid"
			p.expect(t, filepath.Dir(file), file, p.make(t, file))
		})
	}
}

func TestStatusOfNoFile(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	bed.WriteFile(t, dir+"/file", "", 0o644)
	for _, file := range []string{dir + "/p.pid", dir + "/no/p.pid", dir + "/file/p.pid"} {
		p := plant{state: "missing", code: 3, line: "not running: no such file"}
		p.expect(t, dir, file, 0)
	}
	p := plant{state: "unreadable", code: 4, line: "unreadable: is a directory"}
	p.expect(t, dir, dir, 0)
}

func TestStatusOfSeveral(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	bed.PlantPID(t, dir+"/up.pid", bed.PlainProgram(t))
	bed.PlantPID(t, dir+"/down.pid", bed.DeadPID)
	bed.Must(t, syscall.Mkfifo(dir+"/fifo.pid", 0o644))
	for words, code := range map[string]int{
		"up.pid":                            0,
		"up.pid up.pid":                     0,
		"up.pid down.pid":                   1,
		"down.pid up.pid":                   1,
		"none.pid down.pid up.pid":          3,
		"up.pid fifo.pid none.pid down.pid": 4,
	} {
		r := bed.Start(t, bed.How{Dir: dir}, append([]string{"status"}, strings.Fields(words)...)...)
		r.ExpectCode(t, code)
		var got []string
		for line := range strings.Lines(r.Rest(t)) {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, dir+"/"), ":")
			got = append(got, name)
		}
		if strings.Join(got, " ") != words {
			t.Errorf("status %s tells of %q", words, got)
		}
	}
}

// A user needs no right for it but to read the file.
func TestStatusForNobody(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	dir := bed.OpenDir(t)
	plantHeld(t, dir+"/held.pid")
	bed.PlantPID(t, dir+"/writable.pid", bed.PlainProgram(t))
	bed.Must(t, os.Chmod(dir+"/writable.pid", 0o666))
	bed.PlantPID(t, dir+"/secret.pid", bed.PlainProgram(t))
	bed.Must(t, os.Chmod(dir+"/secret.pid", 0o600))
	bed.PlantPID(t, dir+"/own.pid", bed.PlainProgram(t))
	bed.Must(t, os.Chown(dir+"/own.pid", bed.Nobody, bed.Nobody))
	for file, want := range map[string]struct {
		code int
		line string
	}{
		"own.pid":      {0, `running, PID \d+ \(first\), .*, held by nobody`},
		"held.pid":     {0, `running, PID \d+ \(first\), .*, held by pidleash PID \d+`},
		"writable.pid": {0, `running, PID \d+ \(first\), .*, held by nobody`}, // who cannot signal it cannot be misled
		"secret.pid":   {4, `unreadable: .*permission denied`},
	} {
		r := bed.Start(t, bed.AsNobody(), "status", dir+"/"+file)
		r.ExpectCode(t, want.code)
		if line := r.Rest(t); !regexp.MustCompile(": " + want.line + "\n$").MatchString(line) {
			t.Errorf("status says %q, want %s", line, want.line)
		}
	}
}

// A pidleash that has not yet waited for its program is still at work.
func TestStatusOfBusyPidleash(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	r := bed.Start(t, bed.How{}, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	program := r.Number(t)
	r.Signal(syscall.SIGSTOP)
	bed.Await(t, "pidleash is stopped", func() bool { return bed.ProcessState(r.PID()) == "T" })
	bed.Must(t, syscall.Kill(program, syscall.SIGKILL))
	bed.Await(t, "the end of PROGRAM", func() bool { return bed.Ended(program) })
	s := bed.Start(t, bed.How{}, "status", file)
	s.ExpectCode(t, 1)
	s.Expect(t, fmt.Sprintf("%s: stale: PID %d (first) has ended; pidleash PID %d is still at work", file, program, r.PID()))
	r.Signal(syscall.SIGCONT)
	r.ExpectSignal(t, syscall.SIGKILL)
}

// A file that names pidleash is pidleash's.
func TestStatusOfPidleashItself(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	r := bed.Start(t, bed.How{}, "-supervisor-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	r.Number(t)
	s := bed.Start(t, bed.How{}, "status", file)
	s.ExpectCode(t, 0)
	line := s.Line(t)
	if !regexp.MustCompile(fmt.Sprintf(`: running, PID %d \(pidleash\), since .*, held by itself: `, r.PID())).MatchString(line) {
		t.Errorf("status says %q", line)
	}
}

// What is called like a control sequence does not become one.
func TestForeignTextIsHarmless(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	evil := dir + "/a\x1b[31m\u202e\u009b\nb\xff.pid"
	program := dir + "/\x1b]0;x\a"
	bed.Must(t, os.Symlink(bed.CompileC(t, "first.c"), program))
	bed.PlantPID(t, evil, bed.Launch(t, exec.Command(program, "hold")).Number(t))
	for _, words := range [][]string{{"status", evil}, {"status", "-json", evil}, {"list", dir}, {"list", "-json", dir},
		{"wait", "-until", "running", "-json", evil}, {"signal", "-json", "0", evil}, {"signal", "CONT", evil + "x"}} {
		r := bed.Start(t, bed.How{}, words...)
		r.Wait(t)
		text := r.Rest(t) + r.Stderr()
		if text == "" || !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\a\x7f\u202e\u009b\r") || strings.Count(text, "\n") > 2 {
			t.Errorf("%q: %q", words, text)
		}
	}
}
