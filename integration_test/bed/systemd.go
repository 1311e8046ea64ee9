package bed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Systemd is a real systemd: PID 1 of its own PID, mount, UTS, IPC and
// cgroup namespaces, with a journal, and with nothing of the machine's own
// units. Inside, the machine's root file system is read-only, and /run, /dev,
// /tmp, /var/tmp and the cgroups are the bed's own. The network is the machine's.
//
//	/run/lab                what the tests share with it:
//	/run/lab/pidleash       the binary under test
//	/run/lab/program        see Systemd.Program
//	/run/systemd/system     the units; systemd reads them from here only
//
// Units are written as for any machine, default dependencies included. They
// run with a core limit of 0 and have 20 s to start and 10 s to stop.
type Systemd struct {
	Pid int // systemd's, as seen from outside
}

// BootSystemd boots a systemd that has the given units (file name to text)
// from the start, and ends it with everything in it when the test is over. If
// the machine cannot hold one it reports that by Missing.
func BootSystemd(t *testing.T, units map[string]string) *Systemd {
	t.Helper()
	vendor := findSystemd(t)
	takeMachine(t)
	lab := t.TempDir()
	systemd := layOut(t, lab, vendor, units)
	ready := listenReady(t)
	keeper := startKeeper(t, lab,
		"LAB="+lab,
		"LAB_NAME="+fmt.Sprintf("pidleash-lab-%d-%d", os.Getpid(), time.Now().UnixNano()),
		"LAB_BOOT="+bootScript,
		"LAB_ENTER="+enterScript,
		"LAB_SYSTEMD="+systemd,
		"LAB_CONSOLE="+openConsole(t, lab),
		"LAB_NOTIFY="+ready.LocalAddr().String(),
	)
	go func() {
		<-keeper.gone
		ready.Close() // nobody is left who could say it
	}()
	pid, err := awaitReady(ready)
	if err != nil {
		keeper.end(t)
		t.Fatalf("boot systemd: %v\n%s\n%s", err, keeper.log("setup"), keeper.log("console"))
	}
	return &Systemd{pid}
}

// openConsole returns a terminal to serve as /dev/console, where systemd
// reports before it has a journal. (It writes there to a terminal only.) What
// comes is kept in lab/console.
func openConsole(t *testing.T, lab string) string {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		Missing(t, "a terminal for the console of systemd: %v", err)
	}
	number, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatalf("terminal for the console of systemd: %v", err)
	}
	name := "/dev/pts/" + strconv.Itoa(number)
	// Held open, because a terminal that nobody has open reads as ended.
	console, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(lab, "console"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		console.Close()
		log.Close()
	})
	go func() { _, _ = io.Copy(log, near) }() // for people, as far as it comes
	return name
}

// listenReady opens the socket on which systemd says that it has booted. It is
// an abstract one, because systemd has another /tmp and /run than the test.
func listenReady(t *testing.T) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		t.Fatalf("listen for systemd: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1)
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatalf("SO_PASSCRED: %v", err)
	}
	return conn
}

// awaitReady returns the PID of the systemd that has said READY=1. The kernel
// attests it, translated into the PID namespace of the reader.
func awaitReady(conn *net.UnixConn) (int, error) {
	if err := conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return 0, err
	}
	message, control := make([]byte, 4096), make([]byte, 256)
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(message, control)
		if errors.Is(err, net.ErrClosed) {
			return 0, errors.New("it has ended before it was ready")
		}
		if err != nil {
			return 0, err
		}
		if !bytes.Contains(message[:n], []byte("READY=1")) {
			continue
		}
		parts, err := syscall.ParseSocketControlMessage(control[:oobn])
		if err != nil {
			return 0, err
		}
		for _, part := range parts {
			if sender, err := syscall.ParseUnixCredentials(&part); err == nil && sender.Uid == 0 {
				return int(sender.Pid), nil
			}
		}
	}
}

// layOut prepares under lab what the systemd will find in its /run, and
// returns the path of systemd's own binary.
func layOut(t *testing.T, lab, vendor string, units map[string]string) string {
	t.Helper()
	write := func(name string, mode fs.FileMode, data []byte) {
		name = filepath.Join(lab, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, mode)); err != nil {
			t.Fatal(err)
		}
	}
	copyOf := func(source, name string, mode fs.FileMode) {
		data, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		write(name, mode, data)
	}
	for name, text := range labFiles {
		write(filepath.Join("run/systemd", name), 0o644, []byte(text))
	}
	for _, name := range journaldUnits {
		copyOf(filepath.Join(vendor, "system", name), filepath.Join("run/systemd/system", name), 0o644)
	}
	for name, text := range units {
		write(filepath.Join("run/systemd/system", name), 0o644, []byte(text))
	}
	if err := os.Mkdir(filepath.Join(lab, "run/systemd/system/lab.target.wants"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyOf(Pidleash, "run/lab/pidleash", 0o755)
	write("run/lab/program", 0o755, []byte(programScript))
	write("setup", 0o644, nil)
	return filepath.Join(vendor, "systemd")
}

// findSystemd returns the directory of systemd and its units.
func findSystemd(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "a systemd of one's own needs root")
	}
	for _, tool := range []string{"unshare", "nsenter", "mount", "systemctl", "journalctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			Missing(t, "a systemd of one's own: %v", err)
		}
	}
	for _, dir := range []string{"/usr/lib/systemd", "/lib/systemd"} {
		_, err := os.Stat(filepath.Join(dir, "systemd"))
		_, unitErr := os.Stat(filepath.Join(dir, "system", journaldUnits[0]))
		if err == nil && unitErr == nil {
			return dir
		}
	}
	Missing(t, "systemd and its journal are not installed")
	return ""
}

// journaldUnits are taken as the distribution has them.
var journaldUnits = []string{"systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"}

// labFiles is the configuration of the bed, below /run/systemd. The targets
// are empty, so that default dependencies pull in nothing of the machine.
var labFiles = map[string]string{
	"system/lab.target": `[Unit]
DefaultDependencies=no
Requires=systemd-journald.service systemd-journald-dev-log.socket
After=systemd-journald.service
`,
	"system/sysinit.target":  "[Unit]\nDefaultDependencies=no\n",
	"system/basic.target":    "[Unit]\nDefaultDependencies=no\n",
	"system/sockets.target":  "[Unit]\nDefaultDependencies=no\n",
	"system/timers.target":   "[Unit]\nDefaultDependencies=no\n",
	"system/shutdown.target": "[Unit]\nDefaultDependencies=no\n",
	"system.conf.d/lab.conf": `[Manager]
ShowStatus=yes
DefaultLimitCORE=0
DefaultTimeoutStartSec=20s
DefaultTimeoutStopSec=10s
`,
	// Audit= is empty because yes and no both switch the whole machine's.
	"journald.conf.d/lab.conf": `[Journal]
Storage=volatile
RuntimeMaxUse=64M
RateLimitIntervalSec=0
ReadKMsg=no
Audit=
ForwardToWall=no
`,
}

// keeperScript holds the bed for as long as its standard input is open, which
// is as long as the test lives, however that dies; then it ends everything in
// the bed and removes the cgroup. It runs in a mount namespace of its own.
// Status 77: the machine does not let us.
const keeperScript = `set -eu
exec 3<&0 </dev/null
umask 022
chmod -R go=rX "$LAB/run"

# Wherever this machine has cgroup2 mounted, if at all: here is its root.
mkdir "$LAB/cgroup"
mount -t cgroup2 cgroup2 "$LAB/cgroup" || exit 77
LAB_GROUP=$LAB/cgroup/$LAB_NAME
mkdir "$LAB_GROUP" || exit 77
trap 'rmdir "$LAB_GROUP" 2>/dev/null || :' EXIT
[ -w "$LAB_GROUP/cgroup.kill" ] || exit 77
unshare --pid --mount --cgroup true || exit 77

export LAB_GROUP
trap : TERM # ends the read below
(
	unshare --pid --mount --uts --ipc --fork --kill-child --mount-proc sh -c "$LAB_BOOT" || :
	kill -TERM $$
) 3<&- &
lab=$!
read -r _ <&3 || :

# Again and again, because the bed may not have moved into its group yet. PID 1
# ends after everything in its namespace, and unshare after PID 1.
while kill -0 "$lab" 2>/dev/null; do
	echo 1 >"$LAB_GROUP/cgroup.kill"
	sleep 0.02
done
# The kernel may be a moment behind.
tries=100
until find "$LAB_GROUP" -depth -type d -exec rmdir {} +; do
	tries=$((tries - 1))
	[ "$tries" -gt 0 ] || exit 1
	sleep 0.1
done
`

// bootScript is PID 1 of the bed. A cgroup namespace has as its root the
// group it is made in, so that comes after the move.
const bootScript = `set -eu
echo 0 >"$LAB_GROUP/cgroup.procs"
umount "$LAB/cgroup"
exec unshare --cgroup sh -c "$LAB_ENTER"
`

// enterScript covers what systemd must not touch, and becomes systemd. What
// lies in /tmp comes last: the lab is there itself.
const enterScript = `set -eu
cd /
mount -t tmpfs -o mode=755 tmpfs /run
cp -R "$LAB/run/." /run/

mkdir /run/dev
mount -t tmpfs -o mode=755 tmpfs /run/dev
for node in null zero full random urandom tty; do
	: >"/run/dev/$node"
	mount --bind "/dev/$node" "/run/dev/$node"
done
: >/run/dev/console
mount --bind "$LAB_CONSOLE" /run/dev/console
mkdir /run/dev/pts /run/dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /run/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /run/dev/shm
ln -s pts/ptmx /run/dev/ptmx
ln -s /proc/self/fd /run/dev/fd
ln -s fd/0 /run/dev/stdin
ln -s fd/1 /run/dev/stdout
ln -s fd/2 /run/dev/stderr
mount --move /run/dev /dev
rmdir /run/dev

mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -o remount,bind,ro /
for dir in /var/log/journal /var/tmp /tmp; do
	[ ! -d "$dir" ] || mount -t tmpfs -o mode=1777 tmpfs "$dir"
done

exec env -i container=lab LANG=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	NOTIFY_SOCKET="$LAB_NOTIFY" \
	SYSTEMD_UNIT_PATH=/run/systemd/system.control:/run/systemd/transient:/run/systemd/system \
	SYSTEMD_GENERATOR_PATH=/run/systemd/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/systemd/none \
	"$LAB_SYSTEMD" --unit=lab.target
`

// A systemdKeeper is the process that runs keeperScript.
type systemdKeeper struct {
	lab  string
	cmd  *exec.Cmd
	hold io.Closer     // closing it ends the bed
	gone chan struct{} // closed when the keeper has ended
	done bool          // end has been called
}

// startKeeper starts the keeper of a bed, to end with the test.
func startKeeper(t *testing.T, lab string, env ...string) *systemdKeeper {
	t.Helper()
	cmd := exec.Command("sh", "-c", `unshare --mount true || exit 77; exec unshare --mount sh -c "$LAB_KEEPER"`)
	cmd.Env = append(append(os.Environ(), "LAB_KEEPER="+keeperScript), env...)
	// A ^C on the terminal is for the test; the keeper outlives it to clean up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	setup, err := os.OpenFile(filepath.Join(lab, "setup"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer setup.Close()
	cmd.Stdout, cmd.Stderr = setup, setup
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the keeper of systemd: %v", err)
	}
	k := &systemdKeeper{lab: lab, cmd: cmd, hold: hold, gone: make(chan struct{})}
	go func() {
		defer close(k.gone)
		_ = cmd.Wait() // end judges by the status
	}()
	t.Cleanup(func() { k.end(t) })
	return k
}

// end ends the bed and whatever runs in it, once.
func (k *systemdKeeper) end(t *testing.T) {
	t.Helper()
	if k.done {
		return
	}
	k.done = true
	k.hold.Close()
	<-k.gone
	switch code := k.cmd.ProcessState.ExitCode(); code {
	case 0:
	case 77:
		Missing(t, "this machine lets nobody make namespaces and cgroups:\n%s", k.log("setup"))
	default:
		t.Errorf("the keeper of systemd left something behind: status %d\n%s", code, k.log("setup"))
	}
}

// log returns what was said in one phase of the boot, for a message.
func (k *systemdKeeper) log(phase string) string {
	text, err := os.ReadFile(filepath.Join(k.lab, phase))
	if err != nil {
		return err.Error()
	}
	return phase + ":\n" + string(text)
}

// command prepares a command inside: in all namespaces of systemd, but neither
// in its cgroups nor as its child.
func (b *Systemd) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(b.Pid), "-a", "--"}, args...)...)
	cmd.Env = []string{"LANG=C", "PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = time.Second // what nsenter has forked may hold the pipes
	return cmd
}

// Run runs a command inside and returns both its outputs and its exit code.
func (b *Systemd) Run(t testing.TB, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	out, err := b.command(ctx, args...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		t.Fatalf("%s in systemd's namespaces: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), 0
}

// Systemctl runs systemctl inside and returns its output and exit code.
func (b *Systemd) Systemctl(t testing.TB, args ...string) (string, int) {
	t.Helper()
	return b.Run(t, append([]string{"systemctl", "--no-pager"}, args...)...)
}

// Path is where a path of the inside is reached from the outside.
func (b *Systemd) Path(inside string) string {
	return filepath.Join("/proc", strconv.Itoa(b.Pid), "root", inside)
}

// Read returns a file of the inside.
func (b *Systemd) Read(t testing.TB, inside string) string {
	t.Helper()
	text, err := os.ReadFile(b.Path(inside))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Write makes a file inside.
func (b *Systemd) Write(t testing.TB, inside, text string) {
	t.Helper()
	if err := os.WriteFile(b.Path(inside), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Remove unlinks a file of the inside.
func (b *Systemd) Remove(t testing.TB, inside string) {
	t.Helper()
	if err := os.Remove(b.Path(inside)); err != nil {
		t.Fatal(err)
	}
}

// Exists tells whether there is a file at a path of the inside.
func (b *Systemd) Exists(t testing.TB, inside string) bool {
	t.Helper()
	_, err := os.Lstat(b.Path(inside))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// A SystemdUnit is one unit in the hands of one test.
type SystemdUnit struct {
	T    testing.TB
	Bed  *Systemd
	Name string
}

// Unit gives systemd a unit file, by its file name and text, until the test is
// over; then it is stopped. If the test has failed, its journal is shown.
func (b *Systemd) Unit(t testing.TB, name, text string) *SystemdUnit {
	t.Helper()
	file := filepath.Join("/run/systemd/system", name)
	b.Write(t, file, text)
	// systemd forgets an inactive unit that nothing refers to, and its
	// properties with it: Result=success is then but the default.
	wants := filepath.Join("/run/systemd/system/lab.target.wants", name)
	if err := os.Symlink(file, b.Path(wants)); err != nil {
		t.Fatal(err)
	}
	u := &SystemdUnit{t, b, name}
	t.Cleanup(func() {
		if t.Failed() {
			state, _ := u.Systemctl("status", "--full", "--lines=0")
			t.Logf("%s:\n%s\n%s\n%s", name, text, state, strings.Join(u.Journal("-o", "short-monotonic"), "\n"))
		}
		u.Systemctl("stop")
		u.Systemctl("reset-failed")
		b.Remove(t, wants)
		b.Remove(t, file)
	})
	if out, code := b.Systemctl(t, "daemon-reload"); code != 0 {
		t.Fatalf("systemctl daemon-reload for %s: status %d: %s", name, code, out)
	}
	return u
}

// Systemctl runs `systemctl ARGS... UNIT` and returns its output and exit code.
func (u *SystemdUnit) Systemctl(args ...string) (string, int) {
	u.T.Helper()
	return u.Bed.Systemctl(u.T, append(args, u.Name)...)
}

// Must is systemctl that has to succeed.
func (u *SystemdUnit) Must(args ...string) {
	u.T.Helper()
	if out, code := u.Systemctl(args...); code != 0 {
		u.T.Fatalf("systemctl %s %s: status %d: %s", strings.Join(args, " "), u.Name, code, out)
	}
}

// Property returns one property of the unit.
func (u *SystemdUnit) Property(name string) string {
	u.T.Helper()
	out, code := u.Systemctl("show", "--value", "--property="+name)
	if code != 0 {
		u.T.Fatalf("property %s of %s: status %d: %s", name, u.Name, code, out)
	}
	return strings.TrimSuffix(out, "\n")
}

// Want fails the test unless the property has this value.
func (u *SystemdUnit) Want(name, value string) {
	u.T.Helper()
	if got := u.Property(name); got != value {
		u.T.Errorf("%s: %s=%s, want %s", u.Name, name, got, value)
	}
}

// Await waits until the property has one of these values. systemctl tells the
// end of a job only; what happens without one has to be asked for.
func (u *SystemdUnit) Await(name string, values ...string) {
	u.T.Helper()
	var got string
	if !Poll(func() bool {
		got = u.Property(name)
		return slices.Contains(values, got)
	}) {
		u.T.Fatalf("%s: %s=%s after %v, want %v", u.Name, name, got, Patience, values)
	}
}

// Journal returns the lines that the unit, and systemd about it, has written so
// far, the bare messages, narrowed by arguments of journalctl(1).
func (u *SystemdUnit) Journal(args ...string) []string {
	u.T.Helper()
	if out, code := u.Bed.Run(u.T, "journalctl", "--sync"); code != 0 {
		u.T.Fatalf("journalctl --sync: status %d: %s", code, out)
	}
	out, code := u.Bed.Run(u.T, append([]string{"journalctl", "-q", "-o", "cat", "--no-pager", "-u", u.Name}, args...)...)
	if code != 0 {
		u.T.Fatalf("journalctl %v of %s: status %d: %s", args, u.Name, code, out)
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}

// Processes returns the PIDs in the unit's cgroup, as the inside counts them.
func (u *SystemdUnit) Processes() []string {
	u.T.Helper()
	group := u.Property("ControlGroup")
	if group == "" {
		return nil
	}
	// The group goes with its last process. Its list is read inside because
	// the kernel translates the PIDs for the reader.
	out, code := u.Bed.Run(u.T, "sh", "-c", `[ ! -d "$0" ] || cat "$0/cgroup.procs"`, "/sys/fs/cgroup"+group)
	if code != 0 {
		u.T.Fatalf("processes of %s: status %d: %s", u.Name, code, out)
	}
	return strings.Fields(out)
}

// programScript is a PROGRAM which the test leads by the hand. It tells what
// happens to it on the FIFO $1.out and does what it reads from $1.in.
const programScript = `#!/bin/sh
trap 'echo HUP >"$1.out"' HUP
exec 3<>"$1.in"
echo "$$" >"$1.out"
while :; do
	# A signal ends the read.
	read -r order <&3 || continue
	eval "$order"
done
`

// A SystemdProgram is the near end of one /run/lab/program.
type SystemdProgram struct {
	t       testing.TB
	Command string // for ExecStart=
	out     *os.File
	lines   *bufio.Reader
	in      *os.File
}

// Program prepares a program for the unit of this name. Its first word is its
// PID, at every start; it says HUP at every SIGHUP.
func (b *Systemd) Program(t testing.TB, name string) *SystemdProgram {
	t.Helper()
	base := filepath.Join("/run/lab", name)
	open := func(suffix string) *os.File {
		fifo := b.Path(base + suffix)
		if err := syscall.Mkfifo(fifo, 0o666); err != nil {
			t.Fatalf("mkfifo %s: %v", fifo, err)
		}
		// For both directions, so that neither side waits for the other and
		// a restarted program finds the FIFO as the first did.
		file, err := os.OpenFile(fifo, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			file.Close()
			os.Remove(fifo)
		})
		return file
	}
	out, in := open(".out"), open(".in")
	return &SystemdProgram{t, "/run/lab/program " + base, out, bufio.NewReader(out), in}
}

// Says returns the program's next word.
func (p *SystemdProgram) Says() string {
	p.t.Helper()
	if err := p.out.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.lines.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%s says nothing more: %v", p.Command, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Do has the program run a line of shell.
func (p *SystemdProgram) Do(order string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, order+"\n"); err != nil {
		p.t.Fatalf("%s, told %q: %v", p.Command, order, err)
	}
}

// Messages returns pidleash's own lines in the journal.
func (u *SystemdUnit) Messages(args ...string) []string {
	u.T.Helper()
	return slices.DeleteFunc(u.Journal(args...), func(line string) bool {
		return !strings.HasPrefix(line, "pidleash: ")
	})
}

// Silent checks that pidleash has said nothing, as when all is well.
func (u *SystemdUnit) Silent() {
	u.T.Helper()
	if lines := u.Messages(); len(lines) > 0 {
		u.T.Errorf("%s: pidleash is not silent: %q", u.Name, lines)
	}
}

// Comm returns the name of a process inside.
func (b *Systemd) Comm(t testing.TB, pid string) string {
	t.Helper()
	return strings.TrimSpace(b.Read(t, "/proc/"+pid+"/comm"))
}

// Install puts a binary into the bed.
func (b *Systemd) Install(t testing.TB, inside, binary string) {
	t.Helper()
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, b.Path(inside), string(text), 0o755)
}

// Content checks that systemd has had nothing to complain of.
func (u *SystemdUnit) Content() {
	u.T.Helper()
	for _, line := range u.Journal() {
		for _, complaint := range []string{"not our child", "PID file", "protocol", "timed out", "goroutine"} {
			if strings.Contains(line, complaint) && !strings.HasPrefix(line, "pidleash: ") {
				u.T.Errorf("%s: the journal has %q", u.Name, line)
			}
		}
	}
}

// Signal sends a signal to a process inside.
func (b *Systemd) Signal(t testing.TB, sig, pid string) {
	t.Helper()
	if out, code := b.Run(t, "/bin/kill", "-"+sig, pid); code != 0 {
		t.Fatalf("kill -%s %s: status %d: %s", sig, pid, code, out)
	}
}

// AwaitGone waits for the end of a process inside.
func (b *Systemd) AwaitGone(t testing.TB, pid string) {
	t.Helper()
	Await(t, "the end of PID "+pid, func() bool { return !b.Exists(t, "/proc/"+pid) })
}

// Storm starts a batch of units at a time and waits for their ends.
func (b *Systemd) Storm(t *testing.T, batch []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	// That a start has failed may be right; that it has not ended is not.
	out, _ := b.command(ctx, append([]string{"systemctl", "--no-pager", "start"}, batch...)...).CombinedOutput()
	if ctx.Err() != nil {
		states, _ := b.Systemctl(t, "list-units", "--all", "storm-*")
		t.Errorf("systemctl start %v hangs:\n%s\n%s", batch, out, states)
		return
	}
	Await(t, "the end of all programs", func() bool {
		out, _ := b.Systemctl(t, "list-units", "--quiet", "--plain", "--state=activating,active,deactivating", "storm-*.service")
		return strings.TrimSpace(out) == ""
	})
	out2, _ := b.Systemctl(t, "show", "--property=Id,Result", "storm-*")
	for one := range strings.SplitSeq(out2, "\n\n") {
		if strings.Contains(one, "Result=") && !strings.Contains(one, "Result=success") && !strings.Contains(one, "Result=exit-code") {
			t.Errorf("%s\n%s", one, b.journalOf(t, one))
		}
	}
	b.Systemctl(t, "reset-failed")
}

// journalOf returns what was said of the unit with this "Id=".
func (b *Systemd) journalOf(t *testing.T, properties string) string {
	t.Helper()
	_, name, _ := strings.Cut(properties, "Id=")
	name, _, _ = strings.Cut(name, "\n")
	return strings.Join((&SystemdUnit{t, b, name}).Journal("-o", "short-monotonic"), "\n")
}

// Mark sends a signal by systemctl.
func (u *SystemdUnit) Mark(whom, sig string) {
	u.T.Helper()
	u.Must("kill", "--kill-whom="+whom, "--signal="+sig)
}

// Moment returns a property that is a time.
func (u *SystemdUnit) Moment(name string) int64 {
	u.T.Helper()
	at, err := strconv.ParseInt(u.Property(name), 10, 64)
	if err != nil {
		u.T.Fatal(err)
	}
	return at
}

// ActiveSince waits until the unit is active, and checks that it was not before.
func (u *SystemdUnit) ActiveSince(earliest int64) {
	u.T.Helper()
	u.Await("ActiveState", "active", "failed")
	if at := u.Moment("ActiveEnterTimestampMonotonic"); at < earliest {
		u.T.Errorf("%s is active at %d µs, want not before %d", u.Name, at, earliest)
	}
}
