package forking

import (
	"testing"

	"pidleash/integration_test/bed"
)

// TestDaemonUpgrade is nginx's upgrade without a pause: USR2 has the old master
// start a new one, which writes the PID file anew; QUIT ends the old one. pidleash
// goes on with the new one, and so does systemd.
func TestDaemonUpgrade(t *testing.T) {
	needDaemons(t)
	machine := bed.BootSystemd(t, nil)
	for _, m := range daemonModes {
		if !m.background || m.own == noFile {
			continue // nobody can tell then who has taken over
		}
		for _, test := range daemonUpgrades {
			named := m
			named.name = test.name + "-" + m.name
			t.Run(test.name+"/"+m.name, func(t *testing.T) {
				test.run(newDaemonCell(t, machine, modeDaemons[0], named))
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
		c.Bed.Remove(c.t, c.PIDFile)
		c.gone("inactive", "success", pid)
	}},
	{"stop", func(c *daemonCell) {
		pid := c.upgrade(c.up())
		c.Must("stop")
		c.gone("inactive", "success", pid)
	}},
	{"crash", func(c *daemonCell) {
		pid := c.upgrade(c.up())
		c.kill("SEGV", pid)
		c.Await("ActiveState", "inactive", "failed")
		c.Want("ExecMainStatus", "11")
		c.gone("failed", c.Property("Result"), pid)
	}},
	{"twice", func(c *daemonCell) {
		pid := c.upgrade(c.upgrade(c.up()))
		c.Bed.Remove(c.t, c.PIDFile)
		c.gone("inactive", "success", pid)
	}},
	{"back", func(c *daemonCell) {
		old := c.up()
		c.kill("TERM", c.begin(old))
		c.eventually("old daemon in "+c.PIDFile, func() bool { return c.named() == old })
		c.followed(old)
		c.Bed.Remove(c.t, c.PIDFile)
		c.gone("inactive", "success", old)
	}},
}
