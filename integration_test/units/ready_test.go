package units

import (
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// TestReadyUnit proves that a program which speaks no protocol can be in a
// Type=notify unit: pidleash says when it is up.
func TestReadyUnit(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	for _, test := range readyTests {
		t.Run(test.name, func(t *testing.T) {
			c := &bed.ProtocolCase{T: t, Bed: machine, Unit: "ready-" + test.name}
			test.run(c)
		})
	}
}

var readyTests = []struct {
	name string
	run  func(*bed.ProtocolCase)
}{
	{"log", readyLog},
	{"fd", readyFD},
	{"after", readyAfter},
	{"fails", readyFails},
	{"never", readyNever},
}

// legacy starts a program in a Type=notify unit.
func legacy(c *bed.ProtocolCase, options string) *bed.LedUnit {
	c.Helper()
	u := &bed.LedUnit{Program: c.Bed.Program(c, c.Unit), PIDFile: "/run/lab/" + c.Unit + ".pid"}
	u.SystemdUnit = c.Bed.Unit(c, c.Unit+".service", "[Service]\nType=notify\nKillMode=mixed\nExecStart=/run/lab/pidleash -pidfile "+
		u.PIDFile+" "+options+" -- "+u.Program.Command+"\n")
	u.Must("start", "--no-block")
	u.Running()
	return u
}

// stops ends a unit with pidleash as its main process.
func stops(u *bed.LedUnit) {
	u.T.Helper()
	u.Want("ActiveState", "active")
	u.Must("stop")
	u.Over("inactive", "success")
	u.Silent()
}

func readyLog(c *bed.ProtocolCase) {
	log := "/run/lab/" + c.Unit + ".log"
	c.Bed.Write(c, log, "now listening on port 80\n") // of an earlier run
	u := legacy(c, `"-ready" "log:listening on port [0-9]+" -stdout `+log)
	for _, line := range []string{"starting", "not listening"} {
		u.Obey(`echo `+line+`; echo on >"$1.out"`, "on")
	}
	before := bed.Monotonic(c)
	u.Program.Do("echo now listening on port 81")
	u.ActiveSince(before)
	if text := c.Bed.Read(c, log); !strings.HasSuffix(text, "port 80\nstarting\nnot listening\nnow listening on port 81\n") {
		c.Errorf("%s says %q", log, text)
	}
	stops(u)
}

// readyFD: descriptor 3 is the FIFO of the program's own.
func readyFD(c *bed.ProtocolCase) {
	u := legacy(c, "-ready fd:4")
	u.Obey(`printf almost >&4; echo on >"$1.out"`, "on")
	before := bed.Monotonic(c)
	u.Program.Do("echo >&4")
	u.ActiveSince(before)
	stops(u)
}

func readyAfter(c *bed.ProtocolCase) {
	u := legacy(c, "-ready 500ms")
	u.ActiveSince(u.Moment("ExecMainStartTimestampMonotonic") + (500 * time.Millisecond).Microseconds())
	stops(u)
}

func readyFails(c *bed.ProtocolCase) {
	u := legacy(c, "-ready 1h -start-timeout 2h")
	u.Program.Do("exit 7")
	u.Over("failed", "exit-code")
	u.Want("ExecMainStatus", "7")
	u.Content()
}

func readyNever(c *bed.ProtocolCase) {
	u := legacy(c, "-ready fd:4 -start-timeout 1s")
	u.FailedFor(`is not up after 1s`)
	u.Want("ExecMainStatus", "125")
}
