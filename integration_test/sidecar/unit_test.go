package sidecar

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// besideProgram is how the program stands in ExecStart=, see behind.
const besideProgram = "/run/lab/pidleash -sidecar -pidfile %s -- "

// TestSidecarUnit proves that a program with -sidecar is to systemd what it is
// without pidleash, and that its PID file stops it nevertheless.
func TestSidecarUnit(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	machine.Install(t, "/run/lab/notify", bed.CompileC(t, "notify.c"))
	for _, kind := range []string{"simple", "exec", "notify"} {
		for _, test := range sidecarTests {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				test.run(&sidecarCase{&bed.ProtocolCase{T: t, Bed: machine, Unit: "sidecar-" + kind + "-" + test.name}, kind})
			})
		}
	}
	for _, test := range sidecarProtocolTests {
		t.Run(test.name, func(t *testing.T) {
			test.run(&sidecarCase{&bed.ProtocolCase{T: t, Bed: machine, Unit: "sidecar-" + test.name}, "notify"})
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
	*bed.ProtocolCase
	kind string // Type= of its service
}

// up starts a program beside pidleash and returns when the unit is active.
func (c *sidecarCase) up(settings string) *bed.LedUnit {
	c.Helper()
	u := c.Led(c.Unit, besideProgram, "Type="+c.kind+"\n"+settings)
	c.ready(u)
	return u
}

// ready has the program say that it is up, where systemd wants to hear it.
func (c *sidecarCase) ready(u *bed.LedUnit) {
	c.Helper()
	if c.kind == "notify" {
		u.Want("ActiveState", "activating")
		u.Send("READY=1")
	}
	u.Await("ActiveState", "active")
}

func sidecarStart(c *sidecarCase) {
	u := c.up("")
	u.IsMain()
	u.Watchdog()
	u.Content()
	u.Silent()
	u.Obey("env SYSTEMD_EXEC_PID", u.PID)
}

func sidecarExit(c *sidecarCase) {
	u := c.up("Restart=on-failure\nRestartSec=0\n" + c.SayEnd())
	first := u.PID
	u.Program.Do("exit 3")
	if end := u.Program.Says(); end != "exit-code exited 3" {
		c.Errorf("%s ended with %q, want exit code 3", u.Name, end)
	}
	u.Running()
	c.ready(u)
	u.Restarted(first)
}

// sidecarCrash: systemd sees the real end, and so does the watchdog where the
// kernel tells.
func sidecarCrash(c *sidecarCase) {
	u := c.up("")
	u.Program.Do("kill 11")
	u.Over("failed", "signal")
	u.Want("ExecMainCode", "2") // CLD_KILLED
	u.Want("ExecMainStatus", "11")
	want := []string{"pidleash: PID " + u.PID + " ended by SIGSEGV"}
	if !tellsEnd() {
		want = nil
	}
	if lines := u.Messages(); !slices.Equal(lines, want) {
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
	c.Bed.Remove(c, u.PIDFile)
	stoppedByRemoval(u)
}

// stoppedByRemoval checks the end of a unit whose file was removed.
func stoppedByRemoval(u *bed.LedUnit) {
	u.T.Helper()
	u.Over("inactive", "success")
	u.Want("ExecMainCode", "2") // CLD_KILLED
	u.Want("ExecMainStatus", "15")
	lines := u.Messages()
	if len(lines) != 1 || !strings.Contains(lines[0], u.PIDFile+": removed") {
		u.T.Errorf("pidleash's lines %q, want one: %s is removed", lines, u.PIDFile)
	}
}

func sidecarStop(c *sidecarCase) {
	u := c.up("")
	u.IsTermedOnce()
	u.Silent()
	u.Content()
}

func sidecarStopAtOnce(c *sidecarCase) {
	u := &bed.LedUnit{PIDFile: "/run/lab/" + c.Unit + ".pid"}
	u.SystemdUnit = c.Bed.Unit(c, c.Unit+".service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType="+c.kind+
		"\nExecStart=/run/lab/pidleash -sidecar -pidfile "+u.PIDFile+" -- sleep infinity\n")
	u.StopsAtOnce()
}

// sidecarTermWatchdog: the watchdog stays as long as the program does.
func sidecarTermWatchdog(c *sidecarCase) {
	u := c.up("")
	watchdog := u.Watchdog()
	for _, sig := range []string{"TERM", "INT", "HUP"} {
		c.Bed.Signal(c, sig, watchdog)
	}
	u.Obey("env NO_SUCH", "-")
	u.IsMain()
	if again := u.Watchdog(); again != watchdog {
		c.Errorf("the watchdog is %s, was %s", again, watchdog)
	}
	c.Bed.Remove(c, u.PIDFile)
	stoppedByRemoval(u)
}

// sidecarKilledWatchdog: the file it leaves is stale to the next start.
func sidecarKilledWatchdog(c *sidecarCase) {
	u := c.up("")
	watchdog := u.Watchdog()
	c.Bed.Signal(c, "KILL", watchdog)
	c.Bed.AwaitGone(c, watchdog)
	u.Obey("env NO_SUCH", "-")
	u.IsMain()
	u.Must("stop")
	u.Want("ActiveState", "inactive")
	u.Must("start", "--no-block")
	u.Running()
	c.ready(u)
	u.IsMain()
	u.Watchdog()
	u.Must("stop")
	u.Over("inactive", "success")
}

func sidecarNotExecutable(c *sidecarCase) {
	u := &bed.LedUnit{PIDFile: "/run/lab/" + c.Unit + ".pid"}
	u.SystemdUnit = c.Bed.Unit(c, c.Unit+".service", "[Service]\nType="+c.kind+
		"\nExecStart=/run/lab/pidleash -sidecar -pidfile "+u.PIDFile+" -- /etc/passwd\n")
	// Only Type=notify waits for more than the execution of pidleash.
	_, _ = u.Systemctl("start")
	u.FailedFor(`/etc/passwd`)
	u.Want("ExecMainStatus", "126")
}

// sidecarSockets: what systemd hands over is the program's without any help.
func sidecarSockets(c *sidecarCase) {
	pidfile, socket := "/run/lab/"+c.Unit+".pid", "/run/lab/"+c.Unit+".socket"
	service := c.Bed.Unit(c, c.Unit+".service", "[Service]\nExecStart=/run/lab/pidleash -sidecar -pidfile "+pidfile+" -- /run/lab/notify serve\n")
	c.Bed.Unit(c, c.Unit+".socket", "[Socket]\nListenStream="+socket+"\nFileDescriptorName=web\n").Must("start")
	answer := bed.Dial(c, c.Bed.Path(socket))
	words := regexp.MustCompile(`^pid (\d+) socket 0 right 1 web\n$`).FindStringSubmatch(answer)
	if words == nil {
		c.Fatalf("the server answers %q", answer)
	}
	u := &bed.LedUnit{SystemdUnit: service, PIDFile: pidfile, PID: words[1]}
	u.IsMain()
	u.Silent()
	// Else the next connection starts it again.
	c.Bed.Systemctl(c, "stop", c.Unit+".socket")
	c.Bed.Remove(c, pidfile)
	u.Over("inactive", "success")
}

// sidecarWatchdog: a program that pings lives on, and is caught when it stops. Its
// SIGABRT goes to the watchdog, too.
func sidecarWatchdog(c *sidecarCase) {
	u := c.up("WatchdogSec=2s\n")
	u.Obey("env WATCHDOG_PID", u.PID)
	first := u.Property("WatchdogTimestampMonotonic")
	u.Obey("ping 100 30", "done")
	u.Read()
	u.Want("ActiveState", "active")
	if now := u.Property("WatchdogTimestampMonotonic"); now == first {
		c.Errorf("systemd has seen no ping")
	}
	u.Over("failed", "watchdog")
	u.Want("ExecMainStatus", strconv.Itoa(int(unix.SIGABRT)))
	if lines := u.Messages(); len(lines) > 1 {
		c.Errorf("pidleash's lines %q, want none but one about the end", lines)
	}
	for _, line := range u.Journal() {
		if strings.Contains(line, "goroutine") {
			c.Errorf("the watchdog has died loudly: %q", line)
		}
	}
}

func sidecarReload(c *sidecarCase) {
	u := c.up("ExecReload=/bin/kill -HUP $MAINPID\n")
	u.Obey("count", "done")
	u.Must("reload")
	u.Mark("main", "RTMIN+5")
	if got := u.Program.Says(); got != "HUP 0+1" {
		c.Errorf("the program has got %q by a reload, want one HUP", got)
	}
	bed.StopUnit(u)
	u.Program.Do("exit 0")
	u.Over("inactive", "success")
}

// TestBesideAsPID1: everything ends with PID 1, so that nothing can be beside it.
func TestBesideAsPID1(t *testing.T) {
	before := bed.InPIDNamespace(t)
	for _, mode := range []string{"-daemon", "-sidecar"} {
		dir := bed.OpenDir(t)
		r := bed.Start(t, bed.How{Before: before}, mode, "-pidfile", filepath.Join(dir, "pid"), "--", "true")
		r.ExpectCode(t, 125)
		r.ExpectOneLine(t, `process 1`)
		bed.ExpectEmptyDir(t, dir)
	}
}
