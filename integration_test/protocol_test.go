package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// notifyProgram returns the path of the C program in testdata/notify.c.
func notifyProgram(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		missing(t, "%v", err)
	}
	path, err := compileNotify()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// compileNotify puts it beside the binary under test, where it is removed with it.
var compileNotify = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(pidleash), "notify")
	gcc := exec.Command("gcc", "-static", "-O", "-Wall", "-Wextra", "-Werror", "-o", path, filepath.Join("testdata", "notify.c"))
	if out, err := gcc.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", gcc, err, out)
	}
	return path, nil
})

// TestProtocols proves that the service manager's protocols work behind
// pidleash, under a real systemd.
func TestProtocols(t *testing.T) {
	bed := bootSystemd(t, nil)
	binary, err := os.ReadFile(notifyProgram(t))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, bed.path("/run/lab/notify"), string(binary), 0o755)
	for _, test := range protocolTests {
		t.Run(test.name, func(t *testing.T) {
			if test.slow {
				t.Parallel()
			}
			test.run(&protocolCase{t, bed, "protocol-" + test.name})
		})
	}
}

var protocolTests = []struct {
	name string
	run  func(*protocolCase)
	slow bool // it waits for deadlines of systemd
}{
	{"example", protocolExample, false},
	{"sockets", protocolSockets, false},
	{"notify", protocolNotify, false},
	{"notify-refused", protocolNotifyRefused, false},
	{"main-pid", protocolMainPID, false},
	{"systemd-notify", protocolSystemdNotify, false},
	{"burst", protocolBurst, false},
	{"big", protocolBig, false},
	{"stored", protocolStored, false},
	{"forged", protocolForged, false},
	{"other-user", protocolOtherUser, false},
	{"children", protocolChildren, false},
	{"private-network", protocolPrivateNetwork, false},
	{"last-words", protocolLastWords, false},
	{"reload", protocolReload, false},
	{"why", protocolWhy, false},
	{"sigpipe", protocolSIGPIPE, false},
	{"signals", protocolSignals, false},
	{"rest", protocolRest, false},
	{"watchdog", protocolWatchdog, true},
	{"watchdog-missed", protocolWatchdogMissed, true},
	{"watchdog-trigger", protocolWatchdogTrigger, false},
	{"extend", protocolExtend, true},
	{"extend-missed", protocolExtendMissed, true},
}

// A protocolCase is one test.
type protocolCase struct {
	*testing.T
	bed  *systemdBed
	name string // of its units and files, nobody else's
}

// A ledUnit is a service whose program does what the test says, see notify.c.
type ledUnit struct {
	*systemdUnit
	program *systemdProgram
	pidfile string
	pid     string // the program's
}

// behind is how the program stands in ExecStart=: "%s" is the PID file.
const (
	bare   = ""
	behind = "/run/lab/pidleash -pidfile %s -- "
)

// led starts a program that can be led, in a service with these settings, and
// returns when it runs. It has said nothing to systemd.
func (c *protocolCase) led(name, command, settings string) *ledUnit {
	c.Helper()
	u := &ledUnit{pidfile: "/run/lab/" + name + ".pid"}
	u.program = c.bed.program(c, name)
	u.program.command = "/run/lab/notify led /run/lab/" + name
	for _, file := range []*os.File{u.program.in, u.program.out} {
		if err := file.Chmod(0o666); err != nil { // the umask has narrowed it
			c.Fatal(err)
		}
	}
	if strings.Contains(command, "%s") {
		command = fmt.Sprintf(command, u.pidfile)
	}
	u.systemdUnit = c.bed.unit(c, name+".service", "[Service]\nExecStart="+command+u.program.command+"\n"+settings)
	u.must("start", "--no-block")
	u.running()
	return u
}

// running waits for a start of the program.
func (u *ledUnit) running() {
	u.t.Helper()
	u.pid = u.program.says()
}

// ask gives an order and returns the answer.
func (u *ledUnit) ask(order string) string {
	u.t.Helper()
	u.program.do(order)
	return u.program.says()
}

// obey gives an order that is answered in this way.
func (u *ledUnit) obey(order, answer string) {
	u.t.Helper()
	if got := u.ask(order); got != answer {
		u.t.Fatalf("%s: the program answers %q to %q, want %q", u.name, got, order, answer)
	}
}

// send lets the program send a message, and returns when systemd has read it.
func (u *ledUnit) send(text string) {
	u.t.Helper()
	u.obey("send "+text, "done")
	u.read()
}

// read returns when systemd has read all that the program has sent: this is
// sd_notify_barrier(3), so every use is a test of BARRIER=, too.
func (u *ledUnit) read() {
	u.t.Helper()
	u.obey("barrier", "passed")
}

// over checks that the unit ends in this way.
func (u *ledUnit) over(state, result string) {
	u.t.Helper()
	(&leashedUnit{u.systemdUnit, u.program, u.pidfile}).over(state, result)
}

// protocolExample runs the unit of the documentation.
func protocolExample(c *protocolCase) {
	docs := readFile(c, filepath.Join("..", "docs", "systemd.md"))
	_, rest, _ := strings.Cut(docs, "```ini\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		c.Fatal("docs/systemd.md has no example")
	}
	program := c.bed.program(c, c.name)
	program.command = "/run/lab/notify led /run/lab/" + c.name
	text = strings.NewReplacer("/usr/local/bin/pidleash", "/run/lab/pidleash", "/usr/sbin/app", program.command).Replace(text)
	u := &ledUnit{systemdUnit: c.bed.unit(c, c.name+".service", text), program: program, pidfile: "/run/app/app.pid"}
	u.must("start", "--no-block")
	u.running()
	if got := c.bed.read(c, u.pidfile); got != u.pid+"\n" {
		c.Errorf("%s says %q, the program's PID is %s", u.pidfile, got, u.pid)
	}
	u.obey("count", "done")
	u.send("READY=1")
	u.want("ActiveState", "active")
	u.must("reload")
	u.mark("main", "RTMIN+5")
	if got := u.program.says(); got != "HUP 1+0" {
		c.Errorf("the program has got %q by a reload, want one HUP", got)
	}
	stopUnit(u)
	u.program.do("exit 0")
	u.over("inactive", "success")
	u.silent()
}

// protocolSockets connects to a server that systemd starts for it.
func protocolSockets(c *protocolCase) {
	pidfile := "/run/lab/" + c.name + ".pid"
	service := c.bed.unit(c, c.name+".service", "[Service]\nExecStart=/run/lab/pidleash -pidfile "+pidfile+" /run/lab/notify serve\n")
	paths := map[string]string{}
	for _, name := range []string{"web", "admin"} {
		paths[name] = "/run/lab/" + c.name + "." + name
		c.bed.unit(c, c.name+"-"+name+".socket", "[Socket]\nListenStream="+paths[name]+"\nFileDescriptorName="+name+
			"\nService="+c.name+".service\n").must("start")
	}
	service.want("ActiveState", "inactive")
	re := regexp.MustCompile(`^pid (\d+) socket (\d) right 2 (\w+):(\w+)\n$`)
	for name, path := range paths {
		answer := dial(c, c.bed.path(path))
		words := re.FindStringSubmatch(answer)
		if words == nil {
			c.Fatalf("the server on socket %q answers %q, want a match of %v", name, answer, re)
		}
		if got := c.bed.read(c, pidfile); got != words[1]+"\n" {
			c.Errorf("%s says %q, the server's PID is %s", pidfile, got, words[1])
		}
		if place, _ := strconv.Atoi(words[2]); words[3+place] != name {
			c.Errorf("socket %q came to the server as %q", name, words[3+place])
		}
	}
	service.silent()
}

// dial connects to a socket and returns what comes.
func dial(t testing.TB, path string) string {
	t.Helper()
	conn, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(answer)
}

// protocolNotify has a program say all that a service can say to a Type=notify
// unit with the default NotifyAccess=.
func protocolNotify(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\n")
	u.want("NotifyAccess", "main")
	u.send(`STATUS=warming up`)
	u.want("StatusText", "warming up")
	u.want("ActiveState", "activating")
	u.send(`READY=1\nSTATUS=serving\n`)
	u.want("ActiveState", "active")
	u.want("StatusText", "serving")
	u.send(`ERRNO=7`)
	u.want("StatusErrno", "7")
	u.send(`RELOADING=1\nMONOTONIC_USEC=1`)
	u.want("ActiveState", "reloading")
	u.send(`READY=1`)
	u.want("ActiveState", "active")
	u.send(`WATCHDOG_USEC=77000000`)
	u.want("WatchdogUSec", "1min 17s")
	u.send(`X_UNKNOWN=1\nSTATUS=and on`)
	u.want("StatusText", "and on")
	u.send(`STOPPING=1`)
	u.want("ActiveState", "deactivating")
	u.program.do("exit 0")
	u.over("inactive", "success")
	u.silent()
}

// protocolNotifyRefused is the negative control: systemd does not listen to a
// program that is not the main process, unless somebody relays.
func protocolNotifyRefused(c *protocolCase) {
	u := c.led(c.name, `/bin/sh -c '"$$0" "$$@"; exit' `, "Type=notify\nNotifyAccess=main\n")
	u.send(`READY=1`)
	u.want("ActiveState", "activating")
}

// protocolMainPID: systemd would take the program for the main process, and
// pidleash's messages for a stranger's.
func protocolMainPID(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\n")
	main := u.property("MainPID")
	for i, text := range []string{
		`MAINPID=%s\nREADY=1\nSTATUS=%d`,
		`READY=1\nMAINPID=%s\nSTATUS=%d`,
		`READY=1\rMAINPID=%s\rSTATUS=%d`, // to systemd it is the end of a line
		`STATUS=%[2]d\nMAINPID=%[1]s`,
	} {
		u.send(fmt.Sprintf(text, u.pid, i))
		u.want("MainPID", main)
		u.want("StatusText", strconv.Itoa(i))
	}
	u.send("MAINPID=" + u.pid)
	u.want("MainPID", main)
	u.send("STATUS=and on")
	u.want("StatusText", "and on")
	u.want("ActiveState", "active")
	u.silent()
}

// protocolSystemdNotify lets a script notify, by systemd's own tool.
func protocolSystemdNotify(c *protocolCase) {
	program := c.bed.program(c, c.name)
	unit := c.bed.unit(c, c.name+".service", "[Service]\nType=notify\nExecStart=/run/lab/pidleash "+program.command+"\n")
	unit.must("start", "--no-block")
	program.says()
	// It fails when its barrier has not come through in 5 s.
	program.do(`systemd-notify --ready "--status=by script"; echo $? >"$1.out"`)
	if code := program.says(); code != "0" {
		c.Errorf("systemd-notify ended with %s", code)
	}
	unit.want("ActiveState", "active")
	unit.want("StatusText", "by script")
	unit.silent()
}

func protocolBurst(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\n")
	u.obey("many 1000 STATUS=message", "done")
	u.read()
	u.want("StatusText", "message 1000")
}

// protocolBig stays below the 4,096 bytes from which systemd reads nothing.
func protocolBig(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\n")
	u.obey("big 4000 STATUS=", "done")
	u.read()
	if got, want := u.property("StatusText"), strings.Repeat("x", 4000-len("STATUS=")); got != want {
		c.Errorf("of %d bytes of status %d have arrived", len(want), len(got))
	}
}

// protocolStored hands descriptors over to systemd and gets them back.
func protocolStored(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\nFileDescriptorStoreMax=4\nRestart=always\nRestartSec=0\n")
	u.send("READY=1")
	u.obey("sockets", "wrong 0 -")
	own := len(u.descriptors())
	for _, text := range []string{"alpha one", "beta two", "gamma three"} {
		u.obey("store "+text, "done")
	}
	u.read()
	u.want("NFileDescriptorStore", "3")
	if now := len(u.descriptors()); now != own {
		c.Errorf("pidleash has %d descriptors after it has passed on three, %d before", now, own)
	}
	u.send(`FDSTOREREMOVE=1\nFDNAME=beta`)
	u.want("NFileDescriptorStore", "2")
	u.program.do("kill 11")
	u.running()
	words := strings.Fields(u.ask("sockets"))
	texts := strings.Split(u.ask("stored"), ":")
	if len(words) != 3 || words[0] != "right" || words[1] != "2" {
		c.Fatalf("the restarted program is given %q, want two descriptors", words)
	}
	stored := map[string]string{}
	for i, name := range strings.Split(words[2], ":") {
		stored[name] = texts[i]
	}
	if len(stored) != 2 || stored["alpha"] != "one" || stored["gamma"] != "three" {
		c.Errorf("the restarted program is given %v, want alpha and gamma", stored)
	}
	u.silent()
}

// descriptors lists what pidleash has open.
func (u *ledUnit) descriptors() []string {
	u.t.Helper()
	return openFiles(u.t, u.bed.path("/proc/"+u.property("MainPID")))
}

// openFiles lists what a process has open, by its directory in /proc.
func openFiles(t testing.TB, process string) (targets []string) {
	t.Helper()
	links, err := filepath.Glob(filepath.Join(process, "fd", "*"))
	if err != nil || len(links) == 0 {
		t.Fatalf("descriptors of %s: %v", process, err)
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, target)
	}
	return targets
}

// relayAddress is the NOTIFY_SOCKET that the program has.
func (u *ledUnit) relayAddress() string {
	u.t.Helper()
	address := u.ask("env NOTIFY_SOCKET")
	if !strings.HasPrefix(address, "@") {
		u.t.Fatalf("%s: NOTIFY_SOCKET=%s is no relay", u.name, address)
	}
	return address
}

// say sends a message to a socket as another user, from outside the unit.
func say(t testing.TB, user uint32, address, text string) {
	t.Helper()
	cmd := exec.Command(notifyProgram(t), "say", text)
	cmd.Env = []string{"NOTIFY_SOCKET=" + address}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// protocolForged: everybody can send to an abstract socket. The messages of
// those who are listened to are the negative control.
func protocolForged(c *protocolCase) {
	const root, stranger = 0, nobody - 1
	for _, test := range []struct {
		user    string
		sender  uint32
		trusted bool
	}{
		{"root", stranger, false},
		{"root", nobody, false},
		{"root", root, true},
		{strconv.Itoa(nobody), stranger, false},
		{strconv.Itoa(nobody), nobody, true},
		{strconv.Itoa(nobody), root, true},
	} {
		name := fmt.Sprintf("%s-%s-%d", c.name, test.user, test.sender)
		c.bed.directory(c, "/run/lab/"+name+".d")
		u := c.led(name, "/run/lab/pidleash -pidfile /run/lab/"+name+".d/pid -- ", "Type=notify\nUser="+test.user+"\n")
		say(c, test.sender, u.relayAddress(), "ERRNO=5")
		u.send("READY=1") // goes the same way, so it comes behind
		want := "0"
		if test.trusted {
			want = "5"
		}
		u.want("StatusErrno", want)
		u.want("ActiveState", "active")
	}
}

// directory makes a directory inside for every user.
func (b *systemdBed) directory(t testing.TB, inside string) {
	t.Helper()
	if err := os.Mkdir(b.path(inside), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(b.path(inside)) })
	if err := os.Chmod(b.path(inside), 0o777); err != nil {
		t.Fatal(err)
	}
}

// protocolOtherUser: to systemd the main process remains the main process when
// it drops its privileges. Its children are another matter: see the control.
func protocolOtherUser(c *protocolCase) {
	for _, command := range []string{bare, behind} {
		u := c.led(c.name+strconv.Itoa(len(command)), command, "Type=notify\n")
		u.obey("become "+strconv.Itoa(nobody), "done")
		u.obey("child ERRNO=5", "done")
		u.send("READY=1")
		u.want("ActiveState", "active")
		u.want("StatusErrno", "0")
	}
}

// protocolChildren: whoever says something is pidleash to systemd, so a child
// of the program is listened to as with NotifyAccess=all.
func protocolChildren(c *protocolCase) {
	for _, test := range []struct{ command, access, want string }{
		{bare, "main", "0"},
		{bare, "all", "5"},
		{behind, "main", "5"},
		{behind, "all", "5"},
	} {
		u := c.led(fmt.Sprintf("%s-%d-%s", c.name, len(test.command), test.access), test.command, "Type=notify\nNotifyAccess="+test.access+"\n")
		u.obey("child ERRNO=5", "done")
		u.send("READY=1")
		u.want("StatusErrno", test.want)
	}
}

func protocolPrivateNetwork(c *protocolCase) {
	u := c.led(c.name, "/run/lab/pidleash -pidfile /run/%N/pid -- ", "Type=notify\nPrivateNetwork=yes\nDynamicUser=yes\n"+
		"RuntimeDirectory=%N\nReadWritePaths=/run/lab\n")
	u.send("READY=1")
	u.want("ActiveState", "active")
}

// protocolLastWords: messages arrive though their sender has ended.
func protocolLastWords(c *protocolCase) {
	unit := c.bed.unit(c, c.name+".service", `[Service]
Type=notify
NotifyAccess=main
ExecStart=/run/lab/pidleash /run/lab/notify last "READY=1\nERRNO=7\nSTATUS=the end"
[Unit]
StartLimitIntervalSec=0
`)
	for range 20 {
		unit.must("start")
		unit.await("ActiveState", "inactive", "failed")
		unit.want("Result", "success")
		unit.want("StatusErrno", "7")
		unit.want("StatusText", "the end")
		if c.Failed() {
			return
		}
	}
}

// protocolReload does what Type=notify-reload does, which systemd 253 brought:
// HUP for the main process, RELOADING and READY from it.
func protocolReload(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\nExecReload=/bin/kill -HUP $MAINPID\n")
	u.obey("count", "done")
	u.send("READY=1")
	for range 3 {
		u.must("reload")
		u.mark("main", "RTMIN+5")
		if got := u.program.says(); got != "HUP 1+0" {
			c.Fatalf("the program has got %q by a reload, want one HUP of pidleash", got)
		}
		u.send(`RELOADING=1\nMONOTONIC_USEC=4711`)
		u.want("ActiveState", "reloading")
		u.send("READY=1")
		u.want("ActiveState", "active")
	}
	u.program.do("exit 0")
	u.over("inactive", "success")
	u.silent()
}

// mark sends a signal by systemctl.
func (u *systemdUnit) mark(whom, sig string) {
	u.t.Helper()
	u.must("kill", "--kill-whom="+whom, "--signal="+sig)
}

// protocolWhy removes the PID file of a program that takes its time to stop.
func protocolWhy(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\n")
	u.obey("count", "done")
	u.send(`READY=1\nSTATUS=serving`)
	c.bed.remove(c, u.pidfile)
	u.await("StatusText", "Stopping: PID file "+u.pidfile+" removed")
	u.want("ActiveState", "active")
	// A program that says something else while it stops has not the last word.
	u.send(`STOPPING=1\nSTATUS=saying good-bye`)
	u.want("StatusText", "saying good-bye")
	u.program.do("exit 0")
	u.over("inactive", "success")
	u.want("StatusText", "Stopped: PID file "+u.pidfile+" removed")
}

// protocolSIGPIPE: systemd ignores it for its services, and the program is to
// find what it would have found, unless an option says otherwise.
func protocolSIGPIPE(c *protocolCase) {
	for i, test := range []struct{ setting, command, want string }{
		{"yes", bare, "yes"},
		{"yes", behind, "yes"},
		{"yes", "/run/lab/pidleash -ignore none -- ", "no"},
		{"yes", "/run/lab/pidleash -ignore USR1 -- ", "no"},
		{"no", bare, "no"},
		{"no", behind, "no"},
		{"no", "/run/lab/pidleash -ignore PIPE -- ", "yes"},
	} {
		u := c.led(fmt.Sprint(c.name, i), test.command, "IgnoreSIGPIPE="+test.setting+"\n")
		if got := u.ask("ignored " + strconv.Itoa(int(syscall.SIGPIPE))); got != test.want {
			c.Errorf("IgnoreSIGPIPE=%s, %q: ignored by the program: %s, want %s", test.setting, test.command, got, test.want)
		}
	}
}

// signalRow is a line of the table in docs/systemd.md: what the program gets.
type signalRow struct {
	cause    string
	killMode string
	signals  string // with pidleash
	times    string // "once", or "once or twice": two that are pending at a time merge
	do       func(*ledUnit)
}

var signalRows = []signalRow{
	{"`systemctl stop`", "mixed", "TERM, CONT", "once", stopUnit},
	{"`systemctl stop`", "process", "TERM, CONT", "once", stopUnit},
	{"`systemctl stop`", "control-group", "TERM, CONT", "once or twice", stopUnit},
	{"`systemctl kill -s USR1`", "any", "USR1", "once or twice", killBy("all")},
	{"`systemctl kill -s USR1 --kill-whom=main`", "any", "USR1", "once", killBy("main")},
	{"`systemctl reload`, `ExecReload=/bin/kill -HUP $MAINPID`", "any", "HUP", "once", func(u *ledUnit) { u.must("reload") }},
}

func stopUnit(u *ledUnit) {
	u.t.Helper()
	u.must("stop", "--no-block")
	// It enters this state after it has sent the signals.
	u.await("SubState", "stop-sigterm")
}

func killBy(whom string) func(*ledUnit) {
	return func(u *ledUnit) { u.mark(whom, "USR1") }
}

// killModes are those that a row is about.
func (r *signalRow) killModes() []string {
	if r.killMode == "any" {
		return []string{"mixed", "process", "control-group"}
	}
	return []string{r.killMode}
}

// protocolSignals counts what arrives at the program, and holds the table of the
// documentation against it.
func protocolSignals(c *protocolCase) {
	docs := readFile(c, filepath.Join("..", "docs", "systemd.md"))
	for i := range signalRows {
		row := &signalRows[i]
		line := fmt.Sprintf("| %s | %s | %s | %s |\n", row.cause, row.killMode, row.signals, row.times)
		if !strings.Contains(docs, line) {
			c.Errorf("docs/systemd.md lacks the line %s", line)
		}
		for _, mode := range row.killModes() {
			for j, command := range []string{bare, behind} {
				name := fmt.Sprintf("%s-%d-%s-%d", c.name, i, mode, j)
				u := c.led(name, command, "KillMode="+mode+"\nExecReload=/bin/kill -HUP $MAINPID\n")
				u.obey("count", "done")
				row.do(u)
				// Real-time signals come behind all others, at pidleash and at the
				// program: when it has this one it has what pidleash got before.
				u.mark("main", "RTMIN+5")
				allowed := []string{"1+0"}
				switch {
				case command == bare: // once, whatever the mode; systemd is the parent, kill(1) is not
					allowed = []string{"1+0", "0+1"}
				case row.times != "once":
					allowed = []string{"1+0", "0+1", "1+1"}
				}
				checkCounts(c, name, u.program.says(), row.signals, allowed)
				u.program.do("exit 0")
				u.await("ActiveState", "inactive", "failed")
			}
		}
	}
}

// checkCounts reads "TERM 1+0, CONT 1+1": from the parent, which is pidleash if
// there is one, and from others.
func checkCounts(t testing.TB, name, got, signals string, allowed []string) {
	t.Helper()
	var names []string
	for _, item := range strings.Split(got, ", ") {
		sig, count, _ := strings.Cut(item, " ")
		names = append(names, sig)
		if !slices.Contains(allowed, count) {
			t.Errorf("%s: %s %s times (from parent + from others), want one of %v", name, sig, count, allowed)
		}
	}
	if strings.Join(names, ", ") != signals {
		t.Errorf("%s: the program has got %q, want %s", name, got, signals)
	}
}

// protocolRest stops a unit with KillMode=mixed whose program has a child that
// hears no TERM.
func protocolRest(c *protocolCase) {
	program, pidfile := c.bed.program(c, c.name), "/run/lab/"+c.name+".pid"
	unit := c.bed.unit(c, c.name+".service", "[Service]\nKillMode=mixed\nExecStart=/run/lab/pidleash -pidfile "+pidfile+" "+program.command+"\n")
	u := &leashedUnit{unit, program, pidfile}
	u.must("start")
	u.running()
	program.do(`(trap "" TERM; echo on >"$1.out"; exec sleep infinity) &`)
	program.says()
	u.must("stop")
	u.over("inactive", "success")
}

// watched is a unit that systemd ends when it is not pinged. On a busy machine
// a ping can be late, so that the deadline is twenty times as long as its period.
func (c *protocolCase) watched(settings string) *ledUnit {
	c.Helper()
	u := c.led(c.name, behind, "Type=notify\nWatchdogSec=2s\n"+settings)
	u.obey("env WATCHDOG_USEC", "2000000")
	u.obey("env WATCHDOG_PID", u.pid)
	u.obey("env SYSTEMD_EXEC_PID", u.pid)
	u.send("READY=1")
	return u
}

// protocolWatchdog: a program that pings lives on, and is caught when it stops.
func protocolWatchdog(c *protocolCase) {
	u := c.watched("KillMode=mixed\n")
	first := u.property("WatchdogTimestampMonotonic")
	u.obey("ping 100 50", "done")
	u.read()
	u.want("ActiveState", "active")
	if now := u.property("WatchdogTimestampMonotonic"); now == first {
		c.Errorf("systemd has seen no ping")
	}
	u.over("failed", "watchdog")
	u.want("ExecMainStatus", strconv.Itoa(int(syscall.SIGABRT)))
	u.silent()
}

func protocolWatchdogMissed(c *protocolCase) {
	u := c.watched("KillMode=control-group\n")
	u.over("failed", "watchdog")
	u.want("ExecMainStatus", strconv.Itoa(int(syscall.SIGABRT)))
	u.silent()
}

func protocolWatchdogTrigger(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\nWatchdogSec=1h\n")
	u.send("READY=1")
	u.obey("send WATCHDOG=trigger", "done")
	u.over("failed", "watchdog")
	u.silent()
}

// protocolExtend takes longer to start than the unit allows, having said so.
func protocolExtend(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\nTimeoutStartSec=2s\n")
	u.send("EXTEND_TIMEOUT_USEC=60000000")
	u.obey("ping 500 6", "done")
	u.send("READY=1")
	u.want("ActiveState", "active")
	u.silent()
}

// protocolExtendMissed is the negative control: it has not said so.
func protocolExtendMissed(c *protocolCase) {
	u := c.led(c.name, behind, "Type=notify\nTimeoutStartSec=2s\n")
	u.over("failed", "timeout")
}
