package bed

import (
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A ProtocolCase is one test.
type ProtocolCase struct {
	*testing.T
	Bed  *Systemd
	Unit string // of its units and files, nobody else's
}

// A LedUnit is a service whose program does what the test says, see notify.c.
type LedUnit struct {
	*SystemdUnit
	Program *SystemdProgram
	PIDFile string
	PID     string // the program's
}

// Led starts a program that can be led, in a service with these settings, and
// returns when it runs. It has said nothing to systemd.
func (c *ProtocolCase) Led(name, command, settings string) *LedUnit {
	c.Helper()
	u := &LedUnit{PIDFile: "/run/lab/" + name + ".pid"}
	u.Program = c.Bed.Program(c, name)
	u.Program.Command = "/run/lab/notify led /run/lab/" + name
	for _, file := range []*os.File{u.Program.in, u.Program.out} {
		if err := file.Chmod(0o666); err != nil { // the umask has narrowed it
			c.Fatal(err)
		}
	}
	if strings.Contains(command, "%s") {
		command = fmt.Sprintf(command, u.PIDFile)
	}
	u.SystemdUnit = c.Bed.Unit(c, name+".service", "[Service]\nExecStart="+command+u.Program.Command+"\n"+settings)
	u.Must("start", "--no-block")
	u.Running()
	return u
}

// Running waits for a start of the program.
func (u *LedUnit) Running() {
	u.T.Helper()
	u.PID = u.Program.Says()
}

// Ask gives an order and returns the answer.
func (u *LedUnit) Ask(order string) string {
	u.T.Helper()
	u.Program.Do(order)
	return u.Program.Says()
}

// Obey gives an order that is answered in this way.
func (u *LedUnit) Obey(order, answer string) {
	u.T.Helper()
	if got := u.Ask(order); got != answer {
		u.T.Fatalf("%s: the program answers %q to %q, want %q", u.Name, got, order, answer)
	}
}

// Send lets the program send a message, and returns when systemd has read it.
func (u *LedUnit) Send(text string) {
	u.T.Helper()
	u.Obey("send "+text, "done")
	u.Read()
}

// Read returns when systemd has read all that the program has sent: this is
// sd_notify_barrier(3), so every use is a test of BARRIER=, too.
func (u *LedUnit) Read() {
	u.T.Helper()
	u.Obey("barrier", "passed")
}

// Over checks that the unit ends in this way.
func (u *LedUnit) Over(state, result string) {
	u.T.Helper()
	(&LeashedUnit{u.SystemdUnit, u.Program, u.PIDFile}).Over(state, result)
}

// Dial connects to a socket and returns what comes.
func Dial(t testing.TB, path string) string {
	t.Helper()
	conn, err := net.DialTimeout("unix", path, Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(answer)
}

// StopUnit returns when systemd has sent the signals of a stop.
func StopUnit(u *LedUnit) {
	u.T.Helper()
	u.Must("stop", "--no-block")
	// It enters this state after it has sent the signals.
	u.Await("SubState", "stop-sigterm")
}

// stopAtOnceTries is how often a unit is stopped somewhere on its way up.
const stopAtOnceTries = 30

// StopsAtOnce stops a unit again and again, wherever it is on its way up.
func (u *LedUnit) StopsAtOnce() {
	u.T.Helper()
	for i := range stopAtOnceTries {
		// The stop may come before the start: hence another one.
		delay := fmt.Sprintf("0.%04d", i*80/stopAtOnceTries)
		u.Bed.Run(u.T, "sh", "-c", `(sleep "$1"; exec systemctl stop "$0") & systemctl start --no-block "$0"; wait`, u.Name, delay)
		u.Must("stop")
		u.Over("inactive", "success")
		if u.T.Failed() {
			u.T.Logf("at try %d, after %s s", i, delay)
			return
		}
	}
	u.Silent()
	u.Content()
}

// Monotonic is the time in microseconds as systemd gives it.
func Monotonic(t testing.TB) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// A SystemdCase is one test in one type of service.
type SystemdCase struct {
	*testing.T
	Bed  *Systemd
	Kind string // Type= of its services
	Unit string // of its unit and files, nobody else's
}

// A LeashedUnit is a service that runs a program behind pidleash.
type LeashedUnit struct {
	*SystemdUnit
	Program *SystemdProgram
	PIDFile string
}

// Over checks that the unit has come to its end in this way, and that nothing
// is left of it.
func (u *LeashedUnit) Over(state, result string) {
	u.T.Helper()
	u.Await("ActiveState", "inactive", "failed")
	u.Want("ActiveState", state)
	u.Want("Result", result)
	if u.Bed.Exists(u.T, u.PIDFile) {
		u.T.Errorf("%s is left behind: %q", u.PIDFile, u.Bed.Read(u.T, u.PIDFile))
	}
	if left := u.Processes(); len(left) > 0 {
		u.T.Errorf("%s: processes %v are left behind", u.Name, left)
	}
}

// SayEnd has a unit tell its program's FIFO how each run has ended, in the
// words of systemd.
func (c *SystemdCase) SayEnd() string {
	return "ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS >/run/lab/" + c.Unit + ".out'\n"
}

// IsMain checks that systemd and the PID file know the program.
func (u *LedUnit) IsMain() {
	u.T.Helper()
	u.Want("ActiveState", "active")
	u.Want("MainPID", u.PID)
	if got := u.Bed.Read(u.T, u.PIDFile); got != u.PID+"\n" {
		u.T.Errorf("%s says %q, the program's PID is %s", u.PIDFile, got, u.PID)
	}
}

// Watchdog returns the PID of the only other process of the unit.
func (u *LedUnit) Watchdog() string {
	u.T.Helper()
	others := slices.DeleteFunc(u.Processes(), func(pid string) bool { return pid == u.PID })
	if len(others) != 1 {
		u.T.Fatalf("%s: processes %v beside the program %s, want one", u.Name, others, u.PID)
	}
	if name := u.Bed.Comm(u.T, others[0]); name != "pidleash" {
		u.T.Errorf("the watchdog %s is %q, want pidleash", others[0], name)
	}
	return others[0]
}

// IsTermedOnce stops a unit whose program counts signals, and checks that systemd
// has sent one TERM and nobody else any.
func (u *LedUnit) IsTermedOnce() {
	u.T.Helper()
	u.Obey("count", "done")
	StopUnit(u)
	u.Mark("main", "RTMIN+5")
	if got := u.Program.Says(); got != "TERM 1+0, CONT 1+0" {
		u.T.Errorf("%s: the program has got %q (from systemd + from others), want one TERM", u.Name, got)
	}
	u.Program.Do("exit 0")
	u.Over("inactive", "success")
}

// SayEnd has a unit tell how each run has ended, see SystemdCase.SayEnd.
func (c *ProtocolCase) SayEnd() string {
	return (&SystemdCase{Unit: c.Unit}).SayEnd()
}

// Restarted checks that the unit is up again, with a new program.
func (u *LedUnit) Restarted(first string) {
	u.T.Helper()
	u.Await("ActiveState", "active")
	if u.PID == first {
		u.T.Errorf("%s: the program has PID %s before and after the restart", u.Name, first)
	}
	u.IsMain()
	u.Want("NRestarts", "1")
	u.Content()
}

// Refused starts a unit that cannot come up.
func (u *LedUnit) Refused(reason string) {
	u.T.Helper()
	if out, code := u.Systemctl("start"); code == 0 {
		u.T.Errorf("systemctl start %s: status 0: %s", u.Name, out)
	}
	u.FailedFor(reason)
}

// FailedFor checks that it was pidleash that has called the start a failure, not
// systemd after its time limit.
func (u *LedUnit) FailedFor(reason string) {
	u.T.Helper()
	u.Over("failed", "exit-code")
	lines := u.Messages("-p", "err..err")
	if len(lines) != 1 || !regexp.MustCompile(reason).MatchString(lines[0]) {
		u.T.Errorf("%s: pidleash's lines %q, want one that matches %s", u.Name, lines, reason)
	}
	u.Content()
}
