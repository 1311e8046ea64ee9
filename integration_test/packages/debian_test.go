package packages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// A debian is a systemd whose files are a copy on write of this machine's, so that dpkg can install there.
type debian struct {
	*bed.Systemd
	t testing.TB
}

// overlay makes /usr, /var and /etc writable, and none of it reaches the machine. dpkg keeps its lists in /var.
const overlay = `set -e
mkdir /run/lab/over
mount -t tmpfs -o mode=755 tmpfs /run/lab/over
for dir in usr var etc; do
	mkdir /run/lab/over/$dir /run/lab/over/$dir.work
	mount -t overlay -o lowerdir=/$dir,upperdir=/run/lab/over/$dir,workdir=/run/lab/over/$dir.work overlay /$dir
done
`

func bootDebian(t *testing.T) debian {
	t.Helper()
	d := debian{bed.BootSystemd(t, nil), t}
	if out, code := d.Run(t, "sh", "-c", overlay); code != 0 {
		bed.Missing(t, "no overlay here: %s", out)
	}
	if out, code := d.Run(t, "dpkg-query", "--show", "pidleash"); code == 0 {
		bed.Missing(t, "this machine has a package pidleash of its own: %s", out)
	}
	return d
}

// must is a command inside that succeeds.
func (d debian) must(words ...string) string {
	d.t.Helper()
	return d.ends(0, words...)
}

// ends is a command inside that ends with this code.
func (d debian) ends(want int, words ...string) string {
	d.t.Helper()
	out, code := d.Run(d.t, append([]string{"env", "DEBIAN_FRONTEND=noninteractive",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, words...)...)
	if code != want {
		d.t.Fatalf("%q ended with %d, want %d: %s", words, code, want, out)
	}
	return out
}

// install installs or upgrades, and checks that all files are as in the package.
func (d debian) install(file, version string) {
	d.t.Helper()
	inside := "/run/lab/" + filepath.Base(file)
	d.Install(d.t, inside, file)
	// Images of containers have dpkg leave documentation out. man-db's trigger would index the pages of all packages.
	d.must("dpkg", "--path-include=/usr/share/*", "--no-triggers", "--install", inside)
	got := d.must("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", "pidleash")
	if got != "installed "+version {
		d.t.Fatalf("dpkg says %q, want installed %s", got, version)
	}
	if got := d.must("dpkg", "--verify", "pidleash"); got != "" {
		d.t.Errorf("dpkg --verify says %s", got)
	}
	if got := d.must("/usr/bin/pidleash", "-version"); !strings.HasPrefix(got, "pidleash "+version+" ") {
		d.t.Errorf("-version says %q", got)
	}
}

// buildOf says whether a process runs the installed build, or one that an upgrade has replaced.
func (d debian) buildOf(pid string) string {
	d.t.Helper()
	exe, err := os.Readlink(d.Path("/proc/" + pid + "/exe"))
	bed.Must(d.t, err)
	switch {
	case strings.HasSuffix(exe, "/usr/bin/pidleash"):
		return "new"
	case strings.HasSuffix(exe, "/pidleash (deleted)"), strings.HasSuffix(exe, "/pidleash.dpkg-tmp (deleted)"):
		return "previous"
	}
	d.t.Fatalf("PID %s runs %s", pid, exe)
	return ""
}

// A way is one of the ways to run pidleash in a unit.
type way struct{ name, settings string }

// ways are told apart by who is the keeper: the main process, or a process beside it. The program is %s.
var ways = []way{
	{"child", "Type=exec\nKillMode=mixed\nExecStart=/usr/bin/pidleash -pidfile /run/lab/child.pid -- %s\n"},
	{"sidecar", "Type=exec\nExecStart=/usr/bin/pidleash -sidecar -pidfile /run/lab/sidecar.pid -- %s\n"},
	{"daemon", "Type=forking\nPIDFile=/run/lab/daemon.pid\nExecStart=/usr/bin/pidleash -daemon -- %s\n"},
	{"supervisor", "Type=forking\nPIDFile=/run/lab/supervisor.sup\nKillMode=mixed\nExecStart=/usr/bin/pidleash -daemon" +
		" -restart always -restart-delay 0s -pidfile /run/lab/supervisor.pid -supervisor-pidfile /run/lab/supervisor.sup" +
		" -- %s\n"},
}

// A wrapped is a unit of a way, and what runs in it.
type wrapped struct {
	*bed.SystemdUnit
	debian
	program *bed.SystemdProgram
	file    string
	pid     string // the program's
	keeper  string
}

func (d debian) start(w way) *wrapped {
	d.t.Helper()
	program := d.Program(d.t, w.name)
	u := &wrapped{debian: d, program: program, file: "/run/lab/" + w.name + ".pid"}
	u.SystemdUnit = d.Unit(d.t, w.name+".service", "[Service]\n"+strings.ReplaceAll(w.settings, "%s", program.Command))
	u.Must("start")
	u.up()
	return u
}

// take gives the unit to another test.
func (u *wrapped) take(t testing.TB) { u.t, u.T = t, t }

// up waits for the program, and finds its keeper: the only process of the unit that runs pidleash.
func (u *wrapped) up() {
	u.t.Helper()
	u.pid, u.keeper = u.program.Says(), ""
	u.running()
	bed.Await(u.t, "the only keeper of "+u.Name, func() bool {
		var keepers []string
		for _, pid := range u.Processes() {
			if exe, err := os.Readlink(u.Path("/proc/" + pid + "/exe")); err == nil && strings.Contains(exe, "pidleash") {
				keepers = append(keepers, pid)
			}
		}
		u.keeper = strings.Join(keepers, " ")
		return len(keepers) == 1
	})
}

// running checks that the file names the program, and that the unit is up.
func (u *wrapped) running() {
	u.t.Helper()
	u.Want("ActiveState", "active")
	if got := u.Read(u.t, u.file); got != u.pid+"\n" {
		u.t.Errorf("%s says %q, the program is %s", u.file, got, u.pid)
	}
}

// answers has the installed build speak of the unit: status, list and a second start.
func (u *wrapped) answers() {
	u.t.Helper()
	if got := u.must("/usr/bin/pidleash", "status", u.file); !strings.Contains(got, "PID "+u.pid) {
		u.t.Errorf("status of %s says %q, the program is %s", u.file, got, u.pid)
	}
	if got := u.must("/usr/bin/pidleash", "list", "/run/lab"); !strings.Contains(got, u.file) {
		u.t.Errorf("list has not %s:\n%s", u.file, got)
	}
	if got := u.ends(120, "/usr/bin/pidleash", "-pidfile", u.file, "true"); !strings.Contains(got, u.pid) {
		u.t.Errorf("a second start on %s says %q, the program is %s", u.file, got, u.pid)
	}
	u.must("/usr/bin/pidleash", "signal", "HUP", u.file)
	if got := u.program.Says(); got != "HUP" {
		u.t.Errorf("%s says %q, want HUP", u.Name, got)
	}
	u.running()
}

// The package is installed, used by units, upgraded under them and purged under them. Who runs notices nothing of it,
// and whatever build is installed speaks of them rightly.
func testDebian(t *testing.T, first, second string) {
	d := bootDebian(t)
	d.install(first, "1.0.0")
	var units []*wrapped
	for _, w := range ways {
		u := d.start(w)
		u.answers()
		units = append(units, u)
	}
	d.install(second, "1.0.1")
	for _, u := range units {
		t.Run(strings.TrimSuffix(u.Name, ".service"), func(t *testing.T) {
			u.take(t)
			testUpgraded(u)
		})
	}
	testPurged(d, units)
}

// testUpgraded is about a unit that the previous build keeps. It is left to the new one.
func testUpgraded(u *wrapped) {
	if got := u.buildOf(u.keeper); got != "previous" {
		u.t.Fatalf("PID %s runs the %s build, want the previous one", u.keeper, got)
	}
	u.answers()
	if strings.Contains(u.Name, "supervisor") { // the previous build starts it again
		u.program.Do("exit 1")
		u.pid = u.program.Says()
		bed.Await(u.t, u.file+" to name "+u.pid, func() bool { return u.Read(u.t, u.file) == u.pid+"\n" })
		u.answers()
	}
	u.must("/usr/bin/pidleash", "stop", u.file)
	u.gone()
	u.Must("start")
	u.up()
	if got := u.buildOf(u.keeper); got != "new" {
		u.t.Errorf("started again, PID %s runs the %s build", u.keeper, got)
	}
	u.answers()
}

// gone checks that nothing of the unit's run is left.
func (u *wrapped) gone() {
	u.t.Helper()
	u.Await("ActiveState", "inactive", "failed")
	u.Want("Result", "success")
	for _, pid := range []string{u.pid, u.keeper} {
		u.AwaitGone(u.t, pid)
	}
	if u.Exists(u.t, u.file) {
		u.t.Errorf("%s is still there", u.file)
	}
}

// testPurged removes the package: its files go, who runs stays on the leash.
func testPurged(d debian, units []*wrapped) {
	files := strings.Fields(d.must("dpkg", "--listfiles", "pidleash"))
	d.must("dpkg", "--no-triggers", "--purge", "pidleash")
	d.ends(1, "dpkg-query", "--show", "pidleash")
	for _, name := range files {
		if strings.Contains(name, "pidleash") && d.Exists(d.t, name) {
			d.t.Errorf("%s is still there", name)
		}
	}
	for _, u := range units {
		u.take(d.t)
		u.running()
		u.Remove(u.t, u.file)
		u.gone()
	}
}
