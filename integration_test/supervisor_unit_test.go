package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestSupervisorUnit proves a Type=forking unit in which pidleash itself is the main
// process, in the background, because it starts its program again: PIDFile= names the
// file of -supervisor-pidfile.
func TestSupervisorUnit(t *testing.T) {
	bed := bootSystemd(t, nil)
	bed.install(t, "/run/lab/notify", notifyProgram(t))
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
			test.run(&supervisorCase{&protocolCase{t, bed, "supervisor-" + test.name}})
		})
	}
}

type supervisorCase struct{ *protocolCase }

// supervisedUnit is a unit whose main process is pidleash. Its own PID file is
// pidfile with ".pidleash" behind it.
type supervisedUnit struct {
	*ledUnit
	pidleash string
}

func (c *supervisorCase) service(options, command, settings string) *supervisedUnit {
	c.Helper()
	u := &ledUnit{pidfile: "/run/lab/" + c.name + ".pid"}
	u.systemdUnit = c.bed.unit(c, c.name+".service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=forking\nKillMode=mixed\nPIDFile="+u.pidfile+
		".pidleash\nExecStart=/run/lab/pidleash -daemon -restart on-failure -pidfile "+u.pidfile+" -supervisor-pidfile "+u.pidfile+".pidleash "+
		options+" -- "+command+"\n"+settings)
	return &supervisedUnit{ledUnit: u}
}

// prepare makes a unit whose program does what the test says.
func (c *supervisorCase) prepare(options, settings string) *supervisedUnit {
	c.Helper()
	program := c.bed.program(c, c.name)
	u := c.service(options, "/run/lab/notify led /run/lab/"+c.name, settings)
	u.program = program
	return u
}

func (c *supervisorCase) up(options string) *supervisedUnit {
	c.Helper()
	u := c.prepare(options, "")
	u.must("start")
	u.running()
	u.isSupervised()
	return u
}

// isSupervised checks who is who.
func (u *supervisedUnit) isSupervised() {
	u.t.Helper()
	u.want("ActiveState", "active")
	u.pidleash = strings.TrimSpace(u.bed.read(u.t, u.pidfile+".pidleash"))
	u.want("MainPID", u.pidleash)
	if got := u.bed.read(u.t, u.pidfile); got != u.pid+"\n" {
		u.t.Errorf("%s says %q, the program's PID is %s", u.pidfile, got, u.pid)
	}
	if name := u.bed.comm(u.t, u.pidleash); name != "pidleash" {
		u.t.Errorf("the main process is %q, want pidleash", name)
	}
}

// isOver checks that nothing is left.
func (u *supervisedUnit) isOver(state, result string) {
	u.t.Helper()
	u.over(state, result)
	for _, file := range []string{u.pidfile, u.pidfile + ".pidleash"} {
		if u.bed.exists(u.t, file) {
			u.t.Errorf("%s is left", file)
		}
	}
	u.content()
}

// inBackOff has the program fail and waits until pidleash stands in for it.
func (u *supervisedUnit) inBackOff() {
	u.t.Helper()
	u.program.do("exit 3")
	await(u.t, u.pidfile+" names pidleash", func() bool { return u.bed.read(u.t, u.pidfile) == u.pidleash+"\n" })
}

func supervisorRestart(c *supervisorCase) {
	u := c.up("-restart-delay 10ms")
	first, pidleash := u.pid, u.pidleash
	u.program.do("kill 11")
	u.running()
	u.isSupervised()
	if u.pid == first || u.pidleash != pidleash {
		c.Errorf("program %s and pidleash %s became %s and %s; want another program, the same pidleash", first, pidleash, u.pid, u.pidleash)
	}
	u.want("NRestarts", "0")
	u.content()
}

func supervisorRemove(c *supervisorCase) {
	u := c.up("")
	c.bed.remove(c, u.pidfile)
	u.isOver("inactive", "success")
}

func supervisorStop(c *supervisorCase) {
	u := c.up("")
	u.must("stop")
	u.isOver("inactive", "success")
	u.silent()
}

func supervisorStopInBackOff(c *supervisorCase) {
	u := c.up("-restart-delay 1h")
	u.inBackOff()
	u.must("stop")
	u.isOver("inactive", "success")
}

func supervisorRemoveInBackOff(c *supervisorCase) {
	u := c.up("-restart-delay 1h")
	u.inBackOff()
	c.bed.remove(c, u.pidfile)
	u.isOver("inactive", "success")
}

// supervisorEnd: there is nothing to restart after a clean end, and the last
// restart's failure is the unit's.
func supervisorEnd(c *supervisorCase) {
	u := c.up("-restart-delay 10ms -restart-limit 1/1h")
	u.program.do("exit 3")
	u.running()
	u.program.do("exit 4")
	u.isOver("failed", "exit-code")
	u.want("ExecMainStatus", "4")
	u.must("start")
	u.running()
	u.program.do("exit 0")
	u.isOver("inactive", "success")
}

func supervisorFails(c *supervisorCase) {
	u := c.service("-ready 1h", "/bin/sh -c 'exit 7'", "")
	u.refused(`ended with code 7 before it was up`)
	u.isOver("failed", "exit-code")
}

func supervisorFailsLater(c *supervisorCase) {
	u := c.prepare("-ready fd:3 -start-timeout 1s", "")
	u.refused(`is not up after 1s`)
	u.isOver("failed", "exit-code")
}

func supervisorNotExecutable(c *supervisorCase) {
	u := c.service("", "/etc/passwd", "")
	u.refused(`/etc/passwd`)
	u.isOver("failed", "exit-code")
}

// supervisorKilled: the program is pidleash's child, and ends with it; the next start
// works.
func supervisorKilled(c *supervisorCase) {
	u := c.up("")
	program := u.pid
	c.bed.signal(c, "KILL", u.pidleash)
	c.bed.awaitGone(c, program)
	u.await("ActiveState", "failed")
	u.must("start")
	u.running()
	u.isSupervised()
	u.must("stop")
	u.isOver("inactive", "success")
}

// Between two runs pidleash speaks for the program: systemd would take its silence for
// a hang.
func TestSystemdWatchdogInBackOff(t *testing.T) {
	bed := bootSystemd(t, nil)
	bed.install(t, "/run/lab/notify", notifyProgram(t))
	c := &protocolCase{t, bed, "back-off"}
	u := &ledUnit{program: bed.program(c, c.name)}
	u.systemdUnit = bed.unit(t, "back-off.service", "[Service]\nWatchdogSec=1\nExecStart=/run/lab/pidleash -restart on-failure -restart-delay 2500ms -- /run/lab/notify led /run/lab/"+c.name+"\n")
	u.must("start")
	u.running()
	first := u.pid
	u.program.do("exit 3")
	u.running()
	u.want("ActiveState", "active")
	u.want("NRestarts", "0")
	if u.pid == first {
		t.Errorf("the program has PID %s before and after the restart", first)
	}
}

// Programs that end at once do not hang the start of such a unit, either.
func TestSupervisorStorm(t *testing.T) {
	const unit = "[Service]\nType=forking\nKillMode=mixed\nTimeoutStartSec=60\nPIDFile=/run/lab/%p-%i.pid\n" +
		"ExecStart=/run/lab/pidleash -daemon -restart on-failure -restart-limit 1/1h -restart-delay 1ms -supervisor-pidfile /run/lab/%p-%i.pid -pidfile /run/lab/%p-%i.run.pid -- "
	const supervisorBatch = 10
	bed := bootSystemd(t, map[string]string{
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
		bed.storm(t, batch)
	}
	if out, _ := bed.run(t, "find", "/run/lab", "-name", "storm-*"); out != "" {
		t.Errorf("left behind:\n%s", out)
	}
}

// The supervisor stands in "/", in a session of its own, and has nothing of the
// caller's; its program stands where the caller stood, also after a restart.
func TestSupervisorSurroundings(t *testing.T) {
	t.Parallel()
	a := sleeper(t)
	program := a.inBackground(t, "-restart", "always", "-restart-delay", "1ms", "-supervisor-pidfile", a.other+"/s.pid")
	supervisor := pidIn(t, a.other+"/s.pid")
	here, err := os.Getwd()
	must(t, err)
	for range 2 {
		for pid, want := range map[int]string{supervisor: "/", program: here} {
			if dir, _ := os.Readlink(procFile(pid, "cwd")); dir != want {
				t.Errorf("PID %d stands in %q, want %s", pid, dir, want)
			}
			expectDevNull(t, strconv.Itoa(pid), pid)
			sid, tty := session(t, pid)
			if mine, _ := session(t, os.Getpid()); sid == mine || tty != "0" {
				t.Errorf("PID %d has session %s, terminal %s", pid, sid, tty)
			}
		}
		must(t, syscall.Kill(program, syscall.SIGKILL))
		before := program
		await(t, "another program", func() bool {
			program = pidIn(t, a.pidfile)
			return !slices.Contains([]int{before, supervisor}, program)
		})
	}
	a.leave(t)
}
