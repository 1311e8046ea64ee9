package bed

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// AnswersAt asks at a socket, and reports whether the answer begins like that.
func AnswersAt(socket, ask, answer string) bool {
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, ask); err != nil {
		return false
	}
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(line, answer)
}

// A ForegroundDaemon is how a daemon is started without leaving anything
// outside of dir, and how it is asked whether it is up. It listens on dir/sock.
type ForegroundDaemon struct {
	Name    string
	Argv    func(t *testing.T, dir string) []string
	Ask     string // what is sent to the socket
	Answer  string // how its answer begins
	Workers int    // its child processes
	Reloads bool   // HUP replaces the workers
}

// In the foreground nginx still writes a PID file: it has another path here,
// because two writers of one file are a fault. Its workers keep root, for a
// temporary directory that nobody else may enter.
const NginxConfig = `pid own.pid;
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

// Path looks in /usr/sbin, too, which the PATH of ordinary users lacks.
func (d ForegroundDaemon) Path() string {
	if path, err := exec.LookPath(d.Name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", d.Name)
}

// NginxDaemon is nginx with two workers.
var NginxDaemon = ForegroundDaemon{
	Name: "nginx",
	Argv: func(t *testing.T, dir string) []string {
		WriteDaemonFile(t, dir, "nginx.conf", fmt.Sprintf(NginxConfig, dir))
		return []string{"-p", dir, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"}
	},
	Ask:     "GET / HTTP/1.0\r\n\r\n",
	Answer:  "HTTP/1.1 200",
	Workers: 2,
	Reloads: true,
}

// WriteDaemonFile writes a file that a daemon of any user reads.
func WriteDaemonFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A LeashedDaemon is a daemon that runs behind pidleash and answers.
type LeashedDaemon struct {
	T       *testing.T
	Daemon  ForegroundDaemon
	Dir     string
	Pidfile string
	Cmd     *exec.Cmd
	Program *os.Process
	Workers []*os.Process
	log     string // standard error of both
}

// StartLeashed returns when the daemon answers, and ends it with the test.
func StartLeashed(t *testing.T, d ForegroundDaemon) *LeashedDaemon {
	t.Helper()
	// Short: the path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "leash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &LeashedDaemon{T: t, Daemon: d, Dir: dir, Pidfile: filepath.Join(dir, "leash.pid"), log: filepath.Join(dir, "log")}
	l.start()
	l.Await("an answer", l.Answers)
	l.Program = l.readPIDFile()
	l.Await("its workers", func() bool {
		l.Workers = l.Children()
		return len(l.Workers) == d.Workers
	})
	return l
}

func (l *LeashedDaemon) start() {
	l.T.Helper()
	log, err := os.Create(l.log)
	if err != nil {
		l.T.Fatal(err)
	}
	defer log.Close()
	argv := append([]string{"-pidfile", l.Pidfile, l.Daemon.Path()}, l.Daemon.Argv(l.T, l.Dir)...)
	l.Cmd = exec.Command(Pidleash, argv...)
	l.Cmd.Dir = l.Dir // for a core, should one be written
	l.Cmd.Stdout, l.Cmd.Stderr = log, log
	// When the test is killed pidleash goes with it, and PROGRAM with pidleash.
	// The signal belongs to the thread that forks.
	runtime.LockOSThread()
	l.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.Cmd.Start(); err != nil {
		l.T.Fatal(err)
	}
	l.T.Cleanup(l.end)
}

// end leaves nothing behind of a test that gave up. An os.Process holds the
// process itself, not a number that may be another's by now.
func (l *LeashedDaemon) end() {
	if l.Cmd.ProcessState == nil {
		l.killTree()
		l.Cmd.Wait()
	}
	if l.Program != nil {
		l.Program.Kill()
	}
	for _, worker := range l.Workers {
		worker.Kill()
	}
}

// killTree is for a pidleash that still runs: PROGRAM's PID, and those of its
// children, are good as long as their parents stand still.
func (l *LeashedDaemon) killTree() {
	l.Cmd.Process.Signal(syscall.SIGSTOP)
	for _, program := range ChildPIDs(l.Cmd.Process.Pid) {
		syscall.Kill(program, syscall.SIGSTOP)
		for _, worker := range ChildPIDs(program) {
			syscall.Kill(worker, syscall.SIGKILL)
		}
		syscall.Kill(program, syscall.SIGKILL)
	}
	l.Cmd.Process.Kill()
}

// Await returns when it is done.
func (l *LeashedDaemon) Await(what string, done func() bool) {
	l.T.Helper()
	if !Poll(done) {
		l.T.Fatalf("%s: no %s in %v\n%s", l.Daemon.Name, what, Patience, l.Output())
	}
}

// Answers asks the daemon.
func (l *LeashedDaemon) Answers() bool {
	conn, err := net.DialTimeout("unix", filepath.Join(l.Dir, "sock"), 5*time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, l.Daemon.Ask); err != nil {
		return false
	}
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(line, l.Daemon.Answer)
}

// readPIDFile returns the process that the file names, which must be the
// daemon, a child of pidleash.
func (l *LeashedDaemon) readPIDFile() *os.Process {
	l.T.Helper()
	text, err := os.ReadFile(l.Pidfile)
	if err != nil {
		l.T.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
	if err != nil || string(text) != strconv.Itoa(pid)+"\n" {
		l.T.Fatalf("the PID file says %q", text)
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if got := strings.TrimSpace(string(name)); got != l.Daemon.Name {
		l.T.Errorf("the PID file names process %d, %q, want %s", pid, got, l.Daemon.Name)
	}
	if !slices.Contains(ChildPIDs(l.Cmd.Process.Pid), pid) {
		l.T.Errorf("process %d of the PID file is no child of pidleash", pid)
	}
	return holdProcess(l.T, pid)
}

func holdProcess(t *testing.T, pid int) *os.Process {
	t.Helper()
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	return process
}

// Children are those of the daemon.
func (l *LeashedDaemon) Children() (all []*os.Process) {
	l.T.Helper()
	for _, pid := range ChildPIDs(l.Program.Pid) {
		all = append(all, holdProcess(l.T, pid))
	}
	return all
}

// Wait returns how pidleash ended, within a time that leaves room for no
// KILL: pidleash would send one after 10 s.
func (l *LeashedDaemon) Wait() syscall.WaitStatus {
	l.T.Helper()
	late := time.AfterFunc(8*time.Second, func() { l.Cmd.Process.Kill() })
	l.Cmd.Wait() // the status says it all
	if !late.Stop() {
		l.T.Errorf("%s: not ended in 8 s\n%s", l.Daemon.Name, l.Output())
	}
	return l.Cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// Output is what pidleash and the daemon have written.
func (l *LeashedDaemon) Output() string {
	text, _ := os.ReadFile(l.log)
	return string(text)
}

// ExpectNoPIDFile fails the test if one is left, under whatever name.
func (l *LeashedDaemon) ExpectNoPIDFile() {
	l.T.Helper()
	names, _ := filepath.Glob(filepath.Join(l.Dir, "*leash*"))
	if len(names) > 0 {
		l.T.Errorf("%s: left behind: %q", l.Daemon.Name, names)
	}
}
