package integration

import (
	"slices"
	"strings"
	"testing"
)

// TestSystemd proves what pidleash promises to a unit in which it is the main
// process, under a real systemd.
func TestSystemd(t *testing.T) {
	bed := bootSystemd(t, nil)
	for _, kind := range []string{"simple", "exec"} {
		for _, test := range systemdTests {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				test.run(&systemdCase{t, bed, kind, kind + "-" + test.name})
			})
		}
	}
}

var systemdTests = []struct {
	name string
	run  func(*systemdCase)
}{
	{"start", systemdStart},
	{"surroundings", systemdSurroundings},
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

// A systemdCase is one test in one type of service.
type systemdCase struct {
	*testing.T
	bed  *systemdBed
	kind string // Type= of its services
	name string // of its unit and files, nobody else's
}

// service gives systemd a service of the case's type.
func (c *systemdCase) service(name, settings string) *systemdUnit {
	c.Helper()
	return c.bed.unit(c, name+".service", "[Service]\nType="+c.kind+"\n"+settings)
}

// A leashedUnit is a service that runs a program behind pidleash.
type leashedUnit struct {
	*systemdUnit
	program *systemdProgram
	pidfile string
}

// leash starts a program behind pidleash, in a service with more settings.
func (c *systemdCase) leash(name, settings string) *leashedUnit {
	c.Helper()
	program, pidfile := c.bed.program(c, name), "/run/lab/"+name+".pid"
	unit := c.service(name, "ExecStart=/run/lab/pidleash -pidfile "+pidfile+" -- "+program.command+"\n"+settings)
	unit.must("start")
	return &leashedUnit{unit, program, pidfile}
}

// running waits for a start of the program and returns its PID. By the
// program's first word the PID file has to be there.
func (u *leashedUnit) running() string {
	u.t.Helper()
	pid := u.program.says()
	if got := u.bed.read(u.t, u.pidfile); got != pid+"\n" {
		u.t.Fatalf("%s says %q; the program's PID is %s", u.pidfile, got, pid)
	}
	return pid
}

// over checks that the unit has come to its end in this way, and that nothing
// is left of it.
func (u *leashedUnit) over(state, result string) {
	u.t.Helper()
	u.await("ActiveState", "inactive", "failed")
	u.want("ActiveState", state)
	u.want("Result", result)
	if u.bed.exists(u.t, u.pidfile) {
		u.t.Errorf("%s is left behind: %q", u.pidfile, u.bed.read(u.t, u.pidfile))
	}
	if left := u.processes(); len(left) > 0 {
		u.t.Errorf("%s: processes %v are left behind", u.name, left)
	}
}

// messages returns pidleash's own lines in the journal.
func (u *systemdUnit) messages(args ...string) []string {
	u.t.Helper()
	return slices.DeleteFunc(u.journal(args...), func(line string) bool {
		return !strings.HasPrefix(line, "pidleash: ")
	})
}

// silent checks that pidleash has said nothing, as when all is well.
func (u *systemdUnit) silent() {
	u.t.Helper()
	if lines := u.messages(); len(lines) > 0 {
		u.t.Errorf("%s: pidleash is not silent: %q", u.name, lines)
	}
}

// comm returns the name of a process inside.
func (b *systemdBed) comm(t testing.TB, pid string) string {
	t.Helper()
	return strings.TrimSpace(b.read(t, "/proc/"+pid+"/comm"))
}

func systemdStart(c *systemdCase) {
	u := c.leash(c.name, "")
	pid := u.running()
	u.want("ActiveState", "active")
	if name := c.bed.comm(c, pid); name != "program" {
		c.Errorf("process %s is %q, want program", pid, name)
	}
	main := u.property("MainPID")
	if name := c.bed.comm(c, main); name != "pidleash" {
		c.Errorf("main process %s is %q, want pidleash", main, name)
	}
	if status := c.bed.read(c, "/proc/"+pid+"/status"); !strings.Contains(status, "\nPPid:\t"+main+"\n") {
		c.Errorf("program %s is no child of pidleash %s:\n%s", pid, main, status)
	}
	u.silent()
}

// systemdSurroundings compares what a program finds around it behind pidleash
// with what it finds without.
func systemdSurroundings(c *systemdCase) {
	const settings = "LimitNOFILE=300:400\nUMask=0027\nOOMScoreAdjust=7\nWorkingDirectory=/usr\nEnvironment=A=1\n"
	bare := c.bed.program(c, c.name+"-bare")
	c.service(c.name+"-bare", "ExecStart="+bare.command+"\n"+settings).must("start")
	want := c.bed.signals(c, bare.says())
	u := c.leash(c.name, settings)
	if got := c.bed.signals(c, u.running()); got != want {
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
		bare.do(order)
		u.program.do(order)
		if want, got := bare.says(), u.program.says(); got != want {
			c.Errorf("%s: %q behind pidleash, %q without", look, got, want)
		}
	}
}

// signals returns which signals a process blocks and ignores: under systemd,
// services ignore SIGPIPE. It is read from outside because a shell blocks and
// unblocks signals around each command that it starts.
func (b *systemdBed) signals(t testing.TB, pid string) string {
	t.Helper()
	var sets []string
	for line := range strings.Lines(b.read(t, "/proc/"+pid+"/status")) {
		if strings.HasPrefix(line, "SigBlk:") || strings.HasPrefix(line, "SigIgn:") {
			sets = append(sets, strings.TrimSpace(line))
		}
	}
	return strings.Join(sets, ", ")
}

func systemdRemove(c *systemdCase) {
	u := c.leash(c.name, "")
	u.running()
	c.bed.remove(c, u.pidfile)
	u.over("inactive", "success")
	u.want("ExecMainCode", "2") // CLD_KILLED
	u.want("ExecMainStatus", "15")
	all, warnings := u.messages(), u.messages("-p", "warning..warning")
	if len(all) != 1 || !strings.Contains(all[0], u.pidfile) || !strings.Contains(all[0], "removed") {
		c.Errorf("pidleash's lines %q, want one: %s is removed", all, u.pidfile)
	}
	if !slices.Equal(all, warnings) {
		c.Errorf("pidleash's lines %q, of these with the priority of a warning %q", all, warnings)
	}
}

func systemdStop(c *systemdCase) {
	for _, mode := range []string{"control-group", "mixed"} {
		u := c.leash(c.name+"-"+mode, "KillMode="+mode+"\n")
		u.running()
		u.must("stop")
		u.over("inactive", "success")
		u.want("ExecMainCode", "2") // CLD_KILLED
		u.want("ExecMainStatus", "15")
		u.silent()
	}
}

// systemdStopAtOnce stops pidleash wherever it happens to be on its way up.
// systemd kills nothing but pidleash, so it cannot clean up behind it.
func systemdStopAtOnce(c *systemdCase) {
	pidfile := "/run/lab/" + c.name + ".pid"
	unit := c.service(c.name, "KillMode=process\nExecStart=/run/lab/pidleash -pidfile "+pidfile+" sleep infinity\n"+
		"[Unit]\nStartLimitIntervalSec=0\n")
	u := &leashedUnit{unit, nil, pidfile}
	for range 10 {
		u.must("start")
		u.must("stop")
		u.over("inactive", "success")
		if c.Failed() {
			return
		}
	}
	u.silent()
}

// systemdStopDirty is the negative control of the tests that want "inactive":
// a wrapper that turns the signal into an exit code leaves a failed unit.
func systemdStopDirty(c *systemdCase) {
	program := c.bed.program(c, c.name)
	unit := c.service(c.name, "ExecStart="+program.command+"\n")
	unit.must("start")
	program.says()
	program.do(`trap "exit 143" TERM; echo set >"$1.out"`)
	program.says()
	unit.must("stop")
	unit.want("ActiveState", "failed")
	unit.want("Result", "exit-code")
}

// sayEnd has a unit tell its program's FIFO how each run has ended, in the
// words of systemd.
func (c *systemdCase) sayEnd() string {
	return "ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS >/run/lab/" + c.name + ".out'\n"
}

func systemdRestart(c *systemdCase) {
	u := c.leash(c.name, "Restart=on-failure\nRestartSec=0\n"+c.sayEnd())
	first := u.running()
	u.program.do("exit 3")
	if end := u.program.says(); end != "exit-code exited 3" {
		c.Errorf("%s ended with %q, want exit code 3", u.name, end)
	}
	if second := u.running(); second == first {
		c.Errorf("%s says PID %s before and after the restart", u.pidfile, first)
	}
	u.want("NRestarts", "1")
	u.must("stop")
	if end := u.program.says(); end != "success killed TERM" {
		c.Errorf("%s ended with %q, want a death by TERM that is a success", u.name, end)
	}
	u.over("inactive", "success")
	u.silent()
}

func systemdNoRestart(c *systemdCase) {
	u := c.leash(c.name, "Restart=on-failure\nRestartSec=0\n"+c.sayEnd())
	u.running()
	u.program.do("exit 0")
	if end := u.program.says(); end != "success exited 0" {
		c.Errorf("%s ended with %q, want exit code 0", u.name, end)
	}
	u.over("inactive", "success")
	u.want("NRestarts", "0")
	u.silent()
}

// systemdPIDFileVariable: PIDFile= is for Type=forking, but every type gets the
// variable. (systemd removes that file itself, too, when the unit ends.)
func systemdPIDFileVariable(c *systemdCase) {
	program, pidfile := c.bed.program(c, c.name), "/run/lab/"+c.name+".pid"
	unit := c.service(c.name, "PIDFile="+pidfile+"\nExecStart=/run/lab/pidleash "+program.command+"\n")
	unit.must("start")
	u := &leashedUnit{unit, program, pidfile}
	u.running()
	program.do(`echo "${PIDFILE-unset}" >"$1.out"`)
	if got := program.says(); got != "unset" {
		c.Errorf("the program has PIDFILE=%s", got)
	}
	c.bed.remove(c, pidfile)
	u.over("inactive", "success")
}

func systemdCrash(c *systemdCase) {
	u := c.leash(c.name, "")
	u.running()
	u.program.do("kill -SEGV $$")
	u.over("failed", "signal")
	u.want("ExecMainCode", "2") // CLD_KILLED
	u.want("ExecMainStatus", "11")
	u.silent()
}

func systemdKillMain(c *systemdCase) {
	u := c.leash(c.name, "")
	u.running()
	u.must("kill", "--kill-whom=main", "--signal=HUP")
	u.gotHUP()
}

func systemdReload(c *systemdCase) {
	u := c.leash(c.name, "ExecReload=/bin/kill -HUP $MAINPID\n")
	u.running()
	u.must("reload")
	u.gotHUP()
}

// gotHUP waits for the program to say HUP and checks that all goes on.
func (u *leashedUnit) gotHUP() {
	u.t.Helper()
	if word := u.program.says(); word != "HUP" {
		u.t.Errorf("the program says %q, want HUP", word)
	}
	u.program.do(`echo on >"$1.out"`)
	if word := u.program.says(); word != "on" {
		u.t.Errorf("the program says %q after one HUP, want on", word)
	}
	u.want("ActiveState", "active")
	u.silent()
}

func systemdUsage(c *systemdCase) {
	unit := c.service(c.name, "ExecStart=/run/lab/pidleash -no-such-option sleep infinity\n")
	// That it can be executed is all that Type=exec asks; the end may come
	// before systemd has seen that much.
	_, _ = unit.systemctl("start")
	unit.await("ActiveState", "failed", "inactive")
	unit.want("ActiveState", "failed")
	unit.want("Result", "exit-code")
	unit.want("ExecMainStatus", "125")
	// By identifier: whatever it writes, not only what has its prefix.
	lines := unit.journal("-t", "pidleash")
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "pidleash: ") || !strings.Contains(lines[0], "no-such-option") {
		c.Errorf("pidleash's lines %q, want one about no-such-option", lines)
	}
}
