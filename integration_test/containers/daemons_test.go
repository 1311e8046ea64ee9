package containers

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// TestDaemons puts pidleash before daemons that stay in the foreground, as in
// a container or a Type=exec unit.
func TestDaemons(t *testing.T) {
	for _, d := range []bed.ForegroundDaemon{bed.NginxDaemon, redisDaemon, memcachedDaemon} {
		t.Run(d.Name, func(t *testing.T) {
			if _, err := exec.LookPath(d.Path()); err != nil {
				bed.Missing(t, "%v", err)
			}
			t.Run("TERM", func(t *testing.T) { testDaemonTerm(t, d) })
			t.Run("PID file removed", func(t *testing.T) { testDaemonRemoved(t, d) })
			t.Run("SEGV", func(t *testing.T) { testDaemonCrash(t, d) })
			if d.Reloads {
				t.Run("HUP", func(t *testing.T) { testDaemonReload(t, d) })
			}
		})
	}
}

// Redis' own handler of SIGSEGV writes a report and tests the memory; off.
var redisDaemon = bed.ForegroundDaemon{
	Name: "redis-server",
	Argv: func(_ *testing.T, dir string) []string {
		return []string{
			"--port", "0", "--unixsocket", filepath.Join(dir, "sock"), "--dir", dir,
			"--save", "", "--appendonly", "no", "--daemonize", "no",
			"--crash-log-enabled", "no",
		}
	},
	Ask:    "PING\r\n",
	Answer: "+PONG",
}

var memcachedDaemon = bed.ForegroundDaemon{
	Name: "memcached",
	Argv: func(_ *testing.T, dir string) []string {
		return []string{"-s", filepath.Join(dir, "sock"), "-u", currentUser(), "-m", "8"}
	},
	Ask:    "version\r\n",
	Answer: "VERSION ",
}

// currentUser by number would not do: memcached looks the name up.
func currentUser() string {
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		return "root"
	}
	return strings.TrimSpace(string(out))
}

func signal(l *bed.LeashedDaemon, signal syscall.Signal) {
	l.T.Helper()
	if err := l.Cmd.Process.Signal(signal); err != nil {
		l.T.Fatal(err)
	}
}

// messages are pidleash's own lines, which may stand in the middle of one that
// the daemon writes in pieces.
func messages(l *bed.LeashedDaemon) []string {
	return leashMessage.FindAllString(l.Output(), -1)
}

var leashMessage = regexp.MustCompile("pidleash: .*")

func expectExit(l *bed.LeashedDaemon, want int) {
	l.T.Helper()
	if status := l.Wait(); !status.Exited() || status.ExitStatus() != want {
		l.T.Errorf("%s: pidleash ended with %#x, want exit code %d\n%s", l.Daemon.Name, int(status), want, l.Output())
	}
}

func expectNothingLeft(l *bed.LeashedDaemon) {
	l.T.Helper()
	for _, process := range append(l.Workers, l.Program) {
		if err := process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
			l.T.Errorf("%s: process %d is still there", l.Daemon.Name, process.Pid)
		}
	}
	l.ExpectNoPIDFile()
}

func testDaemonTerm(t *testing.T, d bed.ForegroundDaemon) {
	l := bed.StartLeashed(t, d)
	signal(l, syscall.SIGTERM)
	expectExit(l, 0)
	expectNothingLeft(l)
	if lines := messages(l); len(lines) > 0 {
		t.Errorf("all was well, but pidleash wrote %q", lines)
	}
}

func testDaemonRemoved(t *testing.T, d bed.ForegroundDaemon) {
	l := bed.StartLeashed(t, d)
	if err := os.Remove(l.Pidfile); err != nil {
		t.Fatal(err)
	}
	expectExit(l, 0)
	expectNothingLeft(l)
	if lines := messages(l); len(lines) != 1 || !strings.Contains(lines[0], l.Pidfile) {
		t.Errorf("pidleash wrote %q, want one line with %s, in\n%s", lines, l.Pidfile, l.Output())
	}
}

// The daemon's workers may outlive it: pidleash leaves them alone when PROGRAM
// ends by itself.
func testDaemonCrash(t *testing.T, d bed.ForegroundDaemon) {
	l := bed.StartLeashed(t, d)
	if err := l.Program.Signal(syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	if status := l.Wait(); !status.Signaled() || status.Signal() != syscall.SIGSEGV {
		t.Errorf("%s: pidleash ended with %#x, want death by SIGSEGV\n%s", d.Name, int(status), l.Output())
	}
	l.ExpectNoPIDFile()
	if cores, _ := filepath.Glob(filepath.Join(l.Dir, "core*")); len(cores) > 1 {
		t.Errorf("cores: %q, want PROGRAM's at most", cores)
	}
}

func testDaemonReload(t *testing.T, d bed.ForegroundDaemon) {
	l := bed.StartLeashed(t, d)
	old := l.Workers
	signal(l, syscall.SIGHUP)
	l.Await("new workers", func() bool {
		l.Workers = append(l.Children(), old...)
		return len(l.Workers) == d.Workers+len(old) && !alive(old)
	})
	if !l.Answers() {
		t.Errorf("%s: no answer after the reload\n%s", d.Name, l.Output())
	}
	if _, err := os.Lstat(l.Pidfile); errors.Is(err, fs.ErrNotExist) {
		t.Error("the PID file went with the reload")
	}
	signal(l, syscall.SIGTERM)
	expectExit(l, 0)
	expectNothingLeft(l)
}

func alive(processes []*os.Process) bool {
	return slices.ContainsFunc(processes, func(p *os.Process) bool {
		return p.Signal(syscall.Signal(0)) == nil
	})
}
