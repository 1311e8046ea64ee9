package units

import (
	"fmt"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// TestSupervisorUnit proves a Type=forking unit in which pidleash itself is the main
// process, in the background, because it starts its program again: PIDFile= names the
// file of -supervisor-pidfile.
func TestSupervisorUnit(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	machine.Install(t, "/run/lab/notify", bed.CompileC(t, "notify.c"))
	for _, test := range []struct {
		name string
		run  func(*supervisorCase)
	}{
		{"restart", supervisorRestart},
		{"remove", supervisorRemove},
		{"stop", supervisorStop},
		{"stop-in-back-off", supervisorStopInBackOff},
		{"remove-in-back-off", supervisorRemoveInBackOff},
		{"end", supervisorEnd},
		{"fails", supervisorFails},
		{"fails-later", supervisorFailsLater},
		{"not-executable", supervisorNotExecutable},
		{"killed", supervisorKilled},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&supervisorCase{&bed.ProtocolCase{T: t, Bed: machine, Unit: "supervisor-" + test.name}})
		})
	}
}

type supervisorCase struct{ *bed.ProtocolCase }

// supervisedUnit is a unit whose main process is pidleash. Its own PID file is
// pidfile with ".pidleash" behind it.
type supervisedUnit struct {
	*bed.LedUnit
	pidleash string
}

func (c *supervisorCase) service(options, command, settings string) *supervisedUnit {
	c.Helper()
	u := &bed.LedUnit{PIDFile: "/run/lab/" + c.Unit + ".pid"}
	u.SystemdUnit = c.Bed.Unit(c, c.Unit+".service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=forking\nKillMode=mixed\nPIDFile="+u.PIDFile+
		".pidleash\nExecStart=/run/lab/pidleash -daemon -restart on-failure -pidfile "+u.PIDFile+" -supervisor-pidfile "+u.PIDFile+".pidleash "+
		options+" -- "+command+"\n"+settings)
	return &supervisedUnit{LedUnit: u}
}

// prepare makes a unit whose program does what the test says.
func (c *supervisorCase) prepare(options, settings string) *supervisedUnit {
	c.Helper()
	program := c.Bed.Program(c, c.Unit)
	u := c.service(options, "/run/lab/notify led /run/lab/"+c.Unit, settings)
	u.Program = program
	return u
}

func (c *supervisorCase) up(options string) *supervisedUnit {
	c.Helper()
	u := c.prepare(options, "")
	u.Must("start")
	u.Running()
	u.isSupervised()
	return u
}

// isSupervised checks who is who.
func (u *supervisedUnit) isSupervised() {
	u.T.Helper()
	u.Want("ActiveState", "active")
	u.pidleash = strings.TrimSpace(u.Bed.Read(u.T, u.PIDFile+".pidleash"))
	u.Want("MainPID", u.pidleash)
	if got := u.Bed.Read(u.T, u.PIDFile); got != u.PID+"\n" {
		u.T.Errorf("%s says %q, the program's PID is %s", u.PIDFile, got, u.PID)
	}
	if name := u.Bed.Comm(u.T, u.pidleash); name != "pidleash" {
		u.T.Errorf("the main process is %q, want pidleash", name)
	}
}

// isOver checks that nothing is left.
func (u *supervisedUnit) isOver(state, result string) {
	u.T.Helper()
	u.Over(state, result)
	for _, file := range []string{u.PIDFile, u.PIDFile + ".pidleash"} {
		if u.Bed.Exists(u.T, file) {
			u.T.Errorf("%s is left", file)
		}
	}
	u.Content()
}

// inBackOff has the program fail and waits until the PID file is a placeholder.
func (u *supervisedUnit) inBackOff() {
	u.T.Helper()
	u.Program.Do("exit 3")
	bed.Await(u.T, u.PIDFile+" names pidleash", func() bool { return u.Bed.Read(u.T, u.PIDFile) == u.pidleash+"\n" })
}

func supervisorRestart(c *supervisorCase) {
	u := c.up("-restart-delay 10ms")
	first, pidleash := u.PID, u.pidleash
	u.Program.Do("kill 11")
	u.Running()
	u.isSupervised()
	if u.PID == first || u.pidleash != pidleash {
		c.Errorf("program %s and pidleash %s became %s and %s; want another program, the same pidleash", first, pidleash, u.PID, u.pidleash)
	}
	u.Want("NRestarts", "0")
	u.Content()
}

func supervisorRemove(c *supervisorCase) {
	u := c.up("")
	c.Bed.Remove(c, u.PIDFile)
	u.isOver("inactive", "success")
}

func supervisorStop(c *supervisorCase) {
	u := c.up("")
	u.Must("stop")
	u.isOver("inactive", "success")
	u.Silent()
}

func supervisorStopInBackOff(c *supervisorCase) {
	u := c.up("-restart-delay 1h")
	u.inBackOff()
	u.Must("stop")
	u.isOver("inactive", "success")
}

func supervisorRemoveInBackOff(c *supervisorCase) {
	u := c.up("-restart-delay 1h")
	u.inBackOff()
	c.Bed.Remove(c, u.PIDFile)
	u.isOver("inactive", "success")
}

// supervisorEnd: there is nothing to restart after a clean end, and the last
// restart's failure is the unit's.
func supervisorEnd(c *supervisorCase) {
	u := c.up("-restart-delay 10ms -restart-limit 1/1h")
	u.Program.Do("exit 3")
	u.Running()
	u.Program.Do("exit 4")
	u.isOver("failed", "exit-code")
	u.Want("ExecMainStatus", "4")
	u.Must("start")
	u.Running()
	u.Program.Do("exit 0")
	u.isOver("inactive", "success")
}

func supervisorFails(c *supervisorCase) {
	u := c.service("-ready 1h", "/bin/sh -c 'exit 7'", "")
	u.Refused(`ended with code 7 before it was up`)
	u.isOver("failed", "exit-code")
}

func supervisorFailsLater(c *supervisorCase) {
	u := c.prepare("-ready fd:3 -start-timeout 1s", "")
	u.Refused(`is not up after 1s`)
	u.isOver("failed", "exit-code")
}

func supervisorNotExecutable(c *supervisorCase) {
	u := c.service("", "/etc/passwd", "")
	u.Refused(`/etc/passwd`)
	u.isOver("failed", "exit-code")
}

// supervisorKilled: the program is pidleash's child, and ends with it; the next start
// works.
func supervisorKilled(c *supervisorCase) {
	u := c.up("")
	program := u.PID
	c.Bed.Signal(c, "KILL", u.pidleash)
	c.Bed.AwaitGone(c, program)
	u.Await("ActiveState", "failed")
	u.Must("start")
	u.Running()
	u.isSupervised()
	u.Must("stop")
	u.isOver("inactive", "success")
}

// Between two runs pidleash speaks for the program: systemd would take its silence for
// a hang.
func TestSystemdWatchdogInBackOff(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	machine.Install(t, "/run/lab/notify", bed.CompileC(t, "notify.c"))
	c := &bed.ProtocolCase{T: t, Bed: machine, Unit: "back-off"}
	u := &bed.LedUnit{Program: machine.Program(c, c.Unit)}
	u.SystemdUnit = machine.Unit(t, "back-off.service", "[Service]\nWatchdogSec=1\nExecStart=/run/lab/pidleash -restart on-failure -restart-delay 2500ms -- /run/lab/notify led /run/lab/"+c.Unit+"\n")
	u.Must("start")
	u.Running()
	first := u.PID
	u.Program.Do("exit 3")
	u.Running()
	u.Want("ActiveState", "active")
	u.Want("NRestarts", "0")
	if u.PID == first {
		t.Errorf("the program has PID %s before and after the restart", first)
	}
}

// Programs that end at once do not hang the start of such a unit, either.
func TestSupervisorStorm(t *testing.T) {
	const unit = "[Service]\nType=forking\nKillMode=mixed\nTimeoutStartSec=60\nPIDFile=/run/lab/%p-%i.pid\n" +
		"ExecStart=/run/lab/pidleash -daemon -restart on-failure -restart-limit 1/1h -restart-delay 1ms -supervisor-pidfile /run/lab/%p-%i.pid -pidfile /run/lab/%p-%i.run.pid -- "
	const supervisorBatch = 10
	machine := bed.BootSystemd(t, map[string]string{
		"storm-true@.service":  unit + "/bin/true\n",
		"storm-exit@.service":  unit + "/bin/sh -c 'exit 3'\n",
		"storm-sleep@.service": unit + "/bin/sleep 0.00%i\n",
	})
	kinds := []string{"storm-true@", "storm-exit@", "storm-sleep@"}
	for first := 0; first < 200 && !t.Failed(); first += supervisorBatch {
		var batch []string
		for i := first; i < first+supervisorBatch; i++ {
			batch = append(batch, fmt.Sprintf("%s%d.service", kinds[i%len(kinds)], i))
		}
		machine.Storm(t, batch)
	}
	if out, _ := machine.Run(t, "find", "/run/lab", "-name", "storm-*"); out != "" {
		t.Errorf("left behind:\n%s", out)
	}
}
