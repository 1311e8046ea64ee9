package units

import (
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// TestSystemd proves what pidleash promises to a unit in which it is the main
// process, under a real systemd.
func TestSystemd(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	for _, kind := range []string{"simple", "exec"} {
		for _, test := range systemdTests {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				test.run(&bed.SystemdCase{T: t, Bed: machine, Kind: kind, Unit: kind + "-" + test.name})
			})
		}
	}
}

var systemdTests = []struct {
	name string
	run  func(*bed.SystemdCase)
}{
	{"start", systemdStart},
	{"context", systemdContext},
	{"remove", systemdRemove},
	{"stop", systemdStop},
	{"stop-at-once", systemdStopAtOnce},
	{"stop-dirty", systemdStopDirty},
	{"restart", systemdRestart},
	{"no-restart", systemdNoRestart},
	{"pidfile-variable", systemdPIDFileVariable},
	{"crash", systemdCrash},
	{"kill-main", systemdKillMain},
	{"reload", systemdReload},
	{"usage", systemdUsage},
}

// service gives systemd a service of the case's type.
func service(c *bed.SystemdCase, name, settings string) *bed.SystemdUnit {
	c.Helper()
	return c.Bed.Unit(c, name+".service", "[Service]\nType="+c.Kind+"\n"+settings)
}

// leash starts a program behind pidleash, in a service with more settings.
func leash(c *bed.SystemdCase, name, settings string) *bed.LeashedUnit {
	c.Helper()
	program, pidfile := c.Bed.Program(c, name), "/run/lab/"+name+".pid"
	unit := service(c, name, "ExecStart=/run/lab/pidleash -pidfile "+pidfile+" -- "+program.Command+"\n"+settings)
	unit.Must("start")
	return &bed.LeashedUnit{SystemdUnit: unit, Program: program, PIDFile: pidfile}
}

// running waits for a start of the program and returns its PID. By the
// program's first word the PID file has to be there.
func running(u *bed.LeashedUnit) string {
	u.T.Helper()
	pid := u.Program.Says()
	if got := u.Bed.Read(u.T, u.PIDFile); got != pid+"\n" {
		u.T.Fatalf("%s says %q; the program's PID is %s", u.PIDFile, got, pid)
	}
	return pid
}

func systemdStart(c *bed.SystemdCase) {
	u := leash(c, c.Unit, "")
	pid := running(u)
	u.Want("ActiveState", "active")
	if name := c.Bed.Comm(c, pid); name != "program" {
		c.Errorf("process %s is %q, want program", pid, name)
	}
	main := u.Property("MainPID")
	if name := c.Bed.Comm(c, main); name != "pidleash" {
		c.Errorf("main process %s is %q, want pidleash", main, name)
	}
	if status := c.Bed.Read(c, "/proc/"+pid+"/status"); !strings.Contains(status, "\nPPid:\t"+main+"\n") {
		c.Errorf("program %s is no child of pidleash %s:\n%s", pid, main, status)
	}
	u.Silent()
}

// systemdContext compares what a program finds around it behind pidleash
// with what it finds without.
func systemdContext(c *bed.SystemdCase) {
	const settings = "LimitNOFILE=300:400\nUMask=0027\nOOMScoreAdjust=7\nWorkingDirectory=/usr\nEnvironment=A=1\n"
	bare := c.Bed.Program(c, c.Unit+"-bare")
	service(c, c.Unit+"-bare", "ExecStart="+bare.Command+"\n"+settings).Must("start")
	want := signals(c.Bed, c, bare.Says())
	u := leash(c, c.Unit, settings)
	if got := signals(c.Bed, c, running(u)); got != want {
		c.Errorf("%s behind pidleash, %s without", got, want)
	}
	for _, look := range []string{
		`echo $(ulimit -Sn; ulimit -Hn)`,
		`echo $(umask; pwd; cat /proc/$$/oom_score_adj)`,
		// A descriptor that leaks into the program goes on to its children. In
		// the shell itself are some of its own that come and go.
		`(exec ls -m /proc/self/fd)`,
		`readlink /proc/$$/fd/0`,
		`echo $(env | sed "s/=.*//" | sort)`,
	} {
		order := look + ` >"$1.out"`
		bare.Do(order)
		u.Program.Do(order)
		if want, got := bare.Says(), u.Program.Says(); got != want {
			c.Errorf("%s: %q behind pidleash, %q without", look, got, want)
		}
	}
}

// signals returns which signals a process blocks and ignores: under systemd,
// services ignore SIGPIPE. It is read from outside because a shell blocks and
// unblocks signals around each command that it starts.
func signals(b *bed.Systemd, t testing.TB, pid string) string {
	t.Helper()
	var sets []string
	for line := range strings.Lines(b.Read(t, "/proc/"+pid+"/status")) {
		if strings.HasPrefix(line, "SigBlk:") || strings.HasPrefix(line, "SigIgn:") {
			sets = append(sets, strings.TrimSpace(line))
		}
	}
	return strings.Join(sets, ", ")
}

func systemdRemove(c *bed.SystemdCase) {
	u := leash(c, c.Unit, "")
	running(u)
	c.Bed.Remove(c, u.PIDFile)
	u.Over("inactive", "success")
	u.Want("ExecMainCode", "2") // CLD_KILLED
	u.Want("ExecMainStatus", "15")
	all, warnings := u.Messages(), u.Messages("-p", "warning..warning")
	if len(all) != 1 || !strings.Contains(all[0], u.PIDFile) || !strings.Contains(all[0], "removed") {
		c.Errorf("pidleash's lines %q, want one: %s is removed", all, u.PIDFile)
	}
	if !slices.Equal(all, warnings) {
		c.Errorf("pidleash's lines %q, of these with the priority of a warning %q", all, warnings)
	}
}

func systemdStop(c *bed.SystemdCase) {
	for _, mode := range []string{"control-group", "mixed"} {
		u := leash(c, c.Unit+"-"+mode, "KillMode="+mode+"\n")
		running(u)
		u.Must("stop")
		u.Over("inactive", "success")
		u.Want("ExecMainCode", "2") // CLD_KILLED
		u.Want("ExecMainStatus", "15")
		u.Silent()
	}
}

// systemdStopAtOnce stops pidleash wherever it happens to be on its way up.
// systemd kills nothing but pidleash, so it cannot clean up behind it.
func systemdStopAtOnce(c *bed.SystemdCase) {
	pidfile := "/run/lab/" + c.Unit + ".pid"
	unit := service(c, c.Unit, "KillMode=process\nExecStart=/run/lab/pidleash -pidfile "+pidfile+" sleep infinity\n"+
		"[Unit]\nStartLimitIntervalSec=0\n")
	u := &bed.LeashedUnit{SystemdUnit: unit, Program: nil, PIDFile: pidfile}
	for range 10 {
		u.Must("start")
		u.Must("stop")
		u.Over("inactive", "success")
		if c.Failed() {
			return
		}
	}
	u.Silent()
}

// systemdStopDirty is the negative control of the tests that want "inactive":
// a wrapper that turns the signal into an exit code leaves a failed unit.
func systemdStopDirty(c *bed.SystemdCase) {
	program := c.Bed.Program(c, c.Unit)
	unit := service(c, c.Unit, "ExecStart="+program.Command+"\n")
	unit.Must("start")
	program.Says()
	program.Do(`trap "exit 143" TERM; echo set >"$1.out"`)
	program.Says()
	unit.Must("stop")
	unit.Want("ActiveState", "failed")
	unit.Want("Result", "exit-code")
}

func systemdRestart(c *bed.SystemdCase) {
	u := leash(c, c.Unit, "Restart=on-failure\nRestartSec=0\n"+c.SayEnd())
	first := running(u)
	u.Program.Do("exit 3")
	if end := u.Program.Says(); end != "exit-code exited 3" {
		c.Errorf("%s ended with %q, want exit code 3", u.Name, end)
	}
	if second := running(u); second == first {
		c.Errorf("%s says PID %s before and after the restart", u.PIDFile, first)
	}
	u.Want("NRestarts", "1")
	u.Must("stop")
	if end := u.Program.Says(); end != "success killed TERM" {
		c.Errorf("%s ended with %q, want a death by TERM that is a success", u.Name, end)
	}
	u.Over("inactive", "success")
	u.Silent()
}

func systemdNoRestart(c *bed.SystemdCase) {
	u := leash(c, c.Unit, "Restart=on-failure\nRestartSec=0\n"+c.SayEnd())
	running(u)
	u.Program.Do("exit 0")
	if end := u.Program.Says(); end != "success exited 0" {
		c.Errorf("%s ended with %q, want exit code 0", u.Name, end)
	}
	u.Over("inactive", "success")
	u.Want("NRestarts", "0")
	u.Silent()
}

// systemdPIDFileVariable: PIDFile= is for Type=forking, but every type gets the
// variable. (systemd removes that file itself, too, when the unit ends.)
func systemdPIDFileVariable(c *bed.SystemdCase) {
	program, pidfile := c.Bed.Program(c, c.Unit), "/run/lab/"+c.Unit+".pid"
	unit := service(c, c.Unit, "PIDFile="+pidfile+"\nExecStart=/run/lab/pidleash "+program.Command+"\n")
	unit.Must("start")
	u := &bed.LeashedUnit{SystemdUnit: unit, Program: program, PIDFile: pidfile}
	running(u)
	program.Do(`echo "${PIDFILE-unset}" >"$1.out"`)
	if got := program.Says(); got != "unset" {
		c.Errorf("the program has PIDFILE=%s", got)
	}
	c.Bed.Remove(c, pidfile)
	u.Over("inactive", "success")
}

func systemdCrash(c *bed.SystemdCase) {
	u := leash(c, c.Unit, "")
	running(u)
	u.Program.Do("kill -SEGV $$")
	u.Over("failed", "signal")
	u.Want("ExecMainCode", "2") // CLD_KILLED
	u.Want("ExecMainStatus", "11")
	u.Silent()
}

func systemdKillMain(c *bed.SystemdCase) {
	u := leash(c, c.Unit, "")
	running(u)
	u.Must("kill", "--kill-whom=main", "--signal=HUP")
	gotHUP(u)
}

func systemdReload(c *bed.SystemdCase) {
	u := leash(c, c.Unit, "ExecReload=/bin/kill -HUP $MAINPID\n")
	running(u)
	u.Must("reload")
	gotHUP(u)
}

// gotHUP waits for the program to say HUP and checks that all goes on.
func gotHUP(u *bed.LeashedUnit) {
	u.T.Helper()
	if word := u.Program.Says(); word != "HUP" {
		u.T.Errorf("the program says %q, want HUP", word)
	}
	u.Program.Do(`echo on >"$1.out"`)
	if word := u.Program.Says(); word != "on" {
		u.T.Errorf("the program says %q after one HUP, want on", word)
	}
	u.Want("ActiveState", "active")
	u.Silent()
}

func systemdUsage(c *bed.SystemdCase) {
	unit := service(c, c.Unit, "ExecStart=/run/lab/pidleash -no-such-option sleep infinity\n")
	// That it can be executed is all that Type=exec asks; the end may come
	// before systemd has seen that much.
	_, _ = unit.Systemctl("start")
	unit.Await("ActiveState", "failed", "inactive")
	unit.Want("ActiveState", "failed")
	unit.Want("Result", "exit-code")
	unit.Want("ExecMainStatus", "125")
	// By identifier: whatever it writes, not only what has its prefix.
	lines := unit.Journal("-t", "pidleash")
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "pidleash: ") || !strings.Contains(lines[0], "no-such-option") {
		c.Errorf("pidleash's lines %q, want one about no-such-option", lines)
	}
}
