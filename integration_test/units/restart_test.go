package units

import (
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// TestRestartUnit proves that a unit whose program pidleash restarts itself is, to
// systemd, one that runs on, under a real systemd.
func TestRestartUnit(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	machine.Install(t, "/run/lab/notify", bed.CompileC(t, "notify.c"))
	for _, test := range restartUnitTests {
		t.Run(test.name, func(t *testing.T) {
			test.run(&bed.ProtocolCase{T: t, Bed: machine, Unit: "restart-" + test.name})
		})
	}
}

var restartUnitTests = []struct {
	name string
	run  func(*bed.ProtocolCase)
}{
	{"crash", restartUnitCrash},
	{"clean", restartUnitClean},
	{"limit", restartUnitLimit},
	{"stop", restartUnitStop},
	{"stop-in-back-off", restartUnitStopInBackOff},
	{"remove", restartUnitRemove},
	{"kill", restartUnitKill},
	{"kill-in-back-off", restartUnitKillInBackOff},
	{"reload", restartUnitReload},
	{"notify", restartUnitNotify},
	{"sockets", restartUnitSockets},
}

// restarting is how such a program stands in ExecStart=.
func restarting(options string) string {
	return "/run/lab/pidleash -pidfile %s -restart on-failure " + options + " -- "
}

// backOff is one that no test sees the end of.
const backOff = "-restart-delay " + bed.Never

// main returns pidleash's PID, which the unit must keep.
func main(u *bed.LedUnit) string {
	u.T.Helper()
	pid := u.Property("MainPID")
	if name := u.Bed.Comm(u.T, pid); name != "pidleash" {
		u.T.Fatalf("%s: main process %s is %q, want pidleash", u.Name, pid, name)
	}
	return pid
}

// again waits for another run below the same pidleash.
func again(u *bed.LedUnit, main string) {
	u.T.Helper()
	last := u.PID
	u.Running()
	if u.PID == last {
		u.T.Errorf("%s: the program has PID %s twice", u.Name, last)
	}
	if got := u.Bed.Read(u.T, u.PIDFile); got != u.PID+"\n" {
		u.T.Errorf("%s says %q; the program's PID is %s", u.PIDFile, got, u.PID)
	}
	u.Want("ActiveState", "active")
	u.Want("MainPID", main)
	u.Want("NRestarts", "0")
}

// backsOff waits until the PID file names pidleash, which is all that is left of the
// unit then.
func backsOff(u *bed.LedUnit, main string) {
	u.T.Helper()
	bed.Await(u.T, "the PID file names pidleash", func() bool { return u.Bed.Read(u.T, u.PIDFile) == main+"\n" })
	bed.Await(u.T, "the program has gone", func() bool { return slices.Equal(u.Processes(), []string{main}) })
	u.Want("ActiveState", "active")
	u.Want("MainPID", main)
}

func restartUnitCrash(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, restarting("-restart-delay 10ms"), "")
	main := main(u)
	for _, order := range []string{"kill 11", "exit 3"} {
		u.Program.Do(order)
		again(u, main)
	}
	tellsOfRestarts(u.SystemdUnit)
	u.Must("stop")
	u.Over("inactive", "success")
	tellsOfRestarts(u.SystemdUnit)
}

func restartUnitClean(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, restarting(backOff), "")
	u.Program.Do("exit 0")
	u.Over("inactive", "success")
	tellsOfRestarts(u.SystemdUnit)
}

// systemd sees the last end.
func restartUnitLimit(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, restarting("-restart-delay 0 -restart-limit 1/1h"), "")
	main := main(u)
	u.Program.Do("exit 3")
	again(u, main)
	u.Program.Do("kill 11")
	u.Over("failed", "signal")
	u.Want("ExecMainStatus", "11")
	lines := u.Messages("-p", "warning..warning")
	if len(lines) != 1 || !strings.HasSuffix(lines[0], ": not restarting: 1 restarts within 1h0m0s") {
		c.Errorf("pidleash's lines %q", lines)
	}
}

// In each mode, also the one in which PROGRAM gets TERM before pidleash does: there is
// no race in which it is started again and left.
func restartUnitStop(c *bed.ProtocolCase) {
	for _, mode := range []string{"control-group", "mixed", "process"} {
		for _, policy := range []string{"on-failure", "always"} {
			command := strings.Replace(restarting("-restart-delay 0"), "on-failure", policy, 1)
			u := c.Led(c.Unit+"-"+mode+"-"+policy, command, "KillMode="+mode+"\n")
			main := main(u)
			u.Program.Do("exit 3")
			again(u, main)
			u.Must("stop")
			u.Over("inactive", "success")
			tellsOfRestarts(u.SystemdUnit)
		}
	}
}

func restartUnitStopInBackOff(c *bed.ProtocolCase) {
	for _, mode := range []string{"control-group", "mixed", "process"} {
		u := c.Led(c.Unit+"-"+mode, restarting(backOff), "KillMode="+mode+"\n")
		main := main(u)
		u.Program.Do("exit 3")
		backsOff(u, main)
		u.Must("stop")
		u.Over("inactive", "success")
		u.Want("ExecMainStatus", "15")
		tellsOfRestarts(u.SystemdUnit)
	}
}

func restartUnitRemove(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, restarting(backOff), "")
	main := main(u)
	u.Program.Do("exit 3")
	backsOff(u, main)
	c.Bed.Remove(c, u.PIDFile)
	u.Over("inactive", "success")
	u.Want("ExecMainCode", "1") // CLD_EXITED
	u.Want("ExecMainStatus", "0")
}

// systemctl kill is for both: PROGRAM ends by it, and pidleash does not begin anew.
func restartUnitKill(c *bed.ProtocolCase) {
	for _, whom := range []string{"main", "all"} {
		u := c.Led(c.Unit+"-"+whom, strings.Replace(restarting("-restart-delay 0"), "on-failure", "always", 1), "")
		main := main(u)
		u.Program.Do("exit 3")
		again(u, main)
		u.Must("kill", "--kill-whom="+whom)
		u.Over("inactive", "success")
		tellsOfRestarts(u.SystemdUnit)
	}
}

func restartUnitKillInBackOff(c *bed.ProtocolCase) {
	for _, sig := range []string{"TERM", "INT", "HUP"} {
		u := c.Led(c.Unit+"-"+sig, restarting(backOff), "")
		main := main(u)
		u.Program.Do("exit 3")
		backsOff(u, main)
		u.Must("kill", "--signal="+sig)
		u.Over("inactive", "success")
		tellsOfRestarts(u.SystemdUnit)
	}
}

// A restart of the program alone can be a unit's reload.
func restartUnitReload(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, restarting("-restart-signal HUP "+backOff), "ExecReload=/bin/kill -HUP $MAINPID\n")
	main := main(u)
	for range 2 {
		u.Must("reload")
		again(u, main)
	}
	u.Program.Do("exit 3")
	backsOff(u, main)
	u.Must("reload")
	again(u, main)
	u.Must("stop")
	u.Over("inactive", "success")
	tellsOfRestarts(u.SystemdUnit)
}

// systemd shows what happens, and takes what a later run says.
func restartUnitNotify(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, restarting("-restart-signal HUP "+backOff), "Type=notify\n")
	main := main(u)
	u.Want("ActiveState", "activating")
	u.Send("READY=1\\nSTATUS=first")
	u.Await("ActiveState", "active")
	u.Want("StatusText", "first")
	u.Program.Do("exit 3")
	backsOff(u, main)
	bed.Await(c, "systemd shows the back-off", func() bool {
		return strings.HasPrefix(u.Property("StatusText"), "/run/lab/notify ended with code 3, restarting in 1h")
	})
	u.Must("kill", "--kill-whom=main", "--signal=HUP")
	again(u, main)
	u.Await("StatusText", "Restarted as PID "+u.PID+", 1 times so far")
	u.Send("READY=1\\nSTATUS=second")
	u.Want("StatusText", "second")
	u.Want("ActiveState", "active")
	u.Must("stop")
	u.Over("inactive", "success")
	tellsOfRestarts(u.SystemdUnit)
}

// A later run has the sockets, and they are for it.
func restartUnitSockets(c *bed.ProtocolCase) {
	socket := c.Unit + ".socket"
	c.Bed.Unit(c, socket, "[Socket]\nListenStream=/run/lab/"+c.Unit+".sock\nFileDescriptorName=web\n")
	u := c.Led(c.Unit, restarting("-restart-delay 0"), "[Unit]\nRequires="+socket+"\nAfter="+socket+"\n")
	main := main(u)
	for range 2 {
		u.Obey("sockets", "right 1 web")
		u.Obey("env SYSTEMD_EXEC_PID", u.PID)
		u.Program.Do("exit 3")
		again(u, main)
	}
	u.Must("stop")
	u.Over("inactive", "success")
}

// tellsOfRestarts checks that pidleash has had nothing else to tell.
func tellsOfRestarts(u *bed.SystemdUnit) {
	u.T.Helper()
	for _, line := range u.Messages() {
		if !bed.RestartLine.MatchString(line + "\n") {
			u.T.Errorf("%s: pidleash is not silent: %q", u.Name, line)
		}
	}
}
