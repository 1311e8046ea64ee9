package integration

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// besideProgram is how the program stands in ExecStart=, see behind.
const besideProgram = "/run/lab/pidleash -sidecar -pidfile %s -- "

// TestSidecarUnit proves that a program with -sidecar is to systemd what it is
// without pidleash, and that its PID file stops it nevertheless.
func TestSidecarUnit(t *testing.T) {
	bed := bootSystemd(t, nil)
	bed.install(t, "/run/lab/notify", notifyProgram(t))
	for _, kind := range []string{"simple", "exec", "notify"} {
		for _, test := range sidecarTests {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				test.run(&sidecarCase{&protocolCase{t, bed, "sidecar-" + kind + "-" + test.name}, kind})
			})
		}
	}
	for _, test := range sidecarProtocolTests {
		t.Run(test.name, func(t *testing.T) {
			test.run(&sidecarCase{&protocolCase{t, bed, "sidecar-" + test.name}, "notify"})
		})
	}
}

var sidecarTests = []struct {
	name string
	run  func(*sidecarCase)
}{
	{"start", sidecarStart},
	{"exit", sidecarExit},
	{"crash", sidecarCrash},
	{"remove", sidecarRemove},
	{"stop", sidecarStop},
	{"stop-at-once", sidecarStopAtOnce},
	{"term-watchdog", sidecarTermWatchdog},
	{"killed-watchdog", sidecarKilledWatchdog},
	{"not-executable", sidecarNotExecutable},
}

var sidecarProtocolTests = []struct {
	name string
	run  func(*sidecarCase)
}{
	{"sockets", sidecarSockets},
	{"watchdog", sidecarWatchdog},
	{"reload", sidecarReload},
}

// A sidecarCase is one test in one type of service.
type sidecarCase struct {
	*protocolCase
	kind string // Type= of its service
}

// up starts a program beside pidleash and returns when the unit is active.
func (c *sidecarCase) up(settings string) *ledUnit {
	c.Helper()
	u := c.led(c.name, besideProgram, "Type="+c.kind+"\n"+settings)
	c.ready(u)
	return u
}

// ready has the program say that it is up, where systemd wants to hear it.
func (c *sidecarCase) ready(u *ledUnit) {
	c.Helper()
	if c.kind == "notify" {
		u.want("ActiveState", "activating")
		u.send("READY=1")
	}
	u.await("ActiveState", "active")
}

func sidecarStart(c *sidecarCase) {
	u := c.up("")
	u.isMain()
	u.watchdog()
	u.content()
	u.silent()
	u.obey("env SYSTEMD_EXEC_PID", u.pid)
}

func sidecarExit(c *sidecarCase) {
	u := c.up("Restart=on-failure\nRestartSec=0\n" + c.sayEnd())
	first := u.pid
	u.program.do("exit 3")
	if end := u.program.says(); end != "exit-code exited 3" {
		c.Errorf("%s ended with %q, want exit code 3", u.name, end)
	}
	u.running()
	c.ready(u)
	u.restarted(first)
}

// sidecarCrash: systemd sees the real end, and so does the watchdog where the
// kernel tells.
func sidecarCrash(c *sidecarCase) {
	u := c.up("")
	u.program.do("kill 11")
	u.over("failed", "signal")
	u.want("ExecMainCode", "2") // CLD_KILLED
	u.want("ExecMainStatus", "11")
	want := []string{"pidleash: PID " + u.pid + " ended by SIGSEGV"}
	if !tellsEnd() {
		want = nil
	}
	if lines := u.messages(); !slices.Equal(lines, want) {
		c.Errorf("pidleash's lines %q, want %q", lines, want)
	}
}

// tellsEnd reports a kernel that tells others than the parent how a process has
// ended, PIDFD_INFO_EXIT of ioctl_pidfd(2).
func tellsEnd() bool {
	var uname unix.Utsname
	if unix.Uname(&uname) != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(uname.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 6 || major == 6 && minor >= 15)
}

func sidecarRemove(c *sidecarCase) {
	u := c.up("")
	c.bed.remove(c, u.pidfile)
	u.stoppedByRemoval()
}

// stoppedByRemoval checks the end of a unit whose file was removed.
func (u *ledUnit) stoppedByRemoval() {
	u.t.Helper()
	u.over("inactive", "success")
	u.want("ExecMainCode", "2") // CLD_KILLED
	u.want("ExecMainStatus", "15")
	lines := u.messages()
	if len(lines) != 1 || !strings.Contains(lines[0], u.pidfile+": removed") {
		u.t.Errorf("pidleash's lines %q, want one: %s is removed", lines, u.pidfile)
	}
}

func sidecarStop(c *sidecarCase) {
	u := c.up("")
	u.isTermedOnce()
	u.silent()
	u.content()
}

// stopAtOnceTries is how often a unit is stopped somewhere on its way up.
const stopAtOnceTries = 30

func sidecarStopAtOnce(c *sidecarCase) {
	u := &ledUnit{pidfile: "/run/lab/" + c.name + ".pid"}
	u.systemdUnit = c.bed.unit(c, c.name+".service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType="+c.kind+
		"\nExecStart=/run/lab/pidleash -sidecar -pidfile "+u.pidfile+" -- sleep infinity\n")
	u.stopsAtOnce()
}

// stopsAtOnce stops a unit again and again, wherever it is on its way up.
func (u *ledUnit) stopsAtOnce() {
	u.t.Helper()
	for i := range stopAtOnceTries {
		// The stop may come before the start: hence another one.
		delay := fmt.Sprintf("0.%04d", i*80/stopAtOnceTries)
		u.bed.run(u.t, "sh", "-c", `(sleep "$1"; exec systemctl stop "$0") & systemctl start --no-block "$0"; wait`, u.name, delay)
		u.must("stop")
		u.over("inactive", "success")
		if u.t.Failed() {
			u.t.Logf("at try %d, after %s s", i, delay)
			return
		}
	}
	u.silent()
	u.content()
}

// sidecarTermWatchdog: the watchdog stays as long as the program does.
func sidecarTermWatchdog(c *sidecarCase) {
	u := c.up("")
	watchdog := u.watchdog()
	for _, sig := range []string{"TERM", "INT", "HUP"} {
		c.bed.signal(c, sig, watchdog)
	}
	u.obey("env NO_SUCH", "-")
	u.isMain()
	if again := u.watchdog(); again != watchdog {
		c.Errorf("the watchdog is %s, was %s", again, watchdog)
	}
	c.bed.remove(c, u.pidfile)
	u.stoppedByRemoval()
}

// sidecarKilledWatchdog: the file it leaves is stale to the next start.
func sidecarKilledWatchdog(c *sidecarCase) {
	u := c.up("")
	watchdog := u.watchdog()
	c.bed.signal(c, "KILL", watchdog)
	c.bed.awaitGone(c, watchdog)
	u.obey("env NO_SUCH", "-")
	u.isMain()
	u.must("stop")
	u.want("ActiveState", "inactive")
	u.must("start", "--no-block")
	u.running()
	c.ready(u)
	u.isMain()
	u.watchdog()
	u.must("stop")
	u.over("inactive", "success")
}

func sidecarNotExecutable(c *sidecarCase) {
	u := &ledUnit{pidfile: "/run/lab/" + c.name + ".pid"}
	u.systemdUnit = c.bed.unit(c, c.name+".service", "[Service]\nType="+c.kind+
		"\nExecStart=/run/lab/pidleash -sidecar -pidfile "+u.pidfile+" -- /etc/passwd\n")
	// Only Type=notify waits for more than the execution of pidleash.
	_, _ = u.systemctl("start")
	u.failedFor(`/etc/passwd`)
	u.want("ExecMainStatus", "126")
}

// sidecarSockets: what systemd hands over is the program's without any help.
func sidecarSockets(c *sidecarCase) {
	pidfile, socket := "/run/lab/"+c.name+".pid", "/run/lab/"+c.name+".socket"
	service := c.bed.unit(c, c.name+".service", "[Service]\nExecStart=/run/lab/pidleash -sidecar -pidfile "+pidfile+" -- /run/lab/notify serve\n")
	c.bed.unit(c, c.name+".socket", "[Socket]\nListenStream="+socket+"\nFileDescriptorName=web\n").must("start")
	answer := dial(c, c.bed.path(socket))
	words := regexp.MustCompile(`^pid (\d+) socket 0 right 1 web\n$`).FindStringSubmatch(answer)
	if words == nil {
		c.Fatalf("the server answers %q", answer)
	}
	u := &ledUnit{systemdUnit: service, pidfile: pidfile, pid: words[1]}
	u.isMain()
	u.silent()
	// Else the next connection starts it again.
	c.bed.systemctl(c, "stop", c.name+".socket")
	c.bed.remove(c, pidfile)
	u.over("inactive", "success")
}

// sidecarWatchdog: a program that pings lives on, and is caught when it stops. Its
// SIGABRT goes to the watchdog, too.
func sidecarWatchdog(c *sidecarCase) {
	u := c.up("WatchdogSec=2s\n")
	u.obey("env WATCHDOG_PID", u.pid)
	first := u.property("WatchdogTimestampMonotonic")
	u.obey("ping 100 30", "done")
	u.read()
	u.want("ActiveState", "active")
	if now := u.property("WatchdogTimestampMonotonic"); now == first {
		c.Errorf("systemd has seen no ping")
	}
	u.over("failed", "watchdog")
	u.want("ExecMainStatus", strconv.Itoa(int(unix.SIGABRT)))
	if lines := u.messages(); len(lines) > 1 {
		c.Errorf("pidleash's lines %q, want none but one about the end", lines)
	}
	for _, line := range u.journal() {
		if strings.Contains(line, "goroutine") {
			c.Errorf("the watchdog has died loudly: %q", line)
		}
	}
}

func sidecarReload(c *sidecarCase) {
	u := c.up("ExecReload=/bin/kill -HUP $MAINPID\n")
	u.obey("count", "done")
	u.must("reload")
	u.mark("main", "RTMIN+5")
	if got := u.program.says(); got != "HUP 0+1" {
		c.Errorf("the program has got %q by a reload, want one HUP", got)
	}
	stopUnit(u)
	u.program.do("exit 0")
	u.over("inactive", "success")
}

// TestBesideAsPID1: everything ends with PID 1, so that nothing can be beside it.
func TestBesideAsPID1(t *testing.T) {
	before := inPIDNamespace(t)
	for _, mode := range []string{"-daemon", "-sidecar"} {
		dir := openDir(t)
		r := start(t, how{before: before}, mode, "-pidfile", filepath.Join(dir, "pid"), "--", "true")
		r.expectCode(t, 125)
		r.expectOneLine(t, `process 1`)
		expectEmptyDir(t, dir)
	}
}

// TestReadyUnit proves that a program which speaks no protocol can be in a
// Type=notify unit: pidleash says when it is up.
func TestReadyUnit(t *testing.T) {
	bed := bootSystemd(t, nil)
	for _, test := range readyTests {
		t.Run(test.name, func(t *testing.T) {
			c := &protocolCase{t, bed, "ready-" + test.name}
			test.run(c)
		})
	}
}

var readyTests = []struct {
	name string
	run  func(*protocolCase)
}{
	{"log", readyLog},
	{"fd", readyFD},
	{"after", readyAfter},
	{"fails", readyFails},
	{"never", readyNever},
}

// legacy starts a program in a Type=notify unit.
func (c *protocolCase) legacy(options string) *ledUnit {
	c.Helper()
	u := &ledUnit{program: c.bed.program(c, c.name), pidfile: "/run/lab/" + c.name + ".pid"}
	u.systemdUnit = c.bed.unit(c, c.name+".service", "[Service]\nType=notify\nKillMode=mixed\nExecStart=/run/lab/pidleash -pidfile "+
		u.pidfile+" "+options+" -- "+u.program.command+"\n")
	u.must("start", "--no-block")
	u.running()
	return u
}

// monotonic is the time in microseconds as systemd gives it.
func monotonic(t testing.TB) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// moment returns a property that is a time.
func (u *systemdUnit) moment(name string) int64 {
	u.t.Helper()
	at, err := strconv.ParseInt(u.property(name), 10, 64)
	if err != nil {
		u.t.Fatal(err)
	}
	return at
}

// activeSince waits until the unit is active, and checks that it was not before.
func (u *systemdUnit) activeSince(earliest int64) {
	u.t.Helper()
	u.await("ActiveState", "active", "failed")
	if at := u.moment("ActiveEnterTimestampMonotonic"); at < earliest {
		u.t.Errorf("%s is active at %d µs, want not before %d", u.name, at, earliest)
	}
}

// stops ends a unit with pidleash as its main process.
func (u *ledUnit) stops() {
	u.t.Helper()
	u.want("ActiveState", "active")
	u.must("stop")
	u.over("inactive", "success")
	u.silent()
}

func readyLog(c *protocolCase) {
	log := "/run/lab/" + c.name + ".log"
	c.bed.write(c, log, "now listening on port 80\n") // of an earlier run
	u := c.legacy(`"-ready" "log:listening on port [0-9]+" -stdout ` + log)
	for _, line := range []string{"starting", "not listening"} {
		u.obey(`echo `+line+`; echo on >"$1.out"`, "on")
	}
	before := monotonic(c)
	u.program.do("echo now listening on port 81")
	u.activeSince(before)
	if text := c.bed.read(c, log); !strings.HasSuffix(text, "port 80\nstarting\nnot listening\nnow listening on port 81\n") {
		c.Errorf("%s says %q", log, text)
	}
	u.stops()
}

// readyFD: descriptor 3 is the FIFO of the program's own.
func readyFD(c *protocolCase) {
	u := c.legacy("-ready fd:4")
	u.obey(`printf almost >&4; echo on >"$1.out"`, "on")
	before := monotonic(c)
	u.program.do("echo >&4")
	u.activeSince(before)
	u.stops()
}

func readyAfter(c *protocolCase) {
	u := c.legacy("-ready 500ms")
	u.activeSince(u.moment("ExecMainStartTimestampMonotonic") + (500 * time.Millisecond).Microseconds())
	u.stops()
}

func readyFails(c *protocolCase) {
	u := c.legacy("-ready 1h -start-timeout 2h")
	u.program.do("exit 7")
	u.over("failed", "exit-code")
	u.want("ExecMainStatus", "7")
	u.content()
}

func readyNever(c *protocolCase) {
	u := c.legacy("-ready fd:4 -start-timeout 1s")
	u.failedFor(`is not up after 1s`)
	u.want("ExecMainStatus", "125")
}
