package units

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// abstract is a name that nobody else has.
func abstract() string {
	return fmt.Sprintf("@pidleash-test-%d-%d", os.Getpid(), time.Now().UnixNano())
}

// TestRelay compares what a program says with what the service manager gets.
func TestRelay(t *testing.T) {
	for name, address := range map[string]string{
		"path":     filepath.Join(bed.OpenDir(t), "notify"),
		"abstract": abstract(),
	} {
		t.Run(name, func(t *testing.T) { relayAll(t, bed.ListenManager(t, address)) })
	}
}

func relayAll(t *testing.T, m *bed.Manager) {
	r, _ := bed.StartLed(t, m.How())
	for _, text := range []string{
		"READY=1", "STATUS=a b\\nERRNO=2\\n", "RELOADING=1\\nMONOTONIC_USEC=4711", "STOPPING=1", "EXTEND_TIMEOUT_USEC=5000000",
		"BUSERROR=a.b.c", "EXIT_STATUS=7", "WATCHDOG=1", "WATCHDOG=trigger", "WATCHDOG_USEC=7", "FDSTOREREMOVE=1\\nFDNAME=x", "NOTIFYACCESS=all",
		"no message of the protocol", "\\n", "X_MAINPID=1",
	} {
		r.Obey(t, "send "+text, "done")
		m.Expect(strings.ReplaceAll(text, `\n`, "\n"))
	}
	r.Obey(t, "send MAINPID=1", "done") // nothing is left of this
	r.Obey(t, `send MAINPID=1\nSTATUS=x\nMAINPIDFDID=5\nMAINPIDFD=1\nERRNO=1`, "done")
	m.Expect("STATUS=x\nERRNO=1")

	r.Obey(t, "big 4000 STATUS=", "done")
	m.Expect("STATUS=" + strings.Repeat("x", 4000-len("STATUS=")))
	// Of this systemd reads nothing, but who else is there may.
	r.Obey(t, "big 65536 STATUS=", "done")
	m.Expect("STATUS=" + strings.Repeat("x", 65536-len("STATUS=")))
	r.Obey(t, "big 65537 STATUS=", "done") // half of it would be another message

	r.Obey(t, "store NAME text", "done")
	text, fds := m.Read()
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
	r.Tell(t, "barrier")
	text, fds = m.Read()
	if text != "BARRIER=1" || len(fds) != 1 {
		t.Fatalf("the service manager gets %q and %d descriptors, want BARRIER=1 and one", text, len(fds))
	}
	unix.Close(fds[0])
	r.Expect(t, "passed")

	r.Tell(t, "many 1000 STATUS=message")
	for i := range 1000 {
		m.Expect("STATUS=message " + strconv.Itoa(i+1))
	}
	r.Expect(t, "done")
	r.Tell(t, "exit 3")
	r.ExpectCode(t, 3)
	r.ExpectQuiet(t)
}

// TestRelayLastWords: the end of the sender follows at once, and with it
// pidleash's own.
func TestRelayLastWords(t *testing.T) {
	m := bed.NewManager(t)
	for i := range 500 {
		want := "STATUS=end " + strconv.Itoa(i)
		bed.Start(t, m.How(), "--", bed.CompileC(t, "notify.c"), "last", want).ExpectCode(t, 0)
		m.Expect(want)
	}
}

// TestRelayCostsNothing looks for sockets where nobody is to be notified.
func TestRelayCostsNothing(t *testing.T) {
	sockets := func(env ...string) (n int) {
		r, _ := bed.StartLed(t, bed.How{Env: env})
		for _, target := range openFiles(t, fmt.Sprintf("/proc/%d", r.PID())) {
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
	if n := sockets("NOTIFY_SOCKET=" + bed.NewManager(t).Address); n != 2 { // the control
		t.Errorf("pidleash has %d sockets with a NOTIFY_SOCKET, want two", n)
	}
}

// fill sends more than a service manager that reads nothing can hold, so that
// the relay waits for it, and returns how many messages; the program does not wait.
func fill(t testing.TB, r *bed.Run) int {
	t.Helper()
	n := capacity(t) + 2
	r.Obey(t, fmt.Sprintf("many %d STATUS=unread", n), "done")
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
		m := bed.NewManager(t)
		r, _ := bed.StartLed(t, m.How())
		fill(t, r)
		r.Tell(t, "exit 3")
		r.ExpectCode(t, 3)
		r.ExpectOneLine(t, warning)
	})
	t.Run("TERM", func(t *testing.T) {
		t.Parallel()
		m := bed.NewManager(t)
		r, _ := bed.StartLed(t, m.How())
		fill(t, r)
		r.Signal(syscall.SIGTERM)
		r.ExpectSignal(t, syscall.SIGTERM)
		r.ExpectOneLine(t, warning)
	})
	t.Run("removal", func(t *testing.T) {
		t.Parallel()
		m, pidfile := bed.NewManager(t), filepath.Join(bed.OpenDir(t), "pid")
		r, _ := bed.StartLed(t, m.How(), "-pidfile", pidfile)
		fill(t, r)
		if err := os.Remove(pidfile); err != nil {
			t.Fatal(err)
		}
		r.ExpectSignal(t, syscall.SIGTERM)
	})
	// It reads in the end, and all is there.
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		m := bed.NewManager(t)
		r, pid := bed.StartLed(t, m.How())
		n := fill(t, r)
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		bed.Await(t, "the program has been reaped", func() bool { return bed.Gone(pid) })
		for i := range n {
			m.Expect("STATUS=unread " + strconv.Itoa(i+1))
		}
		r.ExpectSignal(t, syscall.SIGTERM)
		r.ExpectQuiet(t)
	})
}

// TestNoManager has an address where nobody is, and one that is none.
func TestNoManager(t *testing.T) {
	nobodyThere := filepath.Join(t.TempDir(), "notify")
	r := bed.Start(t, bed.How{Env: []string{"NOTIFY_SOCKET=" + nobodyThere}}, "--", bed.CompileC(t, "notify.c"), "last", "READY=1")
	r.ExpectCode(t, 0)
	r.ExpectQuiet(t)

	for _, address := range []string{"vsock:2:1234", "relative"} {
		r := bed.Start(t, bed.How{Env: []string{"NOTIFY_SOCKET=" + address}}, "--", "sh", "-c", `echo "$NOTIFY_SOCKET"`)
		r.Expect(t, address) // somebody may know what to do with it
		r.ExpectCode(t, 0)
		r.ExpectOneLine(t, `^pidleash: NOTIFY_SOCKET: .*"`+address+`"`)
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
		h := bed.How{Before: []string{"sh", "-c", fmt.Sprintf(script, test.pid)}}
		r := bed.Start(t, h, "--", "sh", "-c", show)
		line := r.Line(t)
		words := strings.Fields(line)
		if want := fmt.Sprintf(test.want, words[len(words)-1]); line != want {
			t.Errorf("with PID %s the program has %q, want %q", test.pid, line, want)
		}
		if slices.Contains(words, strconv.Itoa(r.PID())) {
			t.Errorf("the program sees pidleash's PID %d: %q", r.PID(), line)
		}
		r.ExpectCode(t, 0)
	}
}
