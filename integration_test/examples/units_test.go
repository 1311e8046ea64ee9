package examples

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// unitTests lists every unit of examples/systemd, and what to test of that unit only. main is the unit's main process:
// "pidleash" or "program".
var unitTests = []struct {
	name, main string
	particular func(*bed.LedUnit)
}{
	{"simple", "program", nil},
	{"exec", "pidleash", nil},
	{"notify", "program", func(u *bed.LedUnit) {
		u.Send(`STATUS=serving`)
		u.Want("StatusText", "serving")
	}},
	{"notify-reload", "program", nil},
	{"forking", "program", nil},
	{"legacy", "program", nil},
	{"activated", "pidleash", func(u *bed.LedUnit) { u.Obey("sockets", "right 1 activated.socket") }},
	{"watchdog", "pidleash", testWatchdogUnit},
	{"hardened", "pidleash", testHardenedUnit},
}

// TestUnits runs every unit of examples/systemd as it stands there, under a real systemd.
func TestUnits(t *testing.T) {
	machine := bootWithApp(t)
	var tested []string
	for _, test := range unitTests {
		tested = append(tested, test.name+".service")
		t.Run(test.name, func(t *testing.T) {
			u := ledUnit(t, machine, test.name)
			start(u)
			isMain(u, test.main)
			removed(u)

			start(u)
			if test.particular != nil {
				test.particular(u)
			}
			u.Program.Do("exit 3")
			u.Running()
			ready(u)
			if n := u.Property("NRestarts"); n == "0" {
				t.Error("systemd has not started it again")
			}
			reloaded(u)
			stopped(u)
			u.Content()
		})
	}
	tested = append(tested, "activated.socket")
	if names := filesOf(t, "systemd"); !slices.Equal(names, slices.Sorted(slices.Values(tested))) {
		t.Errorf("examples/systemd has %v, the test has %v", names, tested)
	}
}

// bootWithApp boots a systemd where pidleash is installed, and a program that tests can lead, in place of app.
func bootWithApp(t *testing.T) *bed.Systemd {
	machine := bed.BootSystemd(t, nil)
	for _, dir := range []string{"/usr/local/bin", "/usr/local/sbin"} {
		if out, code := machine.Run(t, "mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", dir); code != 0 {
			t.Fatalf("mount on %s: status %d: %s", dir, code, out)
		}
	}
	machine.Install(t, "/usr/local/bin/pidleash", bed.Pidleash)
	machine.Install(t, "/run/lab/notify", bed.CompileC(t, "notify.c"))
	for name, text := range map[string]string{
		"app":  "#!/bin/sh\nexec /run/lab/notify led /run/lab/app\n",
		"appd": "#!/bin/sh\n/usr/local/sbin/app -f &\necho $! >$PIDFILE\n",
	} {
		bed.WriteFile(t, machine.Path("/usr/local/sbin/"+name), text, 0o755)
	}
	return machine
}

// ledUnit gives systemd the unit, and checks that it is clean.
func ledUnit(t *testing.T, machine *bed.Systemd, name string) *bed.LedUnit {
	t.Helper()
	text := bed.ReadFile(t, bed.ModuleFile("examples", "systemd", name+".service"))
	if strings.Contains(text, "\nType=notify-reload\n") && systemdVersion(t, machine) < 253 {
		// What systemd 253 does then.
		text = strings.Replace(text, "\nType=notify-reload\n", "\nType=notify\nExecReload=kill -HUP $MAINPID\n", 1)
	}
	u := &bed.LedUnit{Program: machine.Program(t, "app"), PIDFile: "/run/app/app.pid"}
	for _, fifo := range []string{"/run/lab/app.in", "/run/lab/app.out"} {
		bed.Must(t, os.Chmod(machine.Path(fifo), 0o666)) // the umask has narrowed it
	}
	verified := []string{"/run/systemd/system/" + name + ".service"}
	if socket := bed.ModuleFile("examples", "systemd", name+".socket"); strings.Contains(text, name+".socket") {
		machine.Unit(t, name+".socket", bed.ReadFile(t, socket))
		verified = append(verified, "/run/systemd/system/"+name+".socket")
	}
	u.SystemdUnit = machine.Unit(t, name+".service", text)
	out, code := machine.Run(t, append([]string{"systemd-analyze", "verify", "--man=no"}, verified...)...)
	if code != 0 || out != "" {
		t.Errorf("systemd-analyze verify: status %d: %s", code, out)
	}
	return u
}

func systemdVersion(t *testing.T, machine *bed.Systemd) int {
	t.Helper()
	out, _ := machine.Systemctl(t, "--version")
	digits := regexp.MustCompile(`^systemd (\d+)`).FindStringSubmatch(out)
	if digits == nil {
		t.Fatalf("systemctl --version says %q", out)
	}
	version, err := strconv.Atoi(digits[1])
	bed.Must(t, err)
	return version
}

// start brings the unit up: by a connection to its socket, if it has one.
func start(u *bed.LedUnit) {
	u.T.Helper()
	socket := u.Property("TriggeredBy")
	if socket == "" {
		u.Must("start", "--no-block")
		u.Running()
		ready(u)
		return
	}
	if out, code := u.Bed.Systemctl(u.T, "start", socket); code != 0 {
		u.T.Fatalf("systemctl start %s: status %d: %s", socket, code, out)
	}
	u.Want("ActiveState", "inactive")
	conn, err := net.Dial("unix", u.Bed.Path("/run/activated.sock"))
	bed.Must(u.T, err)
	defer conn.Close()
	u.Running()
	ready(u)
	u.Obey("accept", "done") // it would start the unit again after its end
}

// ready is for units whose program has to say it.
func ready(u *bed.LedUnit) {
	u.T.Helper()
	if strings.HasPrefix(u.Property("Type"), "notify") {
		u.Want("ActiveState", "activating")
		u.Send("READY=1")
	}
	u.Await("ActiveState", "active")
}

// isMain checks whom systemd and the PID file know.
func isMain(u *bed.LedUnit, main string) {
	u.T.Helper()
	if got := u.Bed.Read(u.T, u.PIDFile); got != u.PID+"\n" {
		u.T.Errorf("%s says %q, the program's PID is %s", u.PIDFile, got, u.PID)
	}
	pid := u.Property("MainPID")
	if main == "program" && pid != u.PID || main == "pidleash" && u.Bed.Comm(u.T, pid) != "pidleash" {
		u.T.Errorf("the main process is %s, %s, and the program's PID is %s", pid, u.Bed.Comm(u.T, pid), u.PID)
	}
}

// removed takes the PID file away.
func removed(u *bed.LedUnit) {
	u.T.Helper()
	u.Bed.Remove(u.T, u.PIDFile)
	u.Over("inactive", "success")
}

// reloaded checks that a reload is one HUP, and with Type=notify-reload what systemd waits for.
func reloaded(u *bed.LedUnit) {
	u.T.Helper()
	u.Obey("count", "done")
	u.Must("reload", "--no-block")
	bed.Await(u.T, "a HUP", func() bool {
		u.Mark("main", "RTMIN+5")
		return strings.HasPrefix(u.Program.Says(), "HUP ")
	})
	if u.Name == "notify-reload.service" {
		u.Send(`RELOADING=1\nMONOTONIC_USEC=` + strconv.FormatInt(bed.Monotonic(u.T), 10))
		u.Await("ActiveState", "reloading")
		u.Send("READY=1")
		u.Await("ActiveState", "active") // where the HUP comes from a command, that has to end, too
	}
}

// stopped stops a unit whose program counts signals: it is told to end when it has got the TERM.
func stopped(u *bed.LedUnit) {
	u.T.Helper()
	bed.StopUnit(u)
	u.Program.Do("exit 0")
	u.Over("inactive", "success")
}

// testWatchdogUnit lets the watchdog bite.
func testWatchdogUnit(u *bed.LedUnit) {
	u.T.Helper()
	u.Obey("env WATCHDOG_USEC", "30000000")
	u.Obey("env WATCHDOG_PID", u.PID)
	u.Program.Do("send WATCHDOG=trigger")
	if u.PID = u.Program.Says(); u.PID == "done" { // or it has ended before it could say so
		u.Running()
	}
	ready(u)
	u.Want("NRestarts", "1")
}

// testHardenedUnit checks what the kernel says of the program.
func testHardenedUnit(u *bed.LedUnit) {
	u.T.Helper()
	status := u.Bed.Read(u.T, "/proc/"+u.PID+"/status")
	for _, line := range []string{`CapEff:\t0+`, `CapBnd:\t0+`, `NoNewPrivs:\t1`, `Seccomp:\t2`, `Uid:\t6\d{4}\t.*`} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(status) {
			u.T.Errorf("the program's status has no line %s:\n%s", line, status)
		}
	}
	if mounts := u.Bed.Read(u.T, "/proc/"+u.PID+"/mounts"); !strings.Contains(mounts, "subset=pid") {
		u.T.Errorf("the program has another /proc: %s", mounts)
	}
}

// filesOf lists a folder of examples.
func filesOf(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := filepath.Glob(bed.ModuleFile("examples", folder, "*"))
	bed.Must(t, err)
	for _, path := range entries {
		names = append(names, filepath.Base(path))
	}
	return names
}
