package forking

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// TestDaemonModes runs real daemons in every mode under a real systemd. Each
// cell is one unit, started three times: the PID file is removed, the unit is
// stopped, the daemon crashes. That one end leaves nothing in the way of the next
// start is part of the proof.
func TestDaemonModes(t *testing.T) {
	needDaemons(t)
	machine := bed.BootSystemd(t, nil)
	hideCrontabs(t, machine)
	for _, d := range modeDaemons {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel() // most of the time is the daemons' own, to end
			for _, m := range daemonModes {
				t.Run(m.name, func(t *testing.T) { newDaemonCell(t, machine, d, m).test() })
			}
		})
	}
}

// A modeDaemon is a daemon that knows both: to stay, and to go to the background.
type modeDaemon struct {
	name string
	path string
	// args has it write its PID to own; "": as little as it can.
	args   func(dir, own string, background bool) []string
	term   int    // its exit code as a shell has it after TERM
	own    string // the PID file that it always has; "": as it is told
	ask    string // what is sent to dir/sock; "": it listens nowhere
	answer string // how its answer begins
}

var modeDaemons = []modeDaemon{
	{
		name: "nginx",
		path: "/usr/sbin/nginx",
		args: func(dir, own string, background bool) []string {
			daemon := map[bool]string{true: "on", false: "off"}[background]
			// It has a default, which is the machine's.
			if own == "" {
				own = dir + "/own.pid"
			}
			return []string{"-p", dir, "-c", dir + "/nginx.conf", "-e", "stderr", "-g", "daemon " + daemon + "; pid " + own + ";"}
		},
		ask:    "GET / HTTP/1.0\r\n\r\n",
		answer: "HTTP/1.1 200",
	},
	{
		name: "redis-server",
		path: "/usr/bin/redis-server",
		args: func(dir, own string, background bool) []string {
			args := []string{"--port", "0", "--unixsocket", dir + "/sock", "--dir", dir,
				"--save", `""`, "--appendonly", "no", "--crash-log-enabled", "no", "--daemonize", "no"}
			if background {
				args[len(args)-1] = "yes"
			}
			if own != "" {
				args = append(args, "--pidfile", own)
			}
			return args
		},
		ask:    "PING\r\n",
		answer: "+PONG",
	},
	{
		name: "memcached",
		path: "/usr/bin/memcached",
		args: func(dir, own string, background bool) []string {
			args := []string{"-s", dir + "/sock", "-u", "root", "-m", "8"}
			if background {
				args = append(args, "-d")
			}
			if own != "" {
				args = append(args, "-P", own)
			}
			return args
		},
		ask:    "version\r\n",
		answer: "VERSION ",
	},
	{
		name: "cron",
		path: "/usr/sbin/cron",
		args: func(_, _ string, background bool) []string {
			if background {
				return nil
			}
			return []string{"-f"}
		},
		// Compiled in, and locked by it: it does not start when another has the lock.
		own:  "/run/crond.pid",
		term: 128 + 15,
	},
}

func needDaemons(t *testing.T) {
	t.Helper()
	for _, d := range modeDaemons {
		if _, err := exec.LookPath(d.path); err != nil {
			bed.Missing(t, "%v", err)
		}
	}
}

// hideCrontabs keeps cron from doing the machine's work: inside it finds none.
func hideCrontabs(t *testing.T, machine *bed.Systemd) {
	t.Helper()
	machine.Write(t, "/run/lab/crontab", "")
	const script = `set -e
for dir in /etc/cron.d /var/spool/cron; do [ ! -d "$dir" ] || mount -t tmpfs tmpfs "$dir"; done
[ ! -f /etc/crontab ] || mount --bind /run/lab/crontab /etc/crontab`
	if out, code := machine.Run(t, "sh", "-c", script); code != 0 {
		t.Fatalf("hide the crontabs: status %d: %s", code, out)
	}
}

// ownFile is where the daemon writes its PID, beside the file on the leash.
type ownFile uint8

const (
	noFile    ownFile = iota // nowhere, if it can be helped
	sameFile                 // to the file on the leash
	otherFile                // to one that pidleash is told of
)

// A daemonMode is a way to put pidleash before a daemon in a unit.
type daemonMode struct {
	name       string
	options    string
	kind       string // Type= of its units
	settings   string // more of them
	background bool   // the daemon turns itself into one
	own        ownFile
	parent     bool // pidleash is the main process, and the daemon its child
}

const leashStays = "KillMode=mixed\n"

var daemonModes = []daemonMode{
	{name: "daemon-forking-same", options: "-daemon -forking", kind: "forking", background: true, own: sameFile},
	{name: "daemon-forking-none", options: "-daemon -forking", kind: "forking", background: true},
	{name: "daemon-forking-follow", options: "-daemon -forking", kind: "forking", background: true, own: otherFile},
	{name: "daemon", options: "-daemon", kind: "forking"},
	{name: "sidecar-exec", options: "-sidecar", kind: "exec"},
	{name: "sidecar-simple", options: "-sidecar", kind: "simple"},
	{name: "forking-same-exec", options: "-forking", kind: "exec", settings: leashStays, background: true, own: sameFile, parent: true},
	{name: "forking-none-simple", options: "-forking", kind: "simple", settings: leashStays, background: true, parent: true},
	{name: "forking-follow-simple", options: "-forking", kind: "simple", settings: leashStays, background: true, own: otherFile, parent: true},
}

// A daemonCell is a daemon in a mode.
type daemonCell struct {
	t      *testing.T
	daemon modeDaemon
	mode   daemonMode
	dir    string // its files, inside the bed
	own    string // what the daemon is told
	*bed.LeashedUnit
}

func newDaemonCell(t *testing.T, machine *bed.Systemd, d modeDaemon, m daemonMode) *daemonCell {
	t.Helper()
	c := &daemonCell{t: t, daemon: d, mode: m, dir: "/run/lab/" + d.name + "-" + m.name}
	if err := os.MkdirAll(machine.Path(c.dir+"/leash"), 0o755); err != nil {
		t.Fatal(err)
	}
	pidfile := c.choosePaths()
	if d.name == "nginx" {
		machine.Write(t, c.dir+"/nginx.conf", fmt.Sprintf(modeNginxConfig, c.dir))
	}
	unit := machine.Unit(t, filepath.Base(c.dir)+".service", c.text(pidfile))
	c.LeashedUnit = &bed.LeashedUnit{SystemdUnit: unit, Program: nil, PIDFile: pidfile}
	return c
}

// As NginxConfig, without a path for the PID.
var modeNginxConfig = strings.TrimPrefix(bed.NginxConfig, "pid own.pid;\n")

// choosePaths returns the path of the file on the leash.
func (c *daemonCell) choosePaths() string {
	pidfile := c.dir + "/leash/pid"
	switch {
	case c.mode.own == sameFile && c.daemon.own != "":
		return c.daemon.own
	case c.mode.own == sameFile:
		c.own = pidfile
	case c.mode.own == otherFile && c.daemon.own != "":
		c.own = c.daemon.own
	case c.mode.own == otherFile:
		c.own = c.dir + "/own.pid"
	}
	return pidfile
}

func (c *daemonCell) text(pidfile string) string {
	settings, options := "", c.mode.options
	if c.mode.kind == "forking" {
		settings = "PIDFile=" + pidfile + "\n" // and $PIDFILE
	} else {
		options += " -pidfile " + pidfile
	}
	if c.mode.own == otherFile {
		options += " -follow " + c.own
	}
	if c.mode.parent {
		options += " -log-level info"
		settings += "StandardError=truncate:" + c.log() + "\n"
	}
	argv := []string{"/run/lab/pidleash", options, c.daemon.path}
	for _, arg := range c.daemon.args(c.dir, c.own, c.mode.background) {
		argv = append(argv, "'"+arg+"'")
	}
	return "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=" + c.mode.kind + "\n" +
		settings + c.mode.settings + "ExecStart=" + strings.Join(argv, " ") + "\n"
}

// log has what pidleash says in the modes where systemctl returns before pidleash knows the daemon.
func (c *daemonCell) log() string { return c.dir + "/log" }

func (c *daemonCell) test() {
	c.testRemoval()
	c.testStop()
	c.testCrash()
}

func (c *daemonCell) testRemoval() {
	pid := c.up()
	c.Bed.Remove(c.t, c.PIDFile)
	c.gone("inactive", "success", pid)
}

func (c *daemonCell) testStop() {
	pid := c.up()
	c.Must("stop")
	c.gone("inactive", "success", pid)
}

func (c *daemonCell) testCrash() {
	pid := c.up()
	c.kill("SEGV", pid)
	// No core is written here; whether the kernel calls it one anyway is its own
	// business.
	c.Await("ActiveState", "inactive", "failed")
	result := c.Property("Result")
	if result != "signal" && result != "core-dump" {
		c.t.Errorf("%s: Result=%s after a crash", c.Name, result)
	}
	c.Want("ExecMainStatus", "11")
	c.gone("failed", result, pid)
}

// up starts the unit and returns the daemon's PID. When systemctl returns, a
// Type=forking unit is up; in the others the start is over a moment before.
func (c *daemonCell) up() (pid string) {
	c.t.Helper()
	c.Must("start")
	if c.mode.kind == "forking" && c.named() == "" {
		c.t.Errorf("%s: started, but %s names no %s", c.Name, c.PIDFile, c.daemon.name)
	}
	c.eventually("daemon in the PID file", func() bool {
		pid = c.named()
		return pid != "" && c.settled(pid)
	})
	c.eventually("answer", func() bool { return c.answers(pid) })
	if named := c.named(); named != pid {
		c.t.Errorf("%s named %s at first, %s now", c.PIDFile, pid, named)
	}
	c.Want("ActiveState", "active")
	c.wantMain(pid)
	return pid
}

// named returns the PID in the file if that is the daemon's. An earlier daemon
// may have left the file, and -sidecar writes it before it becomes the daemon.
func (c *daemonCell) named() (pid string) {
	text, err := os.ReadFile(c.Bed.Path(c.PIDFile))
	if err != nil {
		return ""
	}
	pid = strings.TrimSpace(string(text))
	name, err := os.ReadFile(c.Bed.Path("/proc/" + pid + "/comm"))
	if err != nil || strings.TrimSpace(string(name)) != c.daemon.name {
		return ""
	}
	return pid
}

// settled: what the daemon has forked from is gone. cron writes that one's PID
// first.
func (c *daemonCell) settled(pid string) bool {
	if !c.mode.parent {
		return true
	}
	status, err := os.ReadFile(c.Bed.Path("/proc/" + pid + "/status"))
	return err == nil && c.named() == pid && strings.Contains(string(status), "\nPPid:\t"+c.Property("MainPID")+"\n") &&
		c.children(pid) == 1 && knowsDaemon(c.t, c.Bed.Path(c.log()), pid)
}

// knowsDaemon: pidleash has logged which process is the daemon. A removal before that stops nothing.
func knowsDaemon(t *testing.T, log, pid string) bool {
	t.Helper()
	return strings.Contains(bed.ReadFile(t, log), "PID "+pid+" is the daemon\n")
}

// children counts those of the main process if pid is one of them: it has not
// reaped yet what it started as long as there are two.
func (c *daemonCell) children(pid string) int {
	lists, _ := filepath.Glob(c.Bed.Path("/proc/" + c.Property("MainPID") + "/task/*/children"))
	var all []string
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		all = append(all, strings.Fields(string(text))...)
	}
	if !slices.Contains(all, pid) {
		return 0
	}
	return len(all)
}

// wantMain: the daemon is the unit's main process, or the child of pidleash which
// is that.
func (c *daemonCell) wantMain(pid string) {
	c.t.Helper()
	main := c.Property("MainPID")
	if !c.mode.parent {
		if main != pid {
			c.t.Errorf("%s: MainPID=%s, want %s", c.Name, main, pid)
		}
		c.wantWatchdog()
		return
	}
	if name := c.Bed.Comm(c.t, main); name != "pidleash" {
		c.t.Errorf("%s: main process %s is %q, want pidleash", c.Name, main, name)
	}
	if status := c.Bed.Read(c.t, "/proc/"+pid+"/status"); !strings.Contains(status, "\nPPid:\t"+main+"\n") {
		c.t.Errorf("%s: %s is no child of pidleash %s:\n%s", c.Name, pid, main, status)
	}
}

// wantWatchdog: a daemon without one answers just as well.
func (c *daemonCell) wantWatchdog() {
	c.t.Helper()
	for _, pid := range c.Processes() {
		if name, _ := os.ReadFile(c.Bed.Path("/proc/" + pid + "/comm")); string(name) == "pidleash\n" {
			return
		}
	}
	c.t.Errorf("%s: no watchdog is there", c.Name)
}

func (c *daemonCell) eventually(what string, done func() bool) {
	c.t.Helper()
	bed.Await(c.t, c.Name+": "+what, done)
}

func (c *daemonCell) answers(pid string) bool {
	c.t.Helper()
	if c.daemon.ask == "" {
		return holdsLock(c.Bed.Path("/"), pid, c.daemon.own)
	}
	return bed.AnswersAt(c.Bed.Path(c.dir+"/sock"), c.daemon.ask, c.daemon.answer)
}

// holdsLock: one of the process's descriptors is the file, locked. proc_locks(5)
// would not do: it names who has taken the lock, and that was cron's parent.
func holdsLock(root, pid, file string) bool {
	fds, _ := filepath.Glob(filepath.Join(root, "proc", pid, "fd", "*"))
	for _, fd := range fds {
		if target, _ := os.Readlink(fd); target != file {
			continue
		}
		info, _ := os.ReadFile(filepath.Join(root, "proc", pid, "fdinfo", filepath.Base(fd)))
		if strings.Contains(string(info), "\nlock:") {
			return true
		}
	}
	return false
}

func (c *daemonCell) kill(signal, pid string) {
	c.t.Helper()
	if out, code := c.Bed.Run(c.t, "kill", "-s", signal, pid); code != 0 {
		c.t.Fatalf("kill -s %s %s: status %d: %s", signal, pid, code, out)
	}
}

// gone checks how the unit has ended, and that nothing is left of the daemon, nor
// of pidleash.
func (c *daemonCell) gone(state, result, pid string) {
	c.t.Helper()
	c.Over(state, result)
	if c.Bed.Exists(c.t, "/proc/"+pid) {
		c.t.Errorf("%s: process %s is still there", c.Name, pid)
	}
	dir, base := filepath.Split(c.PIDFile)
	files, err := os.ReadDir(c.Bed.Path(dir))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, file := range files {
		if strings.Contains(file.Name(), base) || dir == c.dir+"/leash/" {
			c.t.Errorf("%s: %s%s is left behind", c.Name, dir, file.Name())
		}
	}
	if c.t.Failed() {
		c.t.FailNow() // what comes next would only be confusing
	}
}

// TestDaemonModesEntrypoint: -forking as process 1, which cannot die by a signal.
// cron's PID file is in a /run of its own.
func TestDaemonModesEntrypoint(t *testing.T) {
	needDaemons(t)
	unshare := append(needUnshare(t), "--mount")
	for _, d := range modeDaemons {
		t.Run(d.name, func(t *testing.T) {
			for _, end := range entrypointEnds {
				t.Run(end.name, func(t *testing.T) {
					e := startEntrypoint(t, unshare, d)
					end.cause(e)
					if end.code == 0 {
						e.expect(d.term)
						return
					}
					e.expect(end.code)
				})
			}
		})
	}
}

var entrypointEnds = []struct {
	name  string
	cause func(*entrypoint)
	code  int
}{
	{"remove", func(e *entrypoint) { e.must(os.Remove(e.path(e.pidfile))) }, 0},
	{"TERM", func(e *entrypoint) { e.must(syscall.Kill(e.init, syscall.SIGTERM)) }, 0},
	{"SEGV", func(e *entrypoint) { e.must(syscall.Kill(e.daemon, syscall.SIGSEGV)) }, 128 + 11},
}

// An entrypoint is pidleash as process 1, PIDs as seen from outside.
type entrypoint struct {
	t            *testing.T
	cmd          *exec.Cmd
	init, daemon int
	pidfile      string
	log          string // the path of what it says
}

func (e *entrypoint) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *entrypoint) path(inside string) string {
	return filepath.Join("/proc", strconv.Itoa(e.init), "root", inside)
}

func needUnshare(t *testing.T) []string {
	t.Helper()
	unshare := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if out, err := exec.Command(unshare[0], append(unshare[1:], "--mount", "true")...).CombinedOutput(); err != nil {
		bed.Missing(t, "%v: %s", err, out)
	}
	return unshare
}

// The crontabs are covered as in hideCrontabs.
const entrypointScript = `mount -t tmpfs tmpfs /run
for dir in /etc/cron.d /var/spool/cron; do [ ! -d "$dir" ] || mount -t tmpfs tmpfs "$dir"; done
[ ! -f /etc/crontab ] || mount --bind /dev/null /etc/crontab
ulimit -c 0
exec "$@"`

func startEntrypoint(t *testing.T, unshare []string, d modeDaemon) *entrypoint {
	t.Helper()
	dir, err := os.MkdirTemp("", "leash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	e := &entrypoint{t: t, pidfile: filepath.Join(dir, "pid"), log: filepath.Join(dir, "log")}
	if d.own != "" {
		e.pidfile = d.own
	}
	bed.WriteDaemonFile(t, dir, "nginx.conf", fmt.Sprintf(modeNginxConfig, dir))
	args := slices.Concat(unshare, []string{"sh", "-ec", entrypointScript, "sh", bed.Pidleash, "-log-level", "info", "-forking", "-pidfile", e.pidfile, d.path})
	for _, arg := range d.args(dir, e.pidfile, true) {
		args = append(args, strings.Trim(arg, `"`))
	}
	e.cmd = exec.Command(args[0], args[1:]...)
	log, err := os.Create(e.log)
	e.must(err)
	defer log.Close()
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.must(e.cmd.Start())
	t.Cleanup(func() { e.cmd.Process.Kill(); e.cmd.Wait() })
	e.await(func() bool { return e.up(d, dir) })
	return e
}

func (e *entrypoint) await(done func() bool) {
	e.t.Helper()
	if !bed.Poll(done) {
		e.cmd.Process.Kill()
		e.cmd.Wait()
		e.t.Fatalf("not up in %v:\n%s", bed.Patience, bed.ReadFile(e.t, e.log))
	}
}

// up: process 1 has one child, which the file names and which answers.
func (e *entrypoint) up(d modeDaemon, dir string) bool {
	inits := bed.ChildPIDs(e.cmd.Process.Pid)
	if len(inits) != 1 {
		return false
	}
	e.init = inits[0]
	daemons := bed.ChildPIDs(e.init)
	text, err := os.ReadFile(e.path(e.pidfile))
	if len(daemons) != 1 || err != nil {
		return false
	}
	e.daemon = daemons[0]
	pid := strings.TrimSpace(string(text))
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.daemon))
	if pid == "" || !strings.Contains(string(status), "\t"+pid+"\n") || !strings.HasPrefix(string(status), "Name:\t"+d.name+"\n") {
		return false
	}
	if !knowsDaemon(e.t, e.log, pid) {
		return false
	}
	if d.ask == "" {
		return holdsLock(e.path("/"), pid, d.own)
	}
	return bed.AnswersAt(filepath.Join(dir, "sock"), d.ask, d.answer)
}

func (e *entrypoint) expect(code int) {
	e.t.Helper()
	late := time.AfterFunc(bed.Patience, func() { e.cmd.Process.Kill() })
	defer late.Stop()
	e.cmd.Wait() // the status says it all
	if got := e.cmd.ProcessState.ExitCode(); got != code {
		e.t.Errorf("exit code %d, want %d\n%s", got, code, bed.ReadFile(e.t, e.log))
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(e.pidfile), "*"+filepath.Base(e.pidfile)+"*"))
	if len(left) > 0 {
		e.t.Errorf("left behind: %q", left)
	}
}

// begin starts a new master beside the old one and returns its PID.
func (c *daemonCell) begin(old string) (pid string) {
	c.t.Helper()
	c.kill("USR2", old)
	c.eventually("new daemon in "+c.PIDFile, func() bool {
		pid = c.named()
		return pid != "" && pid != old
	})
	return pid
}

// upgrade ends when the new master is alone, and returns its PID.
func (c *daemonCell) upgrade(old string) (pid string) {
	c.t.Helper()
	pid = c.begin(old)
	c.kill("QUIT", old)
	c.eventually("end of the old daemon", func() bool { return !c.Bed.Exists(c.t, "/proc/"+old) })
	c.followed(pid)
	return pid
}

// followed: systemd and pidleash stand by this master.
func (c *daemonCell) followed(pid string) {
	c.t.Helper()
	if !c.mode.parent {
		c.Await("MainPID", pid)
	}
	c.wantMain(pid)
	c.Want("ActiveState", "active")
	c.Want("NRestarts", "0")
	if named := c.named(); named != pid {
		c.t.Errorf("%s names %s, want %s", c.PIDFile, named, pid)
	}
	if !c.answers(pid) {
		c.t.Errorf("%s does not answer", c.Name)
	}
	for _, line := range c.Messages() {
		if strings.Contains(line, "stopping") {
			c.t.Errorf("pidleash says %q", line)
		}
	}
}
