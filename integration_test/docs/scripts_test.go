package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
	proc "pidleash/internal/process"
)

// scripts are those of docs/sysv-openrc-cron.md, with an app of ours and a directory for /run.
type scripts struct {
	dir  string
	path string // PATH, with the binary and what stands for OpenRC
}

func newScripts(t *testing.T) *scripts {
	s := &scripts{dir: bed.OpenDir(t)}
	bin := t.TempDir()
	s.path = bin + ":" + filepath.Dir(bed.Pidleash) + ":" + os.Getenv("PATH")
	bed.WriteFile(t, bin+"/app", "#!/bin/sh\ntrap '' HUP\nwhile :; do sleep 600 & wait $!; done\n", 0o755)
	bed.WriteFile(t, bin+"/ebegin", "#!/bin/sh\n", 0o755)
	bed.WriteFile(t, bin+"/eend", "#!/bin/sh\nexit $1\n", 0o755)
	return s
}

// block is the first one of the page that has the words, made for this machine.
func (s *scripts) block(t *testing.T, language, words string) string {
	for _, block := range pageBlocks(t, "docs/sysv-openrc-cron.md", language) {
		if strings.Contains(block, words) {
			return strings.NewReplacer("/usr/sbin/app", "app", "/usr/local/bin/job", "app", "/run", s.dir).Replace(block)
		}
	}
	t.Fatalf("docs/sysv-openrc-cron.md has no %s block with %s", language, words)
	return ""
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

// TestPageSysV has the script start, stop and tell, each also when there is nothing to do.
func TestPageSysV(t *testing.T) {
	s := newScripts(t)
	script := filepath.Join(t.TempDir(), "app.init")
	bed.WriteFile(t, script, s.block(t, "sh", "INIT INFO"), 0o755)
	s.cycle(t, 2, script)
}

// TestPageOpenRC calls the functions of the script. ebegin and eend are ours.
func TestPageOpenRC(t *testing.T) {
	s := newScripts(t)
	script := filepath.Join(t.TempDir(), "app.openrc")
	bed.WriteFile(t, script, s.block(t, "sh", "openrc-run")+"\n\"$@\"\n", 0o755)
	s.cycle(t, 127, script)
}

// cycle starts and stops the program by a script; unknown is the code for a word that the script does not know.
func (s *scripts) cycle(t *testing.T, unknown int, script string) {
	file := s.dir + "/app.pid"
	s.expect(t, 3, script, "status")
	s.expect(t, 0, script, "stop")
	s.expect(t, 0, script, "start")
	pid := bed.PIDIn(t, file)
	bed.KillAtEnd(t, pid)
	s.expect(t, 0, script, "start")
	if now := bed.PIDIn(t, file); now != pid {
		t.Errorf("a second start has replaced PID %d by %d", pid, now)
	}
	s.expect(t, 0, script, "status")
	s.expect(t, 0, script, "stop")
	s.expect(t, 3, script, "status")
	s.expect(t, unknown, script, "nonsense")
}

// TestPageSysVRestart has the restart return with a new program, and the reload harm nobody.
func TestPageSysVRestart(t *testing.T) {
	s := newScripts(t)
	script := filepath.Join(t.TempDir(), "app.init")
	bed.WriteFile(t, script, strings.ReplaceAll(s.block(t, "sh", "INIT INFO"), `exec "$0"`, `exec sh "$0"`), 0o755)
	s.expect(t, 0, script, "restart")
	first := bed.PIDIn(t, s.dir+"/app.pid")
	bed.KillAtEnd(t, first)
	s.expect(t, 0, script, "reload")
	s.expect(t, 0, script, "restart")
	second := bed.PIDIn(t, s.dir+"/app.pid")
	bed.KillAtEnd(t, second)
	if first == second {
		t.Errorf("PID %d has outlived the restart", first)
	}
	bed.Await(t, "the end of the first program", func() bool { p, err := proc.Read(first); return err != nil || p.Dead() })
	s.expect(t, 0, script, "stop")
}

// TestPageCron runs the lines of the crontab as cron does: by sh, again and again.
func TestPageCron(t *testing.T) {
	s := newScripts(t)
	line := func(words string) string { // without its five fields
		return strings.SplitN(strings.TrimSpace(s.block(t, "crontab", words)), " ", 6)[5]
	}
	always := line("-daemon")
	s.expect(t, 0, "-c", always)
	pid := bed.PIDIn(t, s.dir+"/app.pid")
	bed.KillAtEnd(t, pid)
	s.expect(t, 0, "-c", always)
	if now := bed.PIDIn(t, s.dir+"/app.pid"); now != pid {
		t.Errorf("cron has started PID %d beside %d", now, pid)
	}
	s.expect(t, 0, "-c", "pidleash stop "+s.dir+"/app.pid")

	job := bed.Start(t, bed.How{Env: []string{"PATH=" + s.path}}, "-pidfile", s.dir+"/job.pid", "app")
	bed.Await(t, "the job", func() bool { _, err := os.Stat(s.dir + "/job.pid"); return err == nil })
	s.expect(t, 0, "-c", line("job.pid"))
	bed.RemoveFile(t, s.dir+"/job.pid")
	job.Wait(t)
}
