package integration

import (
	"slices"
	"strings"
	"testing"
)

// TestRestartUnit proves that a unit whose program pidleash restarts itself is, to
// systemd, one that runs on, under a real systemd.
func TestRestartUnit(t *testing.T) {
	bed := bootSystemd(t, nil)
	bed.install(t, "/run/lab/notify", notifyProgram(t))
	for _, test := range restartUnitTests {
		t.Run(test.name, func(t *testing.T) {
			test.run(&protocolCase{t, bed, "restart-" + test.name})
		})
	}
}

var restartUnitTests = []struct {
	name string
	run  func(*protocolCase)
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
const backOff = "-restart-delay " + never

// main returns pidleash's PID, which the unit must keep.
func (u *ledUnit) main() string {
	u.t.Helper()
	pid := u.property("MainPID")
	if name := u.bed.comm(u.t, pid); name != "pidleash" {
		u.t.Fatalf("%s: main process %s is %q, want pidleash", u.name, pid, name)
	}
	return pid
}

// again waits for another run below the same pidleash.
func (u *ledUnit) again(main string) {
	u.t.Helper()
	last := u.pid
	u.running()
	if u.pid == last {
		u.t.Errorf("%s: the program has PID %s twice", u.name, last)
	}
	if got := u.bed.read(u.t, u.pidfile); got != u.pid+"\n" {
		u.t.Errorf("%s says %q; the program's PID is %s", u.pidfile, got, u.pid)
	}
	u.want("ActiveState", "active")
	u.want("MainPID", main)
	u.want("NRestarts", "0")
}

// backsOff waits until the PID file names pidleash, which is all that is left of the
// unit then.
func (u *ledUnit) backsOff(main string) {
	u.t.Helper()
	await(u.t, "the PID file names pidleash", func() bool { return u.bed.read(u.t, u.pidfile) == main+"\n" })
	await(u.t, "the program has gone", func() bool { return slices.Equal(u.processes(), []string{main}) })
	u.want("ActiveState", "active")
	u.want("MainPID", main)
}

func restartUnitCrash(c *protocolCase) {
	u := c.led(c.name, restarting("-restart-delay 10ms"), "")
	main := u.main()
	for _, order := range []string{"kill 11", "exit 3"} {
		u.program.do(order)
		u.again(main)
	}
	u.tellsOfRestarts()
	u.must("stop")
	u.over("inactive", "success")
	u.tellsOfRestarts()
}

func restartUnitClean(c *protocolCase) {
	u := c.led(c.name, restarting(backOff), "")
	u.program.do("exit 0")
	u.over("inactive", "success")
	u.tellsOfRestarts()
}

// systemd sees the last end.
func restartUnitLimit(c *protocolCase) {
	u := c.led(c.name, restarting("-restart-delay 0 -restart-limit 1/1h"), "")
	main := u.main()
	u.program.do("exit 3")
	u.again(main)
	u.program.do("kill 11")
	u.over("failed", "signal")
	u.want("ExecMainStatus", "11")
	if lines := u.messages("-p", "warning..warning"); !slices.Equal(lines, []string{"pidleash: not restarting: 1 restarts within 1h0m0s"}) {
		c.Errorf("pidleash's lines %q", lines)
	}
}

// In each mode, also the one in which PROGRAM gets TERM before pidleash does: there is
// no race in which it is started again and left.
func restartUnitStop(c *protocolCase) {
	for _, mode := range []string{"control-group", "mixed", "process"} {
		for _, policy := range []string{"on-failure", "always"} {
			command := strings.Replace(restarting("-restart-delay 0"), "on-failure", policy, 1)
			u := c.led(c.name+"-"+mode+"-"+policy, command, "KillMode="+mode+"\n")
			main := u.main()
			u.program.do("exit 3")
			u.again(main)
			u.must("stop")
			u.over("inactive", "success")
			u.tellsOfRestarts()
		}
	}
}

func restartUnitStopInBackOff(c *protocolCase) {
	for _, mode := range []string{"control-group", "mixed", "process"} {
		u := c.led(c.name+"-"+mode, restarting(backOff), "KillMode="+mode+"\n")
		main := u.main()
		u.program.do("exit 3")
		u.backsOff(main)
		u.must("stop")
		u.over("inactive", "success")
		u.want("ExecMainStatus", "15")
		u.tellsOfRestarts()
	}
}

func restartUnitRemove(c *protocolCase) {
	u := c.led(c.name, restarting(backOff), "")
	main := u.main()
	u.program.do("exit 3")
	u.backsOff(main)
	c.bed.remove(c, u.pidfile)
	u.over("inactive", "success")
	u.want("ExecMainCode", "1") // CLD_EXITED
	u.want("ExecMainStatus", "0")
}

// systemctl kill is for both: PROGRAM ends by it, and pidleash does not begin anew.
func restartUnitKill(c *protocolCase) {
	for _, whom := range []string{"main", "all"} {
		u := c.led(c.name+"-"+whom, strings.Replace(restarting("-restart-delay 0"), "on-failure", "always", 1), "")
		main := u.main()
		u.program.do("exit 3")
		u.again(main)
		u.must("kill", "--kill-whom="+whom)
		u.over("inactive", "success")
		u.tellsOfRestarts()
	}
}

func restartUnitKillInBackOff(c *protocolCase) {
	for _, sig := range []string{"TERM", "INT", "HUP"} {
		u := c.led(c.name+"-"+sig, restarting(backOff), "")
		main := u.main()
		u.program.do("exit 3")
		u.backsOff(main)
		u.must("kill", "--signal="+sig)
		u.over("inactive", "success")
		u.tellsOfRestarts()
	}
}

// A restart of the program alone can be a unit's reload.
func restartUnitReload(c *protocolCase) {
	u := c.led(c.name, restarting("-restart-signal HUP "+backOff), "ExecReload=/bin/kill -HUP $MAINPID\n")
	main := u.main()
	for range 2 {
		u.must("reload")
		u.again(main)
	}
	u.program.do("exit 3")
	u.backsOff(main)
	u.must("reload")
	u.again(main)
	u.must("stop")
	u.over("inactive", "success")
	u.tellsOfRestarts()
}

// systemd shows what happens, and takes what a later run says.
func restartUnitNotify(c *protocolCase) {
	u := c.led(c.name, restarting("-restart-signal HUP "+backOff), "Type=notify\n")
	main := u.main()
	u.want("ActiveState", "activating")
	u.send("READY=1\\nSTATUS=first")
	u.await("ActiveState", "active")
	u.want("StatusText", "first")
	u.program.do("exit 3")
	u.backsOff(main)
	await(c, "systemd shows the back-off", func() bool {
		return strings.HasPrefix(u.property("StatusText"), "/run/lab/notify ended with code 3, restarting in 1h")
	})
	u.must("kill", "--kill-whom=main", "--signal=HUP")
	u.again(main)
	u.await("StatusText", "Restarted as PID "+u.pid+", 1 times so far")
	u.send("READY=1\\nSTATUS=second")
	u.want("StatusText", "second")
	u.want("ActiveState", "active")
	u.must("stop")
	u.over("inactive", "success")
	u.tellsOfRestarts()
}

// A later run has the sockets, and they are for it.
func restartUnitSockets(c *protocolCase) {
	socket := c.name + ".socket"
	c.bed.unit(c, socket, "[Socket]\nListenStream=/run/lab/"+c.name+".sock\nFileDescriptorName=web\n")
	u := c.led(c.name, restarting("-restart-delay 0"), "[Unit]\nRequires="+socket+"\nAfter="+socket+"\n")
	main := u.main()
	for range 2 {
		u.obey("sockets", "right 1 web")
		u.obey("env SYSTEMD_EXEC_PID", u.pid)
		u.program.do("exit 3")
		u.again(main)
	}
	u.must("stop")
	u.over("inactive", "success")
}

// tellsOfRestarts checks that pidleash has had nothing else to tell.
func (u *systemdUnit) tellsOfRestarts() {
	u.t.Helper()
	for _, line := range u.messages() {
		if !restartLine.MatchString(line + "\n") {
			u.t.Errorf("%s: pidleash is not silent: %q", u.name, line)
		}
	}
}
