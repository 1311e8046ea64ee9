package units

import (
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// TestStopCommandUnit stops units in their own ExecStop=, by the PID file that
// their environment names.
func TestStopCommandUnit(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	for _, c := range []struct{ name, settings, start string }{
		{"environment", "Environment=PIDFILE=/run/lab/environment.pid\n", "/run/lab/pidleash "},
		{"pidfile", "PIDFile=/run/lab/pidfile.pid\n", "/run/lab/pidleash "},
		{"sidecar", "Environment=PIDFILE=/run/lab/sidecar.pid\n", "/run/lab/pidleash -sidecar "},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := machine.Program(t, c.name)
			unit := machine.Unit(t, c.name+".service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=simple\nKillSignal=SIGUSR1\n"+c.settings+
				"ExecStart="+c.start+program.Command+"\nExecStop=/run/lab/pidleash stop\n")
			u := &bed.LeashedUnit{SystemdUnit: unit, Program: program, PIDFile: "/run/lab/" + c.name + ".pid"}
			for range 5 {
				unit.Must("start")
				running(u)
				unit.Must("stop")
				u.Over("inactive", "success")
				// Not by USR1, which is what systemd would send.
				u.Want("ExecMainStatus", "15")
			}
			for _, line := range u.Messages() {
				if !strings.Contains(line, u.PIDFile+": removed, stopping PID ") {
					t.Errorf("pidleash says %q", line)
				}
			}
		})
	}
}
