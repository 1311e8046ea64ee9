package background

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
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
	{"log written anew", []string{"-ready", "log:^up$", "-ready-file", "OTHER/old.log"}, `:`, `printf "up\n%99s\n" >"$0/old.log"`},
	{"replaced log", []string{"-ready", "log:^up$", "-ready-file", "OTHER/old.log"}, `rm "$0/old.log"`, `echo up >"$0/x"; mv "$0/x" "$0/old.log"`},
	{"command", []string{"-ready", `cmd:test -e "OTHER/up" && test -d /proc/$MAINPID`}, `:`, `: >"$0/up"`},
	{"long line", []string{"-ready", "log:^up$", "-ready-file", "OTHER/old.log"}, `head -c 3000000 /dev/zero >>"$0/old.log"`, `echo >>"$0/old.log"; echo up >>"$0/old.log"`},
}

// arrange has PROGRAM wait at the gate before it meets the condition. What is in
// the log from an earlier run does not count.
func (c *readyCase) arrange(t *testing.T) *bed.Attempt {
	a := bed.NewAttempt(t)
	a.NewGate(t)
	bed.WriteFile(t, a.Other+"/old.log", "up\nnoise of an earlier run\n", 0o644)
	bed.WithOptions(c.options...)(t, a)
	a.How.Env = []string{"NOTIFY=" + bed.CompileC(t, "notify.c")}
	a.Shell(c.before + `; : >"$0/waits"; read x <"$0/gate"; ` + c.meets + `; exec sleep 600`)
	return a
}

// traced has pidleash tell what it decides: before PROGRAM is up that is in the standard error of the start.
var traced = []string{"-log-level", "trace"}

// expectRising fails the test unless PROGRAM, which is watched, is not up. A start that has not waited may return a
// moment later only; so pidleash has the time of some looks at what PROGRAM has done, and shows that it goes on.
func expectRising(t testing.TB, a *bed.Attempt, r *bed.Run) {
	t.Helper()
	isUp := func() bool { return strings.Contains(r.Stderr(), "event=ready") }
	looks := func() int { return r.Warnings(`event=present actions="" state=rising`) }
	r.AwaitStderr(t, "state=rising")
	bed.NudgeInVain(t, a.PIDFile)
	before := looks()
	bed.Nudge(t, a.PIDFile)
	bed.Await(t, "another look at the file", func() bool { return looks() > before || isUp() })
	if isUp() {
		t.Errorf("pidleash has not waited\n%s", r.Stderr())
	}
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
				a, m := c.arrange(t), bed.StartModes[2]
				if forking {
					m = bed.StartModes[3]
					a.Program[2] = "{ " + a.Program[2] + "; } &"
				}
				a.Options = append(a.Options, traced...)
				r := a.Start(t, m)
				awaitFile(a, t, "waits")
				expectRising(t, a, r)
				a.Open(t)
				r.ExpectCode(t, 0)
				a.Leave(t)
			})
		}
	}
}

// managerSocket is where a service manager would be told.
func managerSocket(t testing.TB, a *bed.Attempt) *net.UnixConn {
	t.Helper()
	address := a.Other + "/manager"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	bed.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	a.How.Env = append(a.How.Env, "NOTIFY_SOCKET="+address)
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
			a.Options = append(a.Options, traced...)
			r := a.Start(t, bed.StartModes[0])
			awaitFile(a, t, "waits")
			expectRising(t, a, r)
			// So that all that was told before is known to have come before.
			bed.Must(t, tellManager(a, "TEST=gate"))
			a.Open(t)
			told := ""
			for !strings.Contains(told, "READY=1") {
				told += "|" + nextMessage(t, manager)
			}
			if !strings.Contains(told, "TEST=gate") {
				t.Errorf("the manager was told too early: %q", told)
			}
			bed.RemoveFile(t, a.PIDFile)
			a.Mark.ExpectNobody(t)
		})
	}
}

func tellManager(a *bed.Attempt, text string) error {
	conn, err := net.Dial("unixgram", a.Other+"/manager")
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
	conn.SetReadDeadline(time.Now().Add(bed.Patience))
	n, err := conn.Read(buffer[:])
	bed.Must(t, err)
	return string(buffer[:n])
}

// The command reads nothing of what is PROGRAM's to read.
func TestReadyCommandLeavesTheInput(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.NewGate(t)
	a.Options = []string{"-ready", `cmd:cat >"` + a.Other + `/stolen"; : >"` + a.Other + `/up"`}
	a.Shell(`: >"$0/waits"; read x <"$0/gate"; read x; test "$x" = mine`)
	r := a.Start(t, bed.StartModes[0])
	_, err := r.Stdin.WriteString("mine\n")
	bed.Must(t, err)
	awaitFile(a, t, "up")
	a.Open(t)
	bed.Conclusion{}.Expect(t, r)
	if stolen := bed.ReadFile(t, a.Other+"/stolen"); stolen != "" {
		t.Errorf("the command has read %q", stolen)
	}
}

func TestReadyAfter(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	before := time.Now()
	a.InBackground(t, "-ready", "300ms")
	if took := time.Since(before); took < 300*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	a.Leave(t)
}

// An end before that is a failed start.
func TestReadyAfterEnd(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Options = []string{"-ready", "1m"}
	a.Program = []string{"false"}
	bed.Conclusion{Code: 1, Line: "false: ended with code 1 before it was up"}.Expect(t, a.Start(t, bed.StartModes[2]))
	bed.ExpectEmptyDir(t, a.Dir)
}

func TestReadyExec(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	a.InBackground(t, "-ready", "exec")
	a.Leave(t)
}

// inTime runs a test with longer and longer time limits for the start, until PROGRAM meets one: on a busy machine it
// misses any short limit.
func inTime(t *testing.T, test func(limit string) (done bool)) {
	t.Helper()
	for limit := 300 * time.Millisecond; limit < bed.Patience; limit *= 3 {
		if test(limit.String()) {
			return
		}
	}
	t.Error("PROGRAM was never fast enough")
}

// What is not up in time is stopped as after a removal: by the schedule.
func TestStartTimeoutStopsBySchedule(t *testing.T) {
	t.Parallel()
	for _, m := range []bed.StartMode{bed.StartModes[0], bed.StartModes[2]} {
		for _, ready := range []string{"fd:9", "notify", "1m", "log"} {
			t.Run(m.Name+"/"+ready, func(t *testing.T) {
				t.Parallel()
				inTime(t, func(limit string) bool { return stopsBySchedule(t, m, ready, limit) })
			})
		}
	}
}

func stopsBySchedule(t *testing.T, m bed.StartMode, ready, limit string) bool {
	t.Helper()
	a := bed.NewAttempt(t)
	a.Options = []string{"-ready", ready, "-ready-file", a.Other + "/log", "-start-timeout", limit, "-stop", "USR1/50ms/TERM"}
	if ready != "log" && m.Name != "daemon" {
		a.Options = append(a.Options[:2], a.Options[4:]...)
	}
	a.Shell(`trap 'echo USR1 >>"$0/got"' USR1; trap 'echo TERM >>"$0/got"; exit 7' TERM; : >"$0/up"; while :; do sleep 0.01; done`)
	r := a.Start(t, m)
	bed.Conclusion{Code: 125, Line: "sh: is not up after " + limit}.Expect(t, r)
	bed.ExpectEmptyDir(t, a.Dir)
	a.Mark.ExpectNobody(t)
	if bed.IsGone(a.Other + "/up") {
		return false
	}
	if got := bed.ReadFile(t, a.Other+"/got"); got != "USR1\nTERM\n" {
		t.Errorf("PROGRAM got %q", got)
	}
	return true
}

// Once PROGRAM is up the time limit is over.
func TestStartTimeoutEnds(t *testing.T) {
	t.Parallel()
	inTime(t, func(limit string) bool {
		a := bed.NewAttempt(t)
		a.NewGate(t)
		a.Options = append([]string{"-ready", "fd:3", "-start-timeout", limit}, traced...)
		a.Shell(`echo >&3; read x <"$0/gate"; exit 5`)
		r := a.Start(t, bed.StartModes[0])
		r.AwaitStderr(t, "event=ready|is not up after")
		if strings.Contains(r.Stderr(), "is not up after") {
			return false
		}
		after, err := time.ParseDuration(limit)
		bed.Must(t, err)
		time.Sleep(after + 100*time.Millisecond) // the limit, which must not end anything any more
		a.Open(t)
		r.ExpectCode(t, 5)
		return true
	})
}

// PROGRAM has the descriptor that it writes to, and no other of pidleash's.
func TestReadyDescriptor(t *testing.T) {
	t.Parallel()
	file, err := os.Create(bed.OpenDir(t) + "/held")
	bed.Must(t, err)
	defer file.Close()
	plain := bed.Start(t, bed.How{Extra: []*os.File{file, file}}, bed.CompileC(t, "first.c"), "hold").Number(t)
	a := bed.NewAttempt(t)
	a.How.Extra = []*os.File{file}
	a.Options = []string{"-ready", "fd:4", "-start-timeout", "10s"}
	a.Program = []string{bed.CompileC(t, "first.c"), "hold"}
	bed.ExpectDescriptors(t, a.Start(t, bed.StartModes[0]).Number(t), plain)
}

// A port is asked until somebody listens there.
func TestReadyWhenAPortAnswers(t *testing.T) {
	t.Parallel()
	for host, address := range map[string]string{"": "127.0.0.1", "localhost:": "127.0.0.1", "127.0.0.1:": "127.0.0.1", "[::1]:": "[::1]"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", address+":0")
			if err != nil {
				bed.Missing(t, "no such address here: %v", err)
			}
			at := listener.Addr().String()
			bed.Must(t, listener.Close())
			a := bed.Sleeper(t)
			a.Options = append([]string{"-ready", "tcp:" + host + at[strings.LastIndexByte(at, ':')+1:]}, traced...)
			r := a.Start(t, bed.StartModes[2])
			expectRising(t, a, r)
			listener, err = net.Listen("tcp", at)
			bed.Must(t, err)
			defer listener.Close()
			r.ExpectCode(t, 0)
			a.Leave(t)
		})
	}
}

// A command of -ready that does not end goes with the start, and no longer.
func TestReadyCommandIsKilled(t *testing.T) {
	t.Parallel()
	inTime(t, func(limit string) bool {
		a := bed.Sleeper(t)
		a.Options = []string{"-ready", `cmd:: >"` + a.Other + `/asked"; exec sleep 601`, "-start-timeout", limit}
		r := a.Start(t, bed.StartModes[2])
		bed.Conclusion{Code: 125, Line: `sleep: is not up after ` + limit + `; hint: `}.Expect(t, r)
		a.Mark.ExpectNobody(t)
		bed.ExpectEmptyDir(t, a.Dir)
		return !bed.IsGone(a.Other + "/asked")
	})
}
