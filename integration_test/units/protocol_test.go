package units

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// TestProtocols proves that the service manager's protocols work behind
// pidleash, under a real systemd.
func TestProtocols(t *testing.T) {
	machine := bed.BootSystemd(t, nil)
	binary, err := os.ReadFile(bed.CompileC(t, "notify.c"))
	if err != nil {
		t.Fatal(err)
	}
	bed.WriteFile(t, machine.Path("/run/lab/notify"), string(binary), 0o755)
	for _, test := range protocolTests {
		t.Run(test.name, func(t *testing.T) {
			if test.slow {
				t.Parallel()
			}
			test.run(&bed.ProtocolCase{T: t, Bed: machine, Unit: "protocol-" + test.name})
		})
	}
}

var protocolTests = []struct {
	name string
	run  func(*bed.ProtocolCase)
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

// behind is how the program stands in ExecStart=: "%s" is the PID file.
const (
	bare   = ""
	behind = "/run/lab/pidleash -pidfile %s -- "
)

// protocolExample runs the unit of the documentation.
func protocolExample(c *bed.ProtocolCase) {
	docs := bed.ReadFile(c, bed.ModuleFile("docs", "systemd.md"))
	_, rest, _ := strings.Cut(docs, "```ini\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		c.Fatal("docs/systemd.md has no example")
	}
	program := c.Bed.Program(c, c.Unit)
	program.Command = "/run/lab/notify led /run/lab/" + c.Unit
	text = strings.NewReplacer("/usr/local/bin/pidleash", "/run/lab/pidleash", "/usr/sbin/app", program.Command).Replace(text)
	u := &bed.LedUnit{SystemdUnit: c.Bed.Unit(c, c.Unit+".service", text), Program: program, PIDFile: "/run/app/app.pid"}
	u.Must("start", "--no-block")
	u.Running()
	if got := c.Bed.Read(c, u.PIDFile); got != u.PID+"\n" {
		c.Errorf("%s says %q, the program's PID is %s", u.PIDFile, got, u.PID)
	}
	u.Obey("count", "done")
	u.Send("READY=1")
	u.Want("ActiveState", "active")
	u.Must("reload")
	u.Mark("main", "RTMIN+5")
	if got := u.Program.Says(); got != "HUP 1+0" {
		c.Errorf("the program has got %q by a reload, want one HUP", got)
	}
	bed.StopUnit(u)
	u.Program.Do("exit 0")
	u.Over("inactive", "success")
	u.Silent()
}

// protocolSockets connects to a server that systemd starts for it.
func protocolSockets(c *bed.ProtocolCase) {
	pidfile := "/run/lab/" + c.Unit + ".pid"
	service := c.Bed.Unit(c, c.Unit+".service", "[Service]\nExecStart=/run/lab/pidleash -pidfile "+pidfile+" /run/lab/notify serve\n")
	paths := map[string]string{}
	for _, name := range []string{"web", "admin"} {
		paths[name] = "/run/lab/" + c.Unit + "." + name
		c.Bed.Unit(c, c.Unit+"-"+name+".socket", "[Socket]\nListenStream="+paths[name]+"\nFileDescriptorName="+name+
			"\nService="+c.Unit+".service\n").Must("start")
	}
	service.Want("ActiveState", "inactive")
	re := regexp.MustCompile(`^pid (\d+) socket (\d) right 2 (\w+):(\w+)\n$`)
	for name, path := range paths {
		answer := bed.Dial(c, c.Bed.Path(path))
		words := re.FindStringSubmatch(answer)
		if words == nil {
			c.Fatalf("the server on socket %q answers %q, want a match of %v", name, answer, re)
		}
		if got := c.Bed.Read(c, pidfile); got != words[1]+"\n" {
			c.Errorf("%s says %q, the server's PID is %s", pidfile, got, words[1])
		}
		if place, _ := strconv.Atoi(words[2]); words[3+place] != name {
			c.Errorf("socket %q came to the server as %q", name, words[3+place])
		}
	}
	service.Silent()
}

// protocolNotify has a program say all that a service can say to a Type=notify
// unit with the default NotifyAccess=.
func protocolNotify(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\n")
	u.Want("NotifyAccess", "main")
	u.Send(`STATUS=warming up`)
	u.Want("StatusText", "warming up")
	u.Want("ActiveState", "activating")
	u.Send(`READY=1\nSTATUS=serving\n`)
	u.Want("ActiveState", "active")
	u.Want("StatusText", "serving")
	u.Send(`ERRNO=7`)
	u.Want("StatusErrno", "7")
	u.Send(`RELOADING=1\nMONOTONIC_USEC=1`)
	u.Want("ActiveState", "reloading")
	u.Send(`READY=1`)
	u.Want("ActiveState", "active")
	u.Send(`WATCHDOG_USEC=77000000`)
	u.Want("WatchdogUSec", "1min 17s")
	u.Send(`X_UNKNOWN=1\nSTATUS=and on`)
	u.Want("StatusText", "and on")
	u.Send(`STOPPING=1`)
	u.Want("ActiveState", "deactivating")
	u.Program.Do("exit 0")
	u.Over("inactive", "success")
	u.Silent()
}

// protocolNotifyRefused is the negative control: systemd does not listen to a
// program that is not the main process, unless somebody relays.
func protocolNotifyRefused(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, `/bin/sh -c '"$$0" "$$@"; exit' `, "Type=notify\nNotifyAccess=main\n")
	u.Send(`READY=1`)
	u.Want("ActiveState", "activating")
}

// protocolMainPID: systemd would take the program for the main process, and
// pidleash's messages for a stranger's.
func protocolMainPID(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\n")
	main := u.Property("MainPID")
	for i, text := range []string{
		`MAINPID=%s\nREADY=1\nSTATUS=%d`,
		`READY=1\nMAINPID=%s\nSTATUS=%d`,
		`READY=1\rMAINPID=%s\rSTATUS=%d`, // to systemd it is the end of a line
		`STATUS=%[2]d\nMAINPID=%[1]s`,
	} {
		u.Send(fmt.Sprintf(text, u.PID, i))
		u.Want("MainPID", main)
		u.Want("StatusText", strconv.Itoa(i))
	}
	u.Send("MAINPID=" + u.PID)
	u.Want("MainPID", main)
	u.Send("STATUS=and on")
	u.Want("StatusText", "and on")
	u.Want("ActiveState", "active")
	u.Silent()
}

// protocolSystemdNotify lets a script notify, by systemd's own tool.
func protocolSystemdNotify(c *bed.ProtocolCase) {
	program := c.Bed.Program(c, c.Unit)
	unit := c.Bed.Unit(c, c.Unit+".service", "[Service]\nType=notify\nExecStart=/run/lab/pidleash "+program.Command+"\n")
	unit.Must("start", "--no-block")
	program.Says()
	// It fails when its barrier has not come through in 5 s.
	program.Do(`systemd-notify --ready "--status=by script"; echo $? >"$1.out"`)
	if code := program.Says(); code != "0" {
		c.Errorf("systemd-notify ended with %s", code)
	}
	unit.Want("ActiveState", "active")
	unit.Want("StatusText", "by script")
	unit.Silent()
}

func protocolBurst(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\n")
	u.Obey("many 1000 STATUS=message", "done")
	u.Read()
	u.Want("StatusText", "message 1000")
}

// protocolBig stays below the 4,096 bytes from which systemd reads nothing.
func protocolBig(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\n")
	u.Obey("big 4000 STATUS=", "done")
	u.Read()
	if got, want := u.Property("StatusText"), strings.Repeat("x", 4000-len("STATUS=")); got != want {
		c.Errorf("of %d bytes of status %d have arrived", len(want), len(got))
	}
}

// protocolStored hands descriptors over to systemd and gets them back.
func protocolStored(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\nFileDescriptorStoreMax=4\nRestart=always\nRestartSec=0\n")
	u.Send("READY=1")
	u.Obey("sockets", "wrong 0 -")
	own := len(descriptors(u))
	for _, text := range []string{"alpha one", "beta two", "gamma three"} {
		u.Obey("store "+text, "done")
	}
	u.Read()
	u.Want("NFileDescriptorStore", "3")
	if now := len(descriptors(u)); now != own {
		c.Errorf("pidleash has %d descriptors after it has passed on three, %d before", now, own)
	}
	u.Send(`FDSTOREREMOVE=1\nFDNAME=beta`)
	u.Want("NFileDescriptorStore", "2")
	u.Program.Do("kill 11")
	u.Running()
	words := strings.Fields(u.Ask("sockets"))
	texts := strings.Split(u.Ask("stored"), ":")
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
	u.Silent()
}

// descriptors lists what pidleash has open.
func descriptors(u *bed.LedUnit) []string {
	u.T.Helper()
	return openFiles(u.T, u.Bed.Path("/proc/"+u.Property("MainPID")))
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
		if os.IsNotExist(err) {
			continue // it has just been closed
		}
		bed.Must(t, err)
		targets = append(targets, target)
	}
	return targets
}

// relayAddress is the NOTIFY_SOCKET that the program has.
func relayAddress(u *bed.LedUnit) string {
	u.T.Helper()
	address := u.Ask("env NOTIFY_SOCKET")
	if !strings.HasPrefix(address, "@") {
		u.T.Fatalf("%s: NOTIFY_SOCKET=%s is no relay", u.Name, address)
	}
	return address
}

// say sends a message to a socket as another user, from outside the unit.
func say(t testing.TB, user uint32, address, text string) {
	t.Helper()
	cmd := exec.Command(bed.CompileC(t, "notify.c"), "say", text)
	cmd.Env = []string{"NOTIFY_SOCKET=" + address}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// protocolForged: everybody can send to an abstract socket. The messages of
// those who are listened to are the negative control.
func protocolForged(c *bed.ProtocolCase) {
	const root, stranger = 0, bed.Nobody - 1
	for _, test := range []struct {
		user    string
		sender  uint32
		trusted bool
	}{
		{"root", stranger, false},
		{"root", bed.Nobody, false},
		{"root", root, true},
		{strconv.Itoa(bed.Nobody), stranger, false},
		{strconv.Itoa(bed.Nobody), bed.Nobody, true},
		{strconv.Itoa(bed.Nobody), root, true},
	} {
		name := fmt.Sprintf("%s-%s-%d", c.Unit, test.user, test.sender)
		directory(c.Bed, c, "/run/lab/"+name+".d")
		u := c.Led(name, "/run/lab/pidleash -pidfile /run/lab/"+name+".d/pid -- ", "Type=notify\nUser="+test.user+"\n")
		say(c, test.sender, relayAddress(u), "ERRNO=5")
		u.Send("READY=1") // goes the same way, so it comes behind
		want := "0"
		if test.trusted {
			want = "5"
		}
		u.Want("StatusErrno", want)
		u.Want("ActiveState", "active")
	}
}

// directory makes a directory inside for every user.
func directory(b *bed.Systemd, t testing.TB, inside string) {
	t.Helper()
	if err := os.Mkdir(b.Path(inside), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(b.Path(inside)) })
	if err := os.Chmod(b.Path(inside), 0o777); err != nil {
		t.Fatal(err)
	}
}

// protocolOtherUser: to systemd the main process remains the main process when
// it drops its privileges. Its children are another matter: see the control.
func protocolOtherUser(c *bed.ProtocolCase) {
	for _, command := range []string{bare, behind} {
		u := c.Led(c.Unit+strconv.Itoa(len(command)), command, "Type=notify\n")
		u.Obey("become "+strconv.Itoa(bed.Nobody), "done")
		u.Obey("child ERRNO=5", "done")
		u.Send("READY=1")
		u.Want("ActiveState", "active")
		u.Want("StatusErrno", "0")
	}
}

// protocolChildren: whoever says something is pidleash to systemd, so a child
// of the program is listened to as with NotifyAccess=all.
func protocolChildren(c *bed.ProtocolCase) {
	for _, test := range []struct{ command, access, want string }{
		{bare, "main", "0"},
		{bare, "all", "5"},
		{behind, "main", "5"},
		{behind, "all", "5"},
	} {
		u := c.Led(fmt.Sprintf("%s-%d-%s", c.Unit, len(test.command), test.access), test.command, "Type=notify\nNotifyAccess="+test.access+"\n")
		u.Obey("child ERRNO=5", "done")
		u.Send("READY=1")
		u.Want("StatusErrno", test.want)
	}
}

func protocolPrivateNetwork(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, "/run/lab/pidleash -pidfile /run/%N/pid -- ", "Type=notify\nPrivateNetwork=yes\nDynamicUser=yes\n"+
		"RuntimeDirectory=%N\nReadWritePaths=/run/lab\n")
	u.Send("READY=1")
	u.Want("ActiveState", "active")
}

// protocolLastWords: messages arrive though their sender has ended.
func protocolLastWords(c *bed.ProtocolCase) {
	unit := c.Bed.Unit(c, c.Unit+".service", `[Service]
Type=notify
NotifyAccess=main
ExecStart=/run/lab/pidleash /run/lab/notify last "READY=1\nERRNO=7\nSTATUS=the end"
[Unit]
StartLimitIntervalSec=0
`)
	for range 20 {
		unit.Must("start")
		unit.Await("ActiveState", "inactive", "failed")
		unit.Want("Result", "success")
		unit.Want("StatusErrno", "7")
		unit.Want("StatusText", "the end")
		if c.Failed() {
			return
		}
	}
}

// protocolReload does what Type=notify-reload does, which systemd 253 brought:
// HUP for the main process, RELOADING and READY from it.
func protocolReload(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\nExecReload=/bin/kill -HUP $MAINPID\n")
	u.Obey("count", "done")
	u.Send("READY=1")
	for range 3 {
		u.Must("reload")
		u.Mark("main", "RTMIN+5")
		if got := u.Program.Says(); got != "HUP 1+0" {
			c.Fatalf("the program has got %q by a reload, want one HUP of pidleash", got)
		}
		u.Send(`RELOADING=1\nMONOTONIC_USEC=4711`)
		u.Want("ActiveState", "reloading")
		u.Send("READY=1")
		u.Want("ActiveState", "active")
	}
	u.Program.Do("exit 0")
	u.Over("inactive", "success")
	u.Silent()
}

// protocolWhy removes the PID file of a program that takes its time to stop.
func protocolWhy(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\n")
	u.Obey("count", "done")
	u.Send(`READY=1\nSTATUS=serving`)
	c.Bed.Remove(c, u.PIDFile)
	u.Await("StatusText", "Stopping: PID file "+u.PIDFile+" removed")
	u.Want("ActiveState", "active")
	// A program that says something else while it stops has not the last word.
	u.Send(`STOPPING=1\nSTATUS=saying good-bye`)
	u.Want("StatusText", "saying good-bye")
	u.Program.Do("exit 0")
	u.Over("inactive", "success")
	u.Want("StatusText", "Stopped: PID file "+u.PIDFile+" removed")
}

// protocolSIGPIPE: systemd ignores it for its services, and the program is to
// find what it would have found, unless an option says otherwise.
func protocolSIGPIPE(c *bed.ProtocolCase) {
	for i, test := range []struct{ setting, command, want string }{
		{"yes", bare, "yes"},
		{"yes", behind, "yes"},
		{"yes", "/run/lab/pidleash -ignore none -- ", "no"},
		{"yes", "/run/lab/pidleash -ignore USR1 -- ", "no"},
		{"no", bare, "no"},
		{"no", behind, "no"},
		{"no", "/run/lab/pidleash -ignore PIPE -- ", "yes"},
	} {
		u := c.Led(fmt.Sprint(c.Unit, i), test.command, "IgnoreSIGPIPE="+test.setting+"\n")
		if got := u.Ask("ignored " + strconv.Itoa(int(syscall.SIGPIPE))); got != test.want {
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
	do       func(*bed.LedUnit)
}

var signalRows = []signalRow{
	{"`systemctl stop`", "mixed", "TERM, CONT", "once", bed.StopUnit},
	{"`systemctl stop`", "process", "TERM, CONT", "once", bed.StopUnit},
	{"`systemctl stop`", "control-group", "TERM, CONT", "once or twice", bed.StopUnit},
	{"`systemctl kill -s USR1`", "any", "USR1", "once or twice", killBy("all")},
	{"`systemctl kill -s USR1 --kill-whom=main`", "any", "USR1", "once", killBy("main")},
	{"`systemctl reload`, `ExecReload=/bin/kill -HUP $MAINPID`", "any", "HUP", "once", func(u *bed.LedUnit) { u.Must("reload") }},
}

func killBy(whom string) func(*bed.LedUnit) {
	return func(u *bed.LedUnit) { u.Mark(whom, "USR1") }
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
func protocolSignals(c *bed.ProtocolCase) {
	docs := bed.ReadFile(c, bed.ModuleFile("docs", "systemd.md"))
	for i := range signalRows {
		row := &signalRows[i]
		line := fmt.Sprintf("| %s | %s | %s | %s |\n", row.cause, row.killMode, row.signals, row.times)
		if !strings.Contains(docs, line) {
			c.Errorf("docs/systemd.md lacks the line %s", line)
		}
		for _, mode := range row.killModes() {
			for j, command := range []string{bare, behind} {
				name := fmt.Sprintf("%s-%d-%s-%d", c.Unit, i, mode, j)
				u := c.Led(name, command, "KillMode="+mode+"\nExecReload=/bin/kill -HUP $MAINPID\n")
				u.Obey("count", "done")
				row.do(u)
				// Real-time signals come behind all others, at pidleash and at the
				// program: when it has this one it has what pidleash got before.
				u.Mark("main", "RTMIN+5")
				allowed := []string{"1+0"}
				switch {
				case command == bare: // once, whatever the mode; systemd is the parent, kill(1) is not
					allowed = []string{"1+0", "0+1"}
				case row.times != "once":
					allowed = []string{"1+0", "0+1", "1+1"}
				}
				checkCounts(c, name, u.Program.Says(), row.signals, allowed)
				u.Program.Do("exit 0")
				u.Await("ActiveState", "inactive", "failed")
			}
		}
	}
}

// checkCounts reads "TERM 1+0, CONT 1+1": from the parent, which is pidleash if
// there is one, and from others.
func checkCounts(t testing.TB, name, got, signals string, allowed []string) {
	t.Helper()
	var names []string
	for item := range strings.SplitSeq(got, ", ") {
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
func protocolRest(c *bed.ProtocolCase) {
	program, pidfile := c.Bed.Program(c, c.Unit), "/run/lab/"+c.Unit+".pid"
	unit := c.Bed.Unit(c, c.Unit+".service", "[Service]\nKillMode=mixed\nExecStart=/run/lab/pidleash -pidfile "+pidfile+" "+program.Command+"\n")
	u := &bed.LeashedUnit{SystemdUnit: unit, Program: program, PIDFile: pidfile}
	u.Must("start")
	running(u)
	program.Do(`(trap "" TERM; echo on >"$1.out"; exec sleep infinity) &`)
	program.Says()
	u.Must("stop")
	u.Over("inactive", "success")
}

// watched is a unit that systemd ends when it is not pinged. On a busy machine
// a ping can be late, so that the deadline is twenty times as long as its period.
func watched(c *bed.ProtocolCase, settings string) *bed.LedUnit {
	c.Helper()
	u := c.Led(c.Unit, behind, "Type=notify\nWatchdogSec=2s\n"+settings)
	u.Obey("env WATCHDOG_USEC", "2000000")
	u.Obey("env WATCHDOG_PID", u.PID)
	u.Obey("env SYSTEMD_EXEC_PID", u.PID)
	u.Send("READY=1")
	return u
}

// protocolWatchdog: a program that pings lives on, and is caught when it stops.
func protocolWatchdog(c *bed.ProtocolCase) {
	u := watched(c, "KillMode=mixed\n")
	first := u.Property("WatchdogTimestampMonotonic")
	u.Obey("ping 100 50", "done")
	u.Read()
	u.Want("ActiveState", "active")
	if now := u.Property("WatchdogTimestampMonotonic"); now == first {
		c.Errorf("systemd has seen no ping")
	}
	u.Over("failed", "watchdog")
	u.Want("ExecMainStatus", strconv.Itoa(int(syscall.SIGABRT)))
	u.Silent()
}

func protocolWatchdogMissed(c *bed.ProtocolCase) {
	u := watched(c, "KillMode=control-group\n")
	u.Over("failed", "watchdog")
	u.Want("ExecMainStatus", strconv.Itoa(int(syscall.SIGABRT)))
	u.Silent()
}

func protocolWatchdogTrigger(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\nWatchdogSec=1h\n")
	u.Send("READY=1")
	u.Program.Do("send WATCHDOG=trigger") // systemd may kill it before it can say that it has done so
	u.Over("failed", "watchdog")
	u.Silent()
}

// protocolExtend takes longer to start than the unit allows, having said so.
func protocolExtend(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\nTimeoutStartSec=2s\n")
	u.Send("EXTEND_TIMEOUT_USEC=60000000")
	u.Obey("ping 500 6", "done")
	u.Send("READY=1")
	u.Want("ActiveState", "active")
	u.Silent()
}

// protocolExtendMissed is the negative control: it has not said so.
func protocolExtendMissed(c *bed.ProtocolCase) {
	u := c.Led(c.Unit, behind, "Type=notify\nTimeoutStartSec=2s\n")
	u.Over("failed", "timeout")
}
