package forking

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// TestForkingUnit proves that a Type=forking unit behind -daemon is as good as one
// whose program is a well-behaved daemon, under a real systemd and with its
// defaults: pidleash finds the PID file in $PIDFILE.
func TestForkingUnit(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	machine.Install(t, "/run/lab/notify", bed.CompileC(t, "notify.c"))
	machine.Write(t, "/run/lab/forks", forksScript)
	machine.Write(t, "/run/lab/writes", writesScript)
	for i := range forkingVariants {
		variant := &forkingVariants[i]
		for _, test := range forkingTests {
			t.Run(variant.name+"/"+test.name, func(t *testing.T) {
				name := "forking-" + variant.name + "-" + test.name
				test.run(&forkingCase{&bed.ProtocolCase{T: t, Bed: machine, Unit: name}, variant})
			})
		}
	}
	for _, mode := range []string{"control-group", "mixed"} {
		t.Run("unknown/"+mode, func(t *testing.T) { endsUnknownDaemon(t, machine, mode) })
	}
}

var forkingVariants = []forkingVariant{
	{"stays", "-daemon", "", `ended with code 7`},
	{"forks", "-daemon -forking", "/bin/sh /run/lab/forks ", `ended with code 7|left no daemon`},
	{"writes", "-daemon -forking", "/bin/sh /run/lab/writes ", `ended with code 7|left no daemon`},
}

// A forkingVariant is a kind of program behind -daemon.
type forkingVariant struct {
	name    string
	options string
	starter string // what turns the program into a daemon, if it does not stay
	failed  string // what may be said of a program that exits with 7 at once
}

// forksScript turns its arguments into a daemon; writesScript into one that
// writes a PID file.
const (
	forksScript  = `setsid "$@" &` + "\n"
	writesScript = `setsid sh -c 'echo $$ >"$PIDFILE"; exec "$@"' sh "$@" &` + "\n"
)

var forkingTests = []struct {
	name string
	run  func(*forkingCase)
}{
	{"start", forkingStart},
	{"exit", forkingExit},
	{"exit-when-up", forkingExitWhenUp},
	{"exit-at-once", forkingExitAtOnce},
	{"crash", forkingCrash},
	{"remove", forkingRemove},
	{"stop", forkingStop},
	{"stop-at-once", forkingStopAtOnce},
	{"fails", forkingFails},
	{"fails-later", forkingFailsLater},
	{"never-ready", forkingNeverReady},
	{"closes-ready", forkingClosesReady},
	{"ready", forkingReady},
	{"not-executable", forkingNotExecutable},
	{"killed-watchdog", forkingKilledWatchdog},
}

// A forkingCase is one test with one kind of program.
type forkingCase struct {
	*bed.ProtocolCase
	variant *forkingVariant
}

// service prepares a unit for a command line behind pidleash.
func (c *forkingCase) service(options, command, settings string) *bed.LedUnit {
	c.Helper()
	u := &bed.LedUnit{PIDFile: "/run/lab/" + c.Unit + ".pid"}
	u.SystemdUnit = c.Bed.Unit(c, c.Unit+".service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=forking\nPIDFile="+u.PIDFile+
		"\nExecStart=/run/lab/pidleash "+c.variant.options+" "+options+"-- "+command+"\n"+settings)
	return u
}

// prepare makes a unit whose program does what the test says.
func (c *forkingCase) prepare(options, settings string) *bed.LedUnit {
	c.Helper()
	program := c.Bed.Program(c, c.Unit) // outlives the unit
	u := c.service(options, c.variant.starter+"/run/lab/notify led /run/lab/"+c.Unit, settings)
	u.Program = program
	return u
}

// up starts such a unit.
func (c *forkingCase) up(settings string) *bed.LedUnit {
	c.Helper()
	u := c.prepare("", settings)
	u.Must("start")
	u.Running()
	return u
}

func forkingStart(c *forkingCase) {
	u := c.up("")
	u.IsMain()
	u.Watchdog()
	u.Content()
	u.Silent()
}

// forkingExit: a program fails that has run for longer than the watchdog calls early.
func forkingExit(c *forkingCase) {
	u := c.up("Restart=on-failure\nRestartSec=0\n" + c.SayEnd())
	late := time.Now().Add(1200 * time.Millisecond)
	first := u.PID
	u.IsMain()
	time.Sleep(time.Until(late))
	restartsAfterExit(u, first)
}

func forkingExitWhenUp(c *forkingCase) {
	u := c.up("Restart=on-failure\nRestartSec=0\n" + c.SayEnd())
	restartsAfterExit(u, u.PID)
}

// restartsAfterExit has the program fail and checks that systemd sees what has
// happened and starts it again.
func restartsAfterExit(u *bed.LedUnit, first string) {
	u.T.Helper()
	u.Program.Do("exit 3")
	if end := u.Program.Says(); end != "exit-code exited 3" {
		u.T.Errorf("%s ended with %q, want exit code 3", u.Name, end)
	}
	u.Running()
	u.Restarted(first)
}

// forkingExitAtOnce: the program's first act is to fail. Whether it was up by then
// is nobody's to say; that it has failed is.
func forkingExitAtOnce(c *forkingCase) {
	u := c.prepare("", "Restart=on-failure\nRestartSec=0\n"+c.SayEnd())
	u.Program.Do("exit 3")
	u.Must("start", "--no-block")
	u.Running()
	first := u.PID
	if end := u.Program.Says(); end != "exit-code exited 3" && end != "exit-code" {
		c.Errorf("%s ended with %q, want exit code 3", u.Name, end)
	}
	u.Running()
	u.Restarted(first)
}

func forkingCrash(c *forkingCase) {
	u := c.up("")
	u.Program.Do("kill 11")
	u.Over("failed", "signal")
	u.Want("ExecMainStatus", "11")
}

func forkingRemove(c *forkingCase) {
	u := c.up("")
	c.Bed.Remove(c, u.PIDFile)
	u.Over("inactive", "success")
	u.Want("ExecMainCode", "2") // CLD_KILLED
	u.Want("ExecMainStatus", "15")
	if lines := u.Messages("-p", "warning..warning"); !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, u.PIDFile+": removed") }) {
		c.Errorf("pidleash's lines %q, want one: %s is removed", lines, u.PIDFile)
	}
	u.Content()
}

func forkingStop(c *forkingCase) {
	u := c.up("")
	u.IsTermedOnce()
	u.Silent()
	u.Content()
}

func forkingStopAtOnce(c *forkingCase) {
	u := c.service("", c.variant.starter+"sleep infinity", "")
	u.StopsAtOnce()
}

// forkingFails: the program fails at once. It can be so slow in this that the start
// is over, so that it is an end like any other.
func forkingFails(c *forkingCase) {
	u := c.service("", c.variant.starter+"/bin/sh -c 'exit 7'", "")
	if _, code := u.Systemctl("start"); code != 0 {
		u.FailedFor(c.variant.failed)
		return
	}
	u.Over("failed", "exit-code")
	u.Want("ExecMainStatus", "7")
}

// forkingFailsLater: while it is still waited for, or looked for.
func forkingFailsLater(c *forkingCase) {
	u := c.prepare("-ready 1h -start-timeout 2h ", "")
	u.Must("start", "--no-block")
	u.Running()
	u.Program.Do("exit 7")
	u.FailedFor(`ended with code 7 before it was (up|known)|left no daemon`)
}

func forkingNeverReady(c *forkingCase) {
	u := c.prepare("-ready fd:3 -start-timeout 1s ", "")
	u.Refused(`is not up after 1s`)
}

func forkingClosesReady(c *forkingCase) {
	u := c.service("-ready fd:3 ", c.variant.starter+"/bin/sh -c 'exec 3>&-; exec sleep infinity'", "")
	u.Refused(`descriptor 3`)
}

func forkingReady(c *forkingCase) {
	program := c.Bed.Program(c, c.Unit)
	u := c.service("-ready fd:4 ", c.variant.starter+program.Command, "")
	u.Program = program
	u.Must("start", "--no-block")
	u.Running()
	before := bed.Monotonic(c)
	program.Do("echo >&4")
	u.ActiveSince(before)
	u.IsMain()
	u.Content()
}

func forkingNotExecutable(c *forkingCase) {
	c.service("", "/etc/passwd", "").Refused(`/etc/passwd`)
}

// forkingKilledWatchdog: the program goes on without its watchdog, and the unit too.
func forkingKilledWatchdog(c *forkingCase) {
	u := c.up("")
	watchdog := u.Watchdog()
	c.Bed.Signal(c, "KILL", watchdog)
	c.Bed.AwaitGone(c, watchdog)
	u.IsMain()
	u.IsTermedOnce()
	u.Must("start")
	u.Running()
	u.IsMain()
	u.Watchdog()
	u.Must("stop")
	u.Over("inactive", "success")
	u.Content()
}

// A daemon that is not known when its pidleash is killed is not left to nobody: systemd ends what is left of the unit.
func endsUnknownDaemon(t *testing.T, machine *bed.Systemd, killMode string) {
	t.Helper()
	name := "forking-unknown-" + killMode
	u := machine.Unit(t, name+".service", "[Service]\nType=exec\nKillMode="+killMode+
		"\nExecStart=/run/lab/pidleash -forking -pidfile /run/lab/"+name+".pid -- sh -c 'sleep 600 & exec sleep 50'\n")
	u.Must("start")
	bed.Await(t, "a daemon beside the program", func() bool { return len(u.Processes()) == 3 })
	machine.Signal(t, "KILL", u.Property("MainPID"))
	u.Await("ActiveState", "failed")
	if left := u.Processes(); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}
