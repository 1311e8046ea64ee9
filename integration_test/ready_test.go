package integration

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// readyCase is a condition and a PROGRAM that comes to meet it.
type readyCase struct {
	name    string
	options []string // OTHER is the other directory
	before  string   // what PROGRAM does that does not count; $0 is the other directory
	meets   string
}

var readyCases = []readyCase{
	{"fd", []string{"-ready", "fd:7"}, `printf x >&7`, `echo >&7`},
	{"notify", []string{"-ready", "notify"}, `"$NOTIFY" say STATUS=soon`, `"$NOTIFY" say READY=1`},
	{"stdout grows", []string{"-ready", "log", "-stdout", "OTHER/old.log"}, `:`, `echo up`},
	{"stderr grows", []string{"-ready", "log", "-stderr", "OTHER/old.log"}, `:`, `echo up >&2`},
	{"line", []string{"-ready", "log:^up$", "-stdout", "OTHER/old.log"}, `echo noise; echo upper; printf up`, `echo; echo up`},
	{"line of a new log", []string{"-ready", "log:^up$", "-ready-file", "OTHER/new.log"}, `echo noise >"$0/new.log"`, `echo up >>"$0/new.log"`},
	{"second of two logs", []string{"-ready", "log:^up$", "-ready-file", "OTHER/new.log", "-ready-file", "OTHER/old.log"}, `:`, `echo up >>"$0/old.log"`},
	{"truncated log", []string{"-ready", "log:^up$", "-ready-file", "OTHER/old.log"}, `: >"$0/old.log"`, `echo up >"$0/old.log"`},
	{"replaced log", []string{"-ready", "log:^up$", "-ready-file", "OTHER/old.log"}, `rm "$0/old.log"`, `echo up >"$0/x"; mv "$0/x" "$0/old.log"`},
	{"long line", []string{"-ready", "log:^up$", "-ready-file", "OTHER/old.log"}, `head -c 3000000 /dev/zero >>"$0/old.log"`, `echo >>"$0/old.log"; echo up >>"$0/old.log"`},
}

// arrange has PROGRAM wait at the gate before it meets the condition. What is in
// the log from an earlier run does not count.
func (c *readyCase) arrange(t *testing.T) *attempt {
	a := newAttempt(t)
	a.newGate(t)
	writeFile(t, a.other+"/old.log", "up\nnoise of an earlier run\n", 0o644)
	withOptions(c.options...)(t, a)
	a.how.env = []string{"NOTIFY=" + notifyProgram(t)}
	a.shell(c.before + `; : >"$0/waits"; read x <"$0/gate"; ` + c.meets + `; exec sleep 60`)
	return a
}

// In the background the condition is what the caller waits for.
func TestReadyInBackground(t *testing.T) {
	t.Parallel()
	for _, c := range readyCases {
		for _, forking := range []bool{false, true} {
			name := c.name
			if forking {
				name += ", forking"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a, m := c.arrange(t), startModes[2]
				if forking {
					m = startModes[3]
					a.program[2] = "{ " + a.program[2] + "; } &"
				}
				r := a.start(t, m)
				a.awaitFile(t, "waits")
				if len(stillRunning([]*run{r})) == 0 {
					t.Errorf("pidleash has not waited\n%s", r.stderr())
				}
				a.open(t)
				conclusion{}.expect(t, r)
				a.leave(t)
			})
		}
	}
}

// managerSocket is where a service manager would be told.
func managerSocket(t testing.TB, a *attempt) *net.UnixConn {
	t.Helper()
	address := a.other + "/manager"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	a.how.env = append(a.how.env, "NOTIFY_SOCKET="+address)
	return conn
}

// In the foreground the condition is what the service manager is told, once.
func TestReadyInForeground(t *testing.T) {
	t.Parallel()
	for _, c := range readyCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := c.arrange(t)
			manager := managerSocket(t, a)
			a.start(t, startModes[0])
			a.awaitFile(t, "waits")
			// So that all that was told before is known to have come before.
			must(t, tellManager(a, "TEST=gate"))
			a.open(t)
			told := ""
			for !strings.Contains(told, "READY=1") {
				told += "|" + nextMessage(t, manager)
			}
			if !strings.Contains(told, "TEST=gate") {
				t.Errorf("the manager was told too early: %q", told)
			}
			removeFile(t, a.pidfile)
			a.mark.expectNobody(t)
		})
	}
}

func tellManager(a *attempt, text string) error {
	conn, err := net.Dial("unixgram", a.other+"/manager")
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(text))
	return err
}

func nextMessage(t testing.TB, conn *net.UnixConn) string {
	t.Helper()
	var buffer [4096]byte
	conn.SetReadDeadline(time.Now().Add(runTimeout))
	n, err := conn.Read(buffer[:])
	must(t, err)
	return string(buffer[:n])
}

func TestReadyAfter(t *testing.T) {
	t.Parallel()
	a := sleeper(t)
	before := time.Now()
	a.inBackground(t, "-ready", "300ms")
	if took := time.Since(before); took < 300*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	a.leave(t)
}

// An end before that is a failed start.
func TestReadyAfterEnd(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.options = []string{"-ready", "1m"}
	a.program = []string{"false"}
	conclusion{code: 1, line: "false: ended with code 1 before it was up"}.expect(t, a.start(t, startModes[2]))
	expectEmptyDir(t, a.dir)
}

func TestReadyExec(t *testing.T) {
	t.Parallel()
	a := sleeper(t)
	a.inBackground(t, "-ready", "exec")
	a.leave(t)
}

// What is not up in time is stopped as after a removal: by the schedule.
func TestStartTimeoutStopsBySchedule(t *testing.T) {
	t.Parallel()
	for _, m := range []startMode{startModes[0], startModes[2]} {
		for _, ready := range []string{"fd:9", "notify", "1m", "log"} {
			t.Run(m.name+"/"+ready, func(t *testing.T) {
				t.Parallel()
				a := newAttempt(t)
				a.options = []string{"-ready", ready, "-ready-file", a.other + "/log", "-start-timeout", "1s", "-stop", "USR1/50ms/TERM"}
				if ready != "log" && m.name != "daemon" {
					a.options = append(a.options[:2], a.options[4:]...)
				}
				a.shell(`trap 'echo USR1 >>"$0/got"' USR1; trap 'echo TERM >>"$0/got"; exit 7' TERM; : >"$0/up"; while :; do sleep 0.01; done`)
				r := a.start(t, m)
				conclusion{code: 125, line: "sh: is not up after 1s"}.expect(t, r)
				if got := readFile(t, a.other+"/got"); got != "USR1\nTERM\n" {
					t.Errorf("PROGRAM got %q", got)
				}
				expectEmptyDir(t, a.dir)
				a.mark.expectNobody(t)
			})
		}
	}
}

// Once PROGRAM is up the time limit is over.
func TestStartTimeoutEnds(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.newGate(t)
	a.options = []string{"-ready", "fd:3", "-start-timeout", "300ms"}
	a.shell(`echo >&3; read x <"$0/gate"; exit 5`)
	before := time.Now()
	r := a.start(t, startModes[0])
	await(t, "the time limit has passed", func() bool { return time.Since(before) > 400*time.Millisecond })
	a.open(t)
	conclusion{code: 5}.expect(t, r)
}

// PROGRAM has the descriptor that it writes to, and no other of pidleash's.
func TestReadyDescriptor(t *testing.T) {
	t.Parallel()
	file, err := os.Create(openDir(t) + "/held")
	must(t, err)
	defer file.Close()
	plain := start(t, how{extra: []*os.File{file, file}}, first(t), "hold").number(t)
	a := newAttempt(t)
	a.how.extra = []*os.File{file}
	a.options = []string{"-ready", "fd:4", "-start-timeout", "10s"}
	a.program = []string{first(t), "hold"}
	expectDescriptors(t, a.start(t, startModes[0]).number(t), plain)
}
