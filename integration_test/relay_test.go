package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A manager stands for a service manager: the socket that NOTIFY_SOCKET names.
type manager struct {
	t       testing.TB
	conn    *net.UnixConn
	address string // as NOTIFY_SOCKET has it
}

// listenManager makes such a socket at an address, "@" for an abstract one.
func listenManager(t testing.TB, address string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, address}
}

// newManager makes one at a path of its own.
func newManager(t testing.TB) *manager {
	t.Helper()
	return listenManager(t, filepath.Join(openDir(t), "notify"))
}

// abstract is a name that nobody else has.
func abstract() string {
	return fmt.Sprintf("@pidleash-test-%d-%d", os.Getpid(), time.Now().UnixNano())
}

func (m *manager) how() how { return how{env: []string{"NOTIFY_SOCKET=" + m.address}} }

// read returns the next message and its descriptors.
func (m *manager) read() (string, []int) {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(runTimeout)); err != nil {
		m.t.Fatal(err)
	}
	text, control := make([]byte, 1<<18), make([]byte, 4096)
	n, oobn, _, _, err := m.conn.ReadMsgUnix(text, control)
	if err != nil {
		m.t.Fatalf("no more messages: %v", err)
	}
	parts, err := unix.ParseSocketControlMessage(control[:oobn])
	var fds []int
	for i := range parts {
		rights, rightsErr := unix.ParseUnixRights(&parts[i])
		fds, err = append(fds, rights...), errors.Join(err, rightsErr)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text[:n]), fds
}

// expect fails the test unless the next message is want, without descriptors.
func (m *manager) expect(want string) {
	m.t.Helper()
	text, fds := m.read()
	if text != want || len(fds) > 0 {
		m.t.Fatalf("the service manager gets %.200q with descriptors %v, want %.200q", text, fds, want)
	}
}

// startLed starts a program behind pidleash that can be led, see notify.c.
func startLed(t testing.TB, h how, options ...string) (r *run, pid int) {
	t.Helper()
	r = start(t, h, append(options, "--", notifyProgram(t), "led")...)
	return r, r.number(t)
}

// obey gives an order and waits for the answer.
func (r *run) obey(t testing.TB, order, answer string) {
	t.Helper()
	r.tell(t, order)
	r.expect(t, answer)
}

// TestRelay compares what a program says with what the service manager gets.
func TestRelay(t *testing.T) {
	for name, address := range map[string]string{
		"path":     filepath.Join(openDir(t), "notify"),
		"abstract": abstract(),
	} {
		t.Run(name, func(t *testing.T) { relayAll(t, listenManager(t, address)) })
	}
}

func relayAll(t *testing.T, m *manager) {
	r, _ := startLed(t, m.how())
	for _, text := range []string{
		"READY=1", "STATUS=a b\\nERRNO=2\\n", "RELOADING=1\\nMONOTONIC_USEC=4711", "STOPPING=1", "EXTEND_TIMEOUT_USEC=5000000",
		"BUSERROR=a.b.c", "EXIT_STATUS=7", "WATCHDOG=1", "WATCHDOG=trigger", "WATCHDOG_USEC=7", "FDSTOREREMOVE=1\\nFDNAME=x", "NOTIFYACCESS=all",
		"no message of the protocol", "\\n", "X_MAINPID=1",
	} {
		r.obey(t, "send "+text, "done")
		m.expect(strings.ReplaceAll(text, `\n`, "\n"))
	}
	r.obey(t, "send MAINPID=1", "done") // nothing is left of this
	r.obey(t, `send MAINPID=1\nSTATUS=x\nMAINPIDFDID=5\nMAINPIDFD=1\nERRNO=1`, "done")
	m.expect("STATUS=x\nERRNO=1")

	r.obey(t, "big 4000 STATUS=", "done")
	m.expect("STATUS=" + strings.Repeat("x", 4000-len("STATUS=")))
	// Of this systemd reads nothing, but who else is there may.
	r.obey(t, "big 65536 STATUS=", "done")
	m.expect("STATUS=" + strings.Repeat("x", 65536-len("STATUS=")))
	r.obey(t, "big 65537 STATUS=", "done") // half of it would be another message

	r.obey(t, "store NAME text", "done")
	text, fds := m.read()
	if text != "FDSTORE=1\nFDNAME=NAME" || len(fds) != 1 {
		t.Fatalf("the service manager gets %q and %d descriptors, want FDSTORE=1 and one", text, len(fds))
	}
	content := make([]byte, 16)
	n, err := unix.Pread(fds[0], content, 0)
	unix.Close(fds[0])
	if err != nil || string(content[:n]) != "text" {
		t.Errorf("from the stored descriptor comes %q, %v, want text", content[:n], err)
	}

	// The program waits until the last copy of a descriptor is closed.
	r.tell(t, "barrier")
	text, fds = m.read()
	if text != "BARRIER=1" || len(fds) != 1 {
		t.Fatalf("the service manager gets %q and %d descriptors, want BARRIER=1 and one", text, len(fds))
	}
	unix.Close(fds[0])
	r.expect(t, "passed")

	r.tell(t, "many 1000 STATUS=message")
	for i := range 1000 {
		m.expect("STATUS=message " + strconv.Itoa(i+1))
	}
	r.expect(t, "done")
	r.tell(t, "exit 3")
	r.expectCode(t, 3)
	r.expectQuiet(t)
}

// TestRelayLastWords: the end of the sender follows at once, and with it
// pidleash's own.
func TestRelayLastWords(t *testing.T) {
	m := newManager(t)
	for i := range 500 {
		want := "STATUS=end " + strconv.Itoa(i)
		start(t, m.how(), "--", notifyProgram(t), "last", want).expectCode(t, 0)
		m.expect(want)
	}
}

// TestRelayCostsNothing looks for sockets where nobody is to be notified.
func TestRelayCostsNothing(t *testing.T) {
	sockets := func(env ...string) (n int) {
		r, _ := startLed(t, how{env: env})
		for _, target := range openFiles(t, fmt.Sprintf("/proc/%d", r.pid())) {
			if strings.HasPrefix(target, "socket:") {
				n++
			}
		}
		return n
	}
	os.Unsetenv("NOTIFY_SOCKET")
	if n := sockets(); n != 0 {
		t.Errorf("pidleash has %d sockets without NOTIFY_SOCKET", n)
	}
	if n := sockets("NOTIFY_SOCKET="); n != 0 {
		t.Errorf("pidleash has %d sockets with an empty NOTIFY_SOCKET", n)
	}
	if n := sockets("NOTIFY_SOCKET=" + newManager(t).address); n != 2 { // the control
		t.Errorf("pidleash has %d sockets with a NOTIFY_SOCKET, want two", n)
	}
}

// fill sends more than a service manager that reads nothing can hold, so that
// the relay waits for it, and returns how many messages; the program does not wait.
func fill(t testing.TB, r *run) int {
	t.Helper()
	n := capacity(t) + 2
	r.obey(t, fmt.Sprintf("many %d STATUS=unread", n), "done")
	return n
}

// capacity is the number of such messages that a socket takes without a reader.
// Several limits have a say, so it is tried out.
func capacity(t testing.TB) int {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	for n := 0; ; n++ {
		if _, err := unix.Write(pair[0], fmt.Appendf(nil, "STATUS=unread %d", n)); err == unix.EAGAIN {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestStuckManager has a service manager that reads nothing: it may delay
// pidleash's end, for a limited time, and nothing else.
func TestStuckManager(t *testing.T) {
	const warning = `^pidleash: NOTIFY_SOCKET: .* does not read`
	t.Run("exit", func(t *testing.T) {
		t.Parallel()
		m := newManager(t)
		r, _ := startLed(t, m.how())
		fill(t, r)
		r.tell(t, "exit 3")
		r.expectCode(t, 3)
		r.expectOneLine(t, warning)
	})
	t.Run("TERM", func(t *testing.T) {
		t.Parallel()
		m := newManager(t)
		r, _ := startLed(t, m.how())
		fill(t, r)
		r.signal(syscall.SIGTERM)
		r.expectSignal(t, syscall.SIGTERM)
		r.expectOneLine(t, warning)
	})
	t.Run("removal", func(t *testing.T) {
		t.Parallel()
		m, pidfile := newManager(t), filepath.Join(openDir(t), "pid")
		r, _ := startLed(t, m.how(), "-pidfile", pidfile)
		fill(t, r)
		if err := os.Remove(pidfile); err != nil {
			t.Fatal(err)
		}
		r.expectSignal(t, syscall.SIGTERM)
	})
	// It reads in the end, and all is there.
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		m := newManager(t)
		r, pid := startLed(t, m.how())
		n := fill(t, r)
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		await(t, "the program has been reaped", func() bool { return gone(pid) })
		for i := range n {
			m.expect("STATUS=unread " + strconv.Itoa(i+1))
		}
		r.expectSignal(t, syscall.SIGTERM)
		r.expectQuiet(t)
	})
}

// TestNoManager has an address where nobody is, and one that is none.
func TestNoManager(t *testing.T) {
	nobodyThere := filepath.Join(t.TempDir(), "notify")
	r := start(t, how{env: []string{"NOTIFY_SOCKET=" + nobodyThere}}, "--", notifyProgram(t), "last", "READY=1")
	r.expectCode(t, 0)
	r.expectQuiet(t)

	for _, address := range []string{"vsock:2:1234", "relative"} {
		r := start(t, how{env: []string{"NOTIFY_SOCKET=" + address}}, "--", "sh", "-c", `echo "$NOTIFY_SOCKET"`)
		r.expect(t, address) // somebody may know what to do with it
		r.expectCode(t, 0)
		r.expectOneLine(t, `^pidleash: NOTIFY_SOCKET: .*"`+address+`"`)
	}
}

// TestOwnPID: these variables say who is meant. If it is pidleash it is the
// program, and if it is somebody else it stays so.
func TestOwnPID(t *testing.T) {
	const script = `export LISTEN_PID=%[1]s WATCHDOG_PID=%[1]s SYSTEMD_EXEC_PID=%[1]s LISTEN_PIDFDID=4711 LISTEN_FDS=2 LISTEN_FDNAMES=a:b
exec "$0" "$@"`
	const show = `echo "$LISTEN_PID $WATCHDOG_PID $SYSTEMD_EXEC_PID ${LISTEN_PIDFDID-unset} $LISTEN_FDS $LISTEN_FDNAMES self $$"`
	for _, test := range []struct{ pid, want string }{
		{"$$", "%[1]s %[1]s %[1]s unset 2 a:b self %[1]s"},
		{"1", "1 1 1 4711 2 a:b self %[1]s"},
	} {
		h := how{before: []string{"sh", "-c", fmt.Sprintf(script, test.pid)}}
		r := start(t, h, "--", "sh", "-c", show)
		line := r.line(t)
		words := strings.Fields(line)
		if want := fmt.Sprintf(test.want, words[len(words)-1]); line != want {
			t.Errorf("with PID %s the program has %q, want %q", test.pid, line, want)
		}
		if slices.Contains(words, strconv.Itoa(r.pid())) {
			t.Errorf("the program sees pidleash's PID %d: %q", r.pid(), line)
		}
		r.expectCode(t, 0)
	}
}
