package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
	proc "pidleash/internal/process"
)

// scripts are examples that a shell runs, with an app of ours and a directory for /run.
type scripts struct {
	dir  string
	app  string
	path string // PATH, with the binary and what stands for OpenRC
}

func newScripts(t *testing.T) *scripts {
	s := &scripts{dir: bed.OpenDir(t)}
	bin := t.TempDir()
	s.path = bin + ":" + filepath.Dir(bed.Pidleash) + ":" + os.Getenv("PATH")
	s.app = bin + "/app"
	bed.WriteFile(t, s.app, "#!/bin/sh\ntrap 'echo >"+s.dir+"/hup' HUP\necho >"+s.dir+"/up\nwhile :; do sleep 600 & wait $!; done\n", 0o755)
	bed.WriteFile(t, bin+"/ebegin", "#!/bin/sh\n", 0o755)
	bed.WriteFile(t, bin+"/eend", "#!/bin/sh\nexit $1\n", 0o755)
	return s
}

// text is that of an example, made for this machine.
func (s *scripts) text(t *testing.T, example ...string) string {
	t.Helper()
	text := bed.ReadFile(t, bed.ModuleFile(append([]string{"examples"}, example...)...))
	return strings.NewReplacer("/usr/local/sbin/app", s.app, "/usr/local/bin/job", s.app, "/run", s.dir).Replace(text)
}

// install makes a script of a text.
func (s *scripts) install(t *testing.T, text string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "app.init")
	bed.WriteFile(t, script, text, 0o755)
	return script
}

// expect runs a script to its end, which must be with this code.
func (s *scripts) expect(t *testing.T, code int, words ...string) {
	t.Helper()
	sh := exec.Command("sh", words...)
	sh.Env = append(os.Environ(), "PATH="+s.path)
	out, _ := sh.CombinedOutput()
	if got := sh.ProcessState.ExitCode(); got != code {
		t.Errorf("%q ended with %d, want %d; it said\n%s", words, got, code, out)
	}
}

// pid is the program's.
func (s *scripts) pid(t *testing.T) int {
	t.Helper()
	pid := bed.PIDIn(t, s.dir+"/app.pid")
	bed.KillAtEnd(t, pid)
	return pid
}

// await returns when the program has made this file.
func (s *scripts) await(t *testing.T, name string) {
	t.Helper()
	bed.Await(t, name, func() bool { _, err := os.Stat(filepath.Join(s.dir, name)); return err == nil })
}

// TestSysV has the script start, stop and tell, each also when there is nothing to do.
func TestSysV(t *testing.T) {
	s := newScripts(t)
	script := s.install(t, s.text(t, "sysv", "app"))
	s.expect(t, 7, script, "reload")
	s.expect(t, 0, script, "try-restart")
	s.cycle(t, 2, script)

	s.expect(t, 0, script, "restart")
	for _, word := range []string{"restart", "force-reload", "try-restart"} {
		before := s.pid(t)
		s.expect(t, 0, script, word)
		if s.pid(t) == before {
			t.Errorf("PID %d has outlived a %s", before, word)
		}
		bed.Await(t, "the end of the program", func() bool { p, err := proc.Read(before); return err != nil || p.Dead() })
	}
	s.expect(t, 0, script, "stop")

	bed.Must(t, os.Remove(s.app))
	s.expect(t, 5, script, "start")
}

// TestOpenRC calls the functions of the script. ebegin and eend are ours.
func TestOpenRC(t *testing.T) {
	s := newScripts(t)
	script := s.install(t, s.text(t, "openrc", "app")+"\n\"$@\"\n")
	s.expect(t, 3, script, "reload")
	s.cycle(t, 127, script)
}

// cycle starts and stops the program by a script; unknown is the code for a word that the script does not know.
func (s *scripts) cycle(t *testing.T, unknown int, script string) {
	t.Helper()
	s.expect(t, 3, script, "status")
	s.expect(t, 0, script, "stop")
	s.expect(t, 0, script, "start")
	pid := s.pid(t)
	s.expect(t, 0, script, "start")
	if now := s.pid(t); now != pid {
		t.Errorf("a second start has replaced PID %d by %d", pid, now)
	}
	s.expect(t, 0, script, "status")
	s.await(t, "up") // before that, a HUP ends it
	s.expect(t, 0, script, "reload")
	s.await(t, "hup")
	s.expect(t, 0, script, "stop")
	s.expect(t, 3, script, "status")
	s.expect(t, unknown, script, "nonsense")
}

// TestCron runs the lines of the crontab as cron does: by sh, again and again.
func TestCron(t *testing.T) {
	s := newScripts(t)
	line := func(words string) string { // without its five fields
		for line := range strings.Lines(s.text(t, "cron", "app.crontab")) {
			if line[0] != '#' && strings.Contains(line, words) {
				return strings.SplitN(strings.TrimSpace(line), " ", 6)[5]
			}
		}
		t.Fatalf("the crontab has no line with %s", words)
		return ""
	}
	always := line("-daemon")
	s.expect(t, 0, "-c", always)
	pid := s.pid(t)
	s.expect(t, 0, "-c", always)
	if now := s.pid(t); now != pid {
		t.Errorf("cron has started PID %d beside %d", now, pid)
	}
	s.expect(t, 0, "-c", "pidleash stop "+s.dir+"/app.pid")

	job := bed.Start(t, bed.How{Env: []string{"PATH=" + s.path}}, "-pidfile", s.dir+"/job.pid", s.app)
	s.await(t, "job.pid")
	s.expect(t, 0, "-c", line("job.pid"))
	bed.RemoveFile(t, s.dir+"/job.pid")
	job.Wait(t)
}
