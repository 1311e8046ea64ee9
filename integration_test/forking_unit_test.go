package integration

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestForkingUnit proves that a Type=forking unit behind -daemon is as good as one
// whose program is a well-behaved daemon, under a real systemd and with its
// defaults: pidleash finds the PID file in $PIDFILE.
func TestForkingUnit(t *testing.T) {
	bed := bootSystemd(t, nil)
	bed.install(t, "/run/lab/notify", notifyProgram(t))
	bed.write(t, "/run/lab/forks", forksScript)
	bed.write(t, "/run/lab/writes", writesScript)
	for i := range forkingVariants {
		variant := &forkingVariants[i]
		for _, test := range forkingTests {
			t.Run(variant.name+"/"+test.name, func(t *testing.T) {
				name := "forking-" + variant.name + "-" + test.name
				test.run(&forkingCase{&protocolCase{t, bed, name}, variant})
			})
		}
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
	*protocolCase
	variant *forkingVariant
}

// install puts a binary into the bed.
func (b *systemdBed) install(t testing.TB, inside, binary string) {
	t.Helper()
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, b.path(inside), string(text), 0o755)
}

// service prepares a unit for a command line behind pidleash.
func (c *forkingCase) service(options, command, settings string) *ledUnit {
	c.Helper()
	u := &ledUnit{pidfile: "/run/lab/" + c.name + ".pid"}
	u.systemdUnit = c.bed.unit(c, c.name+".service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=forking\nPIDFile="+u.pidfile+
		"\nExecStart=/run/lab/pidleash "+c.variant.options+" "+options+"-- "+command+"\n"+settings)
	return u
}

// prepare makes a unit whose program does what the test says.
func (c *forkingCase) prepare(options, settings string) *ledUnit {
	c.Helper()
	program := c.bed.program(c, c.name) // outlives the unit
	u := c.service(options, c.variant.starter+"/run/lab/notify led /run/lab/"+c.name, settings)
	u.program = program
	return u
}

// up starts such a unit.
func (c *forkingCase) up(settings string) *ledUnit {
	c.Helper()
	u := c.prepare("", settings)
	u.must("start")
	u.running()
	return u
}

// isMain checks that systemd and the PID file know the program.
func (u *ledUnit) isMain() {
	u.t.Helper()
	u.want("ActiveState", "active")
	u.want("MainPID", u.pid)
	if got := u.bed.read(u.t, u.pidfile); got != u.pid+"\n" {
		u.t.Errorf("%s says %q, the program's PID is %s", u.pidfile, got, u.pid)
	}
}

// content checks that systemd has had nothing to complain of.
func (u *systemdUnit) content() {
	u.t.Helper()
	for _, line := range u.journal() {
		for _, complaint := range []string{"not our child", "PID file", "protocol", "timed out", "goroutine"} {
			if strings.Contains(line, complaint) && !strings.HasPrefix(line, "pidleash: ") {
				u.t.Errorf("%s: the journal has %q", u.name, line)
			}
		}
	}
}

// watchdog returns the PID of the only other process of the unit.
func (u *ledUnit) watchdog() string {
	u.t.Helper()
	others := slices.DeleteFunc(u.processes(), func(pid string) bool { return pid == u.pid })
	if len(others) != 1 {
		u.t.Fatalf("%s: processes %v beside the program %s, want one", u.name, others, u.pid)
	}
	if name := u.bed.comm(u.t, others[0]); name != "pidleash" {
		u.t.Errorf("the watchdog %s is %q, want pidleash", others[0], name)
	}
	return others[0]
}

// signal sends a signal to a process inside.
func (b *systemdBed) signal(t testing.TB, sig, pid string) {
	t.Helper()
	if out, code := b.run(t, "/bin/kill", "-"+sig, pid); code != 0 {
		t.Fatalf("kill -%s %s: status %d: %s", sig, pid, code, out)
	}
}

// awaitGone waits for the end of a process inside.
func (b *systemdBed) awaitGone(t testing.TB, pid string) {
	t.Helper()
	await(t, "the end of PID "+pid, func() bool { return !b.exists(t, "/proc/"+pid) })
}

// isTermedOnce stops a unit whose program counts signals, and checks that systemd
// has sent one TERM and nobody else any.
func (u *ledUnit) isTermedOnce() {
	u.t.Helper()
	u.obey("count", "done")
	stopUnit(u)
	u.mark("main", "RTMIN+5")
	if got := u.program.says(); got != "TERM 1+0, CONT 1+0" {
		u.t.Errorf("%s: the program has got %q (from systemd + from others), want one TERM", u.name, got)
	}
	u.program.do("exit 0")
	u.over("inactive", "success")
}

// sayEnd has a unit tell how each run has ended, see systemdCase.sayEnd.
func (c *protocolCase) sayEnd() string {
	return (&systemdCase{name: c.name}).sayEnd()
}

func forkingStart(c *forkingCase) {
	u := c.up("")
	u.isMain()
	u.watchdog()
	u.content()
	u.silent()
}

// forkingExit: a program fails that has run for longer than the watchdog calls early.
func forkingExit(c *forkingCase) {
	u := c.up("Restart=on-failure\nRestartSec=0\n" + c.sayEnd())
	late := time.Now().Add(1200 * time.Millisecond)
	first := u.pid
	u.isMain()
	time.Sleep(time.Until(late))
	u.restartsAfterExit(first)
}

func forkingExitWhenUp(c *forkingCase) {
	u := c.up("Restart=on-failure\nRestartSec=0\n" + c.sayEnd())
	u.restartsAfterExit(u.pid)
}

// restartsAfterExit has the program fail and checks that systemd sees what has
// happened and starts it again.
func (u *ledUnit) restartsAfterExit(first string) {
	u.t.Helper()
	u.program.do("exit 3")
	if end := u.program.says(); end != "exit-code exited 3" {
		u.t.Errorf("%s ended with %q, want exit code 3", u.name, end)
	}
	u.running()
	u.restarted(first)
}

// restarted checks that the unit is up again, with a new program.
func (u *ledUnit) restarted(first string) {
	u.t.Helper()
	u.await("ActiveState", "active")
	if u.pid == first {
		u.t.Errorf("%s: the program has PID %s before and after the restart", u.name, first)
	}
	u.isMain()
	u.want("NRestarts", "1")
	u.content()
}

// forkingExitAtOnce: the program's first act is to fail. Whether it was up by then
// is nobody's to say; that it has failed is.
func forkingExitAtOnce(c *forkingCase) {
	u := c.prepare("", "Restart=on-failure\nRestartSec=0\n"+c.sayEnd())
	u.program.do("exit 3")
	u.must("start", "--no-block")
	u.running()
	first := u.pid
	if end := u.program.says(); end != "exit-code exited 3" && end != "exit-code" {
		c.Errorf("%s ended with %q, want exit code 3", u.name, end)
	}
	u.running()
	u.restarted(first)
}

func forkingCrash(c *forkingCase) {
	u := c.up("")
	u.program.do("kill 11")
	u.over("failed", "signal")
	u.want("ExecMainStatus", "11")
}

func forkingRemove(c *forkingCase) {
	u := c.up("")
	c.bed.remove(c, u.pidfile)
	u.over("inactive", "success")
	u.want("ExecMainCode", "2") // CLD_KILLED
	u.want("ExecMainStatus", "15")
	if lines := u.messages("-p", "warning..warning"); !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, u.pidfile+": removed") }) {
		c.Errorf("pidleash's lines %q, want one: %s is removed", lines, u.pidfile)
	}
	u.content()
}

func forkingStop(c *forkingCase) {
	u := c.up("")
	u.isTermedOnce()
	u.silent()
	u.content()
}

func forkingStopAtOnce(c *forkingCase) {
	u := c.service("", c.variant.starter+"sleep infinity", "")
	u.stopsAtOnce()
}

// refused starts a unit that cannot come up.
func (u *ledUnit) refused(reason string) {
	u.t.Helper()
	if out, code := u.systemctl("start"); code == 0 {
		u.t.Errorf("systemctl start %s: status 0: %s", u.name, out)
	}
	u.failedFor(reason)
}

// failedFor checks that it was pidleash that has called the start a failure, not
// systemd after its time limit.
func (u *ledUnit) failedFor(reason string) {
	u.t.Helper()
	u.over("failed", "exit-code")
	lines := u.messages("-p", "err..err")
	if len(lines) != 1 || !regexp.MustCompile(reason).MatchString(lines[0]) {
		u.t.Errorf("%s: pidleash's lines %q, want one that matches %s", u.name, lines, reason)
	}
	u.content()
}

// forkingFails: the program fails at once. It can be so slow in this that the start
// is over, so that it is an end like any other.
func forkingFails(c *forkingCase) {
	u := c.service("", c.variant.starter+"/bin/sh -c 'exit 7'", "")
	if _, code := u.systemctl("start"); code != 0 {
		u.failedFor(c.variant.failed)
		return
	}
	u.over("failed", "exit-code")
	u.want("ExecMainStatus", "7")
}

// forkingFailsLater: while it is still waited for, or looked for.
func forkingFailsLater(c *forkingCase) {
	u := c.prepare("-ready 1h -start-timeout 2h ", "")
	u.must("start", "--no-block")
	u.running()
	u.program.do("exit 7")
	u.failedFor(`ended with code 7 before it was (up|known)|left no daemon`)
}

func forkingNeverReady(c *forkingCase) {
	u := c.prepare("-ready fd:3 -start-timeout 1s ", "")
	u.refused(`is not up after 1s`)
}

func forkingClosesReady(c *forkingCase) {
	u := c.service("-ready fd:3 ", c.variant.starter+"/bin/sh -c 'exec 3>&-; exec sleep infinity'", "")
	u.refused(`descriptor 3`)
}

func forkingReady(c *forkingCase) {
	program := c.bed.program(c, c.name)
	u := c.service("-ready fd:4 ", c.variant.starter+program.command, "")
	u.program = program
	u.must("start", "--no-block")
	u.running()
	before := monotonic(c)
	program.do("echo >&4")
	u.activeSince(before)
	u.isMain()
	u.content()
}

func forkingNotExecutable(c *forkingCase) {
	c.service("", "/etc/passwd", "").refused(`/etc/passwd`)
}

// forkingKilledWatchdog: the program goes on without its watchdog, and the unit too.
func forkingKilledWatchdog(c *forkingCase) {
	u := c.up("")
	watchdog := u.watchdog()
	c.bed.signal(c, "KILL", watchdog)
	c.bed.awaitGone(c, watchdog)
	u.isMain()
	u.isTermedOnce()
	u.must("start")
	u.running()
	u.isMain()
	u.watchdog()
	u.must("stop")
	u.over("inactive", "success")
	u.content()
}

// The storm is of programs that end at once: such a start has kept systemctl
// waiting for the whole time limit of the unit.
const (
	stormTries = 1000
	stormBatch = 25
	stormUnit  = "[Service]\nType=forking\nTimeoutStartSec=60\nPIDFile=/run/lab/%p-%i.pid\nExecStart=/run/lab/pidleash -daemon -- "
)

// stormUnits are instantiated with 000 to 299, which is 0 to 3 ms to sleepers.
var stormUnits = map[string]string{
	"storm-true@.service":  stormUnit + "/bin/true\n",
	"storm-exit@.service":  stormUnit + "/bin/sh -c 'exit 3'\n",
	"storm-sleep@.service": stormUnit + "/bin/sleep 0.00%i\n",
	"storm-forks@.service": strings.Replace(stormUnit, "-daemon", "-daemon -forking", 1) + "/bin/sh -c 'sleep 0.00%i &'\n",
}

// TestForkingStorm proves that a program that ends at once never hangs its start.
func TestForkingStorm(t *testing.T) {
	bed := bootSystemd(t, stormUnits)
	kinds := []string{"storm-true@", "storm-exit@", "storm-sleep@", "storm-forks@"}
	for first := 0; first < stormTries && !t.Failed(); first += stormBatch {
		var batch []string
		for i := first; i < first+stormBatch; i++ {
			batch = append(batch, fmt.Sprintf("%s%03d.service", kinds[i%len(kinds)], i*3/10))
		}
		bed.storm(t, batch)
	}
	if out, _ := bed.run(t, "find", "/run/lab", "-name", "storm-*"); out != "" {
		t.Errorf("left behind:\n%s", out)
	}
}

// storm starts a batch of units at a time and waits for their ends.
func (b *systemdBed) storm(t *testing.T, batch []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// That a start has failed may be right; that it has not ended is not.
	out, _ := b.command(ctx, append([]string{"systemctl", "--no-pager", "start"}, batch...)...).CombinedOutput()
	if ctx.Err() != nil {
		states, _ := b.systemctl(t, "list-units", "--all", "storm-*")
		t.Errorf("systemctl start %v hangs:\n%s\n%s", batch, out, states)
		return
	}
	await(t, "the end of all programs", func() bool {
		out, _ := b.systemctl(t, "list-units", "--quiet", "--plain", "--state=activating,active,deactivating", "storm-*.service")
		return strings.TrimSpace(out) == ""
	})
	out2, _ := b.systemctl(t, "show", "--property=Id,Result", "storm-*")
	for _, one := range strings.Split(out2, "\n\n") {
		if strings.Contains(one, "Result=") && !strings.Contains(one, "Result=success") && !strings.Contains(one, "Result=exit-code") {
			t.Errorf("%s\n%s", one, b.journalOf(t, one))
		}
	}
	b.systemctl(t, "reset-failed")
}

// journalOf returns what was said of the unit with this "Id=".
func (b *systemdBed) journalOf(t *testing.T, properties string) string {
	t.Helper()
	_, name, _ := strings.Cut(properties, "Id=")
	name, _, _ = strings.Cut(name, "\n")
	return strings.Join((&systemdUnit{t, b, name}).journal("-o", "short-monotonic"), "\n")
}
