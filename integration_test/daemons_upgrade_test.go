package integration

import (
	"strings"
	"testing"
)

// TestDaemonUpgrade is nginx's upgrade without a pause: USR2 has the old master
// start a new one, which writes the PID file anew; QUIT ends the old one. pidleash
// goes on with the new one, and so does systemd.
func TestDaemonUpgrade(t *testing.T) {
	needDaemons(t)
	bed := bootSystemd(t, nil)
	for _, m := range daemonModes {
		if !m.background || m.own == noFile {
			continue // nobody can tell then who has taken over
		}
		for _, test := range daemonUpgrades {
			named := m
			named.name = test.name + "-" + m.name
			t.Run(test.name+"/"+m.name, func(t *testing.T) {
				test.run(newDaemonCell(t, bed, modeDaemons[0], named))
			})
		}
	}
}

var daemonUpgrades = []struct {
	name string
	run  func(*daemonCell)
}{
	{"remove", func(c *daemonCell) {
		pid := c.upgrade(c.up())
		c.bed.remove(c.t, c.pidfile)
		c.gone("inactive", "success", pid)
	}},
	{"stop", func(c *daemonCell) {
		pid := c.upgrade(c.up())
		c.must("stop")
		c.gone("inactive", "success", pid)
	}},
	{"crash", func(c *daemonCell) {
		pid := c.upgrade(c.up())
		c.kill("SEGV", pid)
		c.await("ActiveState", "inactive", "failed")
		c.want("ExecMainStatus", "11")
		c.gone("failed", c.property("Result"), pid)
	}},
	{"twice", func(c *daemonCell) {
		pid := c.upgrade(c.upgrade(c.up()))
		c.bed.remove(c.t, c.pidfile)
		c.gone("inactive", "success", pid)
	}},
	{"back", func(c *daemonCell) {
		old := c.up()
		c.kill("TERM", c.begin(old))
		c.eventually("old daemon in "+c.pidfile, func() bool { return c.named() == old })
		c.followed(old)
		c.bed.remove(c.t, c.pidfile)
		c.gone("inactive", "success", old)
	}},
}

// begin starts a new master beside the old one and returns its PID.
func (c *daemonCell) begin(old string) (pid string) {
	c.t.Helper()
	c.kill("USR2", old)
	c.eventually("new daemon in "+c.pidfile, func() bool {
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
	c.eventually("end of the old daemon", func() bool { return !c.bed.exists(c.t, "/proc/"+old) })
	c.followed(pid)
	return pid
}

// followed: systemd and pidleash stand by this master.
func (c *daemonCell) followed(pid string) {
	c.t.Helper()
	if !c.mode.parent {
		c.await("MainPID", pid)
	}
	c.wantMain(pid)
	c.want("ActiveState", "active")
	c.want("NRestarts", "0")
	if named := c.named(); named != pid {
		c.t.Errorf("%s names %s, want %s", c.pidfile, named, pid)
	}
	if !c.answers(pid) {
		c.t.Errorf("%s does not answer", c.name)
	}
	for _, line := range c.messages() {
		if strings.Contains(line, "stopping") {
			c.t.Errorf("pidleash says %q", line)
		}
	}
}
