package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDaemons puts pidleash before daemons that stay in the foreground, as in
// a container or a Type=exec unit.
func TestDaemons(t *testing.T) {
	for _, d := range []foregroundDaemon{nginxDaemon, redisDaemon, memcachedDaemon} {
		t.Run(d.name, func(t *testing.T) {
			if _, err := exec.LookPath(d.path()); err != nil {
				missing(t, "%v", err)
			}
			t.Run("TERM", func(t *testing.T) { testDaemonTerm(t, d) })
			t.Run("PID file removed", func(t *testing.T) { testDaemonRemoved(t, d) })
			t.Run("SEGV", func(t *testing.T) { testDaemonCrash(t, d) })
			if d.reloads {
				t.Run("HUP", func(t *testing.T) { testDaemonReload(t, d) })
			}
		})
	}
}

// A foregroundDaemon is how a daemon is started without leaving anything
// outside of dir, and how it is asked whether it is up. It listens on dir/sock.
type foregroundDaemon struct {
	name    string
	argv    func(t *testing.T, dir string) []string
	ask     string // what is sent to the socket
	answer  string // how its answer begins
	workers int    // its child processes
	reloads bool   // HUP replaces the workers
}

// In the foreground nginx still writes a PID file: it has another path here,
// because two writers of one file are a fault. Its workers keep root, for a
// temporary directory that nobody else may enter.
const nginxConfig = `pid own.pid;
user root;
worker_processes 2;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server { listen unix:%s/sock; return 200 up; }
}
`

// path looks in /usr/sbin, too, which the PATH of ordinary users lacks.
func (d foregroundDaemon) path() string {
	if path, err := exec.LookPath(d.name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", d.name)
}

var nginxDaemon = foregroundDaemon{
	name: "nginx",
	argv: func(t *testing.T, dir string) []string {
		writeDaemonFile(t, dir, "nginx.conf", fmt.Sprintf(nginxConfig, dir))
		return []string{"-p", dir, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"}
	},
	ask:     "GET / HTTP/1.0\r\n\r\n",
	answer:  "HTTP/1.1 200",
	workers: 2,
	reloads: true,
}

// Redis' own handler of SIGSEGV writes a report and tests the memory; off.
var redisDaemon = foregroundDaemon{
	name: "redis-server",
	argv: func(_ *testing.T, dir string) []string {
		return []string{
			"--port", "0", "--unixsocket", filepath.Join(dir, "sock"), "--dir", dir,
			"--save", "", "--appendonly", "no", "--daemonize", "no",
			"--crash-log-enabled", "no",
		}
	},
	ask:    "PING\r\n",
	answer: "+PONG",
}

var memcachedDaemon = foregroundDaemon{
	name: "memcached",
	argv: func(_ *testing.T, dir string) []string {
		return []string{"-s", filepath.Join(dir, "sock"), "-u", currentUser(), "-m", "8"}
	},
	ask:    "version\r\n",
	answer: "VERSION ",
}

// currentUser by number would not do: memcached looks the name up.
func currentUser() string {
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		return "root"
	}
	return strings.TrimSpace(string(out))
}

func writeDaemonFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A leashedDaemon is a daemon that runs behind pidleash and answers.
type leashedDaemon struct {
	t       *testing.T
	daemon  foregroundDaemon
	dir     string
	pidfile string
	cmd     *exec.Cmd
	program *os.Process
	workers []*os.Process
	log     string // standard error of both
}

func startLeashed(t *testing.T, d foregroundDaemon) *leashedDaemon {
	t.Helper()
	// Short: the path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "leash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &leashedDaemon{t: t, daemon: d, dir: dir, pidfile: filepath.Join(dir, "leash.pid"), log: filepath.Join(dir, "log")}
	l.start()
	l.await("an answer", l.answers)
	l.program = l.readPIDFile()
	l.await("its workers", func() bool {
		l.workers = l.children()
		return len(l.workers) == d.workers
	})
	return l
}

func (l *leashedDaemon) start() {
	l.t.Helper()
	log, err := os.Create(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	argv := append([]string{"-pidfile", l.pidfile, l.daemon.path()}, l.daemon.argv(l.t, l.dir)...)
	l.cmd = exec.Command(pidleash, argv...)
	l.cmd.Dir = l.dir // for a core, should one be written
	l.cmd.Stdout, l.cmd.Stderr = log, log
	// When the test is killed pidleash goes with it, and PROGRAM with pidleash.
	// The signal belongs to the thread that forks.
	runtime.LockOSThread()
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(l.end)
}

// end leaves nothing behind of a test that gave up. An os.Process holds the
// process itself, not a number that may be another's by now.
func (l *leashedDaemon) end() {
	if l.cmd.ProcessState == nil {
		l.killTree()
		l.cmd.Wait()
	}
	if l.program != nil {
		l.program.Kill()
	}
	for _, worker := range l.workers {
		worker.Kill()
	}
}

// killTree is for a pidleash that still runs: PROGRAM's PID, and those of its
// children, are good as long as their parents stand still.
func (l *leashedDaemon) killTree() {
	l.cmd.Process.Signal(syscall.SIGSTOP)
	for _, program := range childPIDs(l.cmd.Process.Pid) {
		syscall.Kill(program, syscall.SIGSTOP)
		for _, worker := range childPIDs(program) {
			syscall.Kill(worker, syscall.SIGKILL)
		}
		syscall.Kill(program, syscall.SIGKILL)
	}
	l.cmd.Process.Kill()
}

func (l *leashedDaemon) await(what string, done func() bool) {
	l.t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%s: no %s in 30 s\n%s", l.daemon.name, what, l.output())
		}
	}
}

func (l *leashedDaemon) answers() bool {
	conn, err := net.DialTimeout("unix", filepath.Join(l.dir, "sock"), 5*time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, l.daemon.ask); err != nil {
		return false
	}
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(line, l.daemon.answer)
}

// readPIDFile returns the process that the file names, which must be the
// daemon, a child of pidleash.
func (l *leashedDaemon) readPIDFile() *os.Process {
	l.t.Helper()
	text, err := os.ReadFile(l.pidfile)
	if err != nil {
		l.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
	if err != nil || string(text) != strconv.Itoa(pid)+"\n" {
		l.t.Fatalf("the PID file says %q", text)
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if got := strings.TrimSpace(string(name)); got != l.daemon.name {
		l.t.Errorf("the PID file names process %d, %q, want %s", pid, got, l.daemon.name)
	}
	if !slices.Contains(childPIDs(l.cmd.Process.Pid), pid) {
		l.t.Errorf("process %d of the PID file is no child of pidleash", pid)
	}
	return holdProcess(l.t, pid)
}

func holdProcess(t *testing.T, pid int) *os.Process {
	t.Helper()
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	return process
}

func (l *leashedDaemon) children() (all []*os.Process) {
	l.t.Helper()
	for _, pid := range childPIDs(l.program.Pid) {
		all = append(all, holdProcess(l.t, pid))
	}
	return all
}

// childPIDs reads every thread's list: the thread that forked has the child.
func childPIDs(pid int) (children []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range bytes.Fields(text) {
			if child, err := strconv.Atoi(string(word)); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

func (l *leashedDaemon) signal(signal syscall.Signal) {
	l.t.Helper()
	if err := l.cmd.Process.Signal(signal); err != nil {
		l.t.Fatal(err)
	}
}

// wait returns how pidleash ended, within a time that leaves room for no
// KILL: pidleash would send one after 10 s.
func (l *leashedDaemon) wait() syscall.WaitStatus {
	l.t.Helper()
	late := time.AfterFunc(8*time.Second, func() { l.cmd.Process.Kill() })
	l.cmd.Wait() // the status says it all
	if !late.Stop() {
		l.t.Errorf("%s: not ended in 8 s\n%s", l.daemon.name, l.output())
	}
	return l.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func (l *leashedDaemon) output() string {
	text, _ := os.ReadFile(l.log)
	return string(text)
}

// messages are pidleash's own lines, which may stand in the middle of one that
// the daemon writes in pieces.
func (l *leashedDaemon) messages() []string {
	return leashMessage.FindAllString(l.output(), -1)
}

var leashMessage = regexp.MustCompile("pidleash: .*")

func (l *leashedDaemon) expectExit(want int) {
	l.t.Helper()
	if status := l.wait(); !status.Exited() || status.ExitStatus() != want {
		l.t.Errorf("%s: pidleash ended with %#x, want exit code %d\n%s", l.daemon.name, int(status), want, l.output())
	}
}

func (l *leashedDaemon) expectNothingLeft() {
	l.t.Helper()
	for _, process := range append(l.workers, l.program) {
		if err := process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
			l.t.Errorf("%s: process %d is still there", l.daemon.name, process.Pid)
		}
	}
	l.expectNoPIDFile()
}

func (l *leashedDaemon) expectNoPIDFile() {
	l.t.Helper()
	names, _ := filepath.Glob(filepath.Join(l.dir, "*leash*"))
	if len(names) > 0 {
		l.t.Errorf("%s: left behind: %q", l.daemon.name, names)
	}
}

func testDaemonTerm(t *testing.T, d foregroundDaemon) {
	l := startLeashed(t, d)
	l.signal(syscall.SIGTERM)
	l.expectExit(0)
	l.expectNothingLeft()
	if lines := l.messages(); len(lines) > 0 {
		t.Errorf("all was well, but pidleash wrote %q", lines)
	}
}

func testDaemonRemoved(t *testing.T, d foregroundDaemon) {
	l := startLeashed(t, d)
	if err := os.Remove(l.pidfile); err != nil {
		t.Fatal(err)
	}
	l.expectExit(0)
	l.expectNothingLeft()
	if lines := l.messages(); len(lines) != 1 || !strings.Contains(lines[0], l.pidfile) {
		t.Errorf("pidleash wrote %q, want one line with %s, in\n%s", lines, l.pidfile, l.output())
	}
}

// The daemon's workers may outlive it: pidleash leaves them alone when PROGRAM
// ends by itself.
func testDaemonCrash(t *testing.T, d foregroundDaemon) {
	l := startLeashed(t, d)
	if err := l.program.Signal(syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	if status := l.wait(); !status.Signaled() || status.Signal() != syscall.SIGSEGV {
		t.Errorf("%s: pidleash ended with %#x, want death by SIGSEGV\n%s", d.name, int(status), l.output())
	}
	l.expectNoPIDFile()
	if cores, _ := filepath.Glob(filepath.Join(l.dir, "core*")); len(cores) > 1 {
		t.Errorf("cores: %q, want PROGRAM's at most", cores)
	}
}

func testDaemonReload(t *testing.T, d foregroundDaemon) {
	l := startLeashed(t, d)
	old := l.workers
	l.signal(syscall.SIGHUP)
	l.await("new workers", func() bool {
		l.workers = append(l.children(), old...)
		return len(l.workers) == d.workers+len(old) && !alive(old)
	})
	if !l.answers() {
		t.Errorf("%s: no answer after the reload\n%s", d.name, l.output())
	}
	if _, err := os.Lstat(l.pidfile); errors.Is(err, fs.ErrNotExist) {
		t.Error("the PID file went with the reload")
	}
	l.signal(syscall.SIGTERM)
	l.expectExit(0)
	l.expectNothingLeft()
}

func alive(processes []*os.Process) bool {
	return slices.ContainsFunc(processes, func(p *os.Process) bool {
		return p.Signal(syscall.Signal(0)) == nil
	})
}
