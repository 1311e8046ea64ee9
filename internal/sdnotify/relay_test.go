package sdnotify

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit is how long something may take that happens at once if all is well.
const limit = 30 * time.Second

// bed is a relay with a socket before and one behind it.
type bed struct {
	*testing.T
	relay   *Relay
	program int // the program's socket
	manager int // the service manager's
}

// newBed has a relay that listens to root and users, and not yet runs.
func newBed(t *testing.T, users ...uint32) *bed {
	t.Helper()
	b := &bed{T: t, program: socket(t), manager: socket(t)}
	path := filepath.Join(t.TempDir(), "notify")
	if err := unix.Bind(b.manager, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	timeout := unix.NsecToTimeval(limit.Nanoseconds())
	if err := unix.SetsockoptTimeval(b.manager, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	relay, err := NewRelay([]string{"NOTIFY_SOCKET=" + path}, false, users...)
	if err != nil {
		t.Fatal(err)
	}
	b.relay = relay
	return b
}

func socket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// runs starts the relay for a program that does not exist, and ends it with the
// test.
func (b *bed) runs() *bed {
	b.relay.Start(-1)
	b.Cleanup(func() {
		if !b.relay.Flush(limit) {
			b.Error("the relay has not ended")
		}
		b.relay.close()
	})
	return b
}

// send says something as the program, with descriptors.
func (b *bed) send(text string, fds ...int) {
	b.Helper()
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(b.program, []byte(text), rights, &unix.SockaddrUnix{Name: b.relay.address}, 0); err != nil {
		b.Fatal(err)
	}
}

// expect fails the test unless the next message has arrived as want, and returns
// its descriptors.
func (b *bed) expect(want string) []int {
	b.Helper()
	text, control := make([]byte, 2*maxMessage), make([]byte, 4096)
	n, controlLen, err := 0, 0, error(unix.EINTR)
	for err == unix.EINTR { // with a timeout no call is restarted, signal(7)
		n, controlLen, _, _, err = unix.Recvmsg(b.manager, text, control, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		b.Fatalf("waiting for %q: %v", want, err)
	}
	if got := string(text[:n]); got != want {
		b.Fatalf("the service manager gets %.200q, want %.200q", got, want)
	}
	return parseMessage(nil, control[:controlLen]).descriptors
}

// me is the user of this test.
func me() uint32 { return uint32(os.Geteuid()) }

func TestInOrder(t *testing.T) {
	b := newBed(t, me()).runs()
	for i := range 100 {
		b.send(fmt.Sprintf("STATUS=%d\nX=\x00\xff", i))
		b.expect(fmt.Sprintf("STATUS=%d\nX=\x00\xff", i))
	}
}

// A program may be faster than the launch that has started it.
func TestBeforeStart(t *testing.T) {
	b := newBed(t, me())
	b.send("READY=1")
	b.runs()
	b.send("STATUS=x")
	b.expect("READY=1")
	b.expect("STATUS=x")
}

// Neither an empty message nor one that is no message ends the relay.
func TestOddMessages(t *testing.T) {
	b := newBed(t, me()).runs()
	b.send("")
	b.send("MAINPID=1")
	b.send(strings.Repeat("x", maxMessage+1))
	b.send(strings.Repeat("x", maxMessage))
	b.expect(strings.Repeat("x", maxMessage))
}

func TestDescriptors(t *testing.T) {
	b := newBed(t, me()).runs()
	for _, n := range []int{1, 2, maxDescriptors} {
		fds := make([]int, n)
		for i := range fds {
			fds[i] = b.manager
		}
		b.send("FDSTORE=1", fds...)
		got := b.expect("FDSTORE=1")
		if len(got) != n {
			t.Errorf("%d descriptors of %d have arrived", len(got), n)
		}
		closeAll(got)
	}
}

// The barrier of sd_notify_barrier(3) is a descriptor that everybody closes.
// One of a message that is dropped is closed, too.
func TestDescriptorsAreClosed(t *testing.T) {
	b := newBed(t, me()).runs()
	for _, text := range []string{"BARRIER=1", "MAINPID=1", "", strings.Repeat("x", maxMessage+1)} {
		ends := make([]int, 2)
		if err := unix.Pipe2(ends, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		b.send(text, ends[1])
		unix.Close(ends[1])
		if text == "BARRIER=1" {
			closeAll(b.expect(text))
		}
		poll := []unix.PollFd{{Fd: int32(ends[0])}}
		if n, err := unix.Poll(poll, int(limit.Milliseconds())); n != 1 || err != nil {
			t.Errorf("after %.20q the descriptor stays open: %d, %v", text, n, err)
		}
		unix.Close(ends[0])
	}
}

const nobody = 65534

// as runs something as another user, which is what a thread has.
func as(t *testing.T, user int, f func()) {
	t.Helper()
	if me() != 0 {
		t.Skip("needs root")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(user), uintptr(user), uintptr(user))
		if errno != 0 {
			done <- errno
			return
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatalf("setresuid: %v", err)
	}
}

func TestUsers(t *testing.T) {
	for _, test := range []struct {
		what    string
		users   []uint32
		trusted bool
	}{
		{"nobody has been named", []uint32{nobody}, true},
		{"only root is trusted", nil, false},
		{"others have been named", []uint32{1, nobody - 1}, false},
	} {
		b := newBed(t, test.users...).runs()
		as(t, nobody, func() { b.send("STATUS=of nobody") })
		b.send("STATUS=of root") // goes the same way, so it comes behind
		if test.trusted {
			b.expect("STATUS=of nobody")
		}
		b.expect("STATUS=of root")
		if t.Failed() {
			t.Fatal(test.what)
		}
	}
}

// To systemd it is the same process whatever it has become.
func TestProgramOfAnotherUser(t *testing.T) {
	b := newBed(t)
	as(t, nobody, func() { b.send("READY=1") })
	b.relay.Start(os.Getpid())
	b.expect("READY=1")
	b.relay.Flush(limit)
}

func TestFlush(t *testing.T) {
	b := newBed(t, me())
	for i := range 5 {
		b.send(fmt.Sprint("STATUS=", i))
	}
	b.relay.Start(-1)
	if !b.relay.Flush(limit) {
		t.Error("Flush has not come to its end")
	}
	for i := range 5 {
		b.expect(fmt.Sprint("STATUS=", i))
	}
	err := unix.Sendto(b.program, []byte("late"), 0, &unix.SockaddrUnix{Name: b.relay.address})
	if err != unix.EPIPE {
		t.Errorf("a message after Flush: %v, want EPIPE", err)
	}
	b.relay.Send("STATUS=own")
	b.expect("STATUS=own")
}

// TestStuckManager has nobody read until the sockets are full.
func TestStuckManager(t *testing.T) {
	b := newBed(t, me())
	b.relay.Start(-1)
	full := 0
	for unix.Sendto(b.relay.out, []byte("STATUS=first"), unix.MSG_DONTWAIT, b.relay.to()) == nil {
		full++
	}
	b.relay.Send("STATUS=own") // must return
	b.send("STATUS=of the program")
	if b.relay.Flush(time.Millisecond) {
		t.Error("Flush says that all has been passed on")
	}
	for range full {
		b.expect("STATUS=first")
	}
	<-b.relay.done
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"relative", "vsock:2:1234", "\x00abstract"} {
		if _, err := NewRelay([]string{"NOTIFY_SOCKET=" + address}, true); err == nil {
			t.Errorf("NewRelay(%q) has not failed", address)
		}
	}
}

func TestWithoutMainPID(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"READY=1":                         "READY=1",
		"MAINPID=1":                       "",
		"MAINPID=1\n":                     "",
		"MAINPID=1\nREADY=1":              "READY=1",
		"READY=1\nMAINPID=1":              "READY=1\n",
		"READY=1\rMAINPID=1\rSTATUS=x":    "READY=1\rSTATUS=x",
		"READY=1\r\nMAINPID=1\r\nX=1\r\n": "READY=1\r\n\nX=1\r\n",
		"MAINPIDFD=1\nMAINPIDFDID=5\nX=":  "X=",
		"STATUS=MAINPID=1":                "STATUS=MAINPID=1",
		"X_MAINPID=1\nMAINPIDX=1":         "X_MAINPID=1\nMAINPIDX=1",
		"mainpid=1\n MAINPID=1":           "mainpid=1\n MAINPID=1",
	} {
		if got := string((&Relay{}).filter([]byte(text))); got != want {
			t.Errorf("of %q remains %q, want %q", text, got, want)
		}
	}
}

// FuzzFilter splits as systemd does. That ignores a message with a NUL in it, except for one at the end, which it takes
// off: so what such a message means says nothing.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"READY=1\nMAINPID=1\r\nX=1", "MAINPIDFD=1\n\n\rMAINPID", "READY=1", "READY=1\x00", "X=1\rREADY=1\n", "READY=1 ", "READY=10", "\x00READY=1", "READY=1\x00\n"} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, ownReady bool) {
		r := &Relay{OwnReady: ownReady, ready: make(chan error, 1)}
		got := r.filter(bytes.Clone(text))
		if bytes.IndexByte(bytes.TrimSuffix(text, []byte{0}), 0) >= 0 {
			return
		}
		var want []string
		ready := false
		for _, line := range linesOf(text) {
			isReady := line == "READY=1"
			ready = ready || isReady
			if !strings.HasPrefix(line, "MAINPID=") && !strings.HasPrefix(line, "MAINPIDFD") && !(isReady && ownReady) {
				want = append(want, line)
			}
		}
		if !slices.Equal(linesOf(got), want) {
			t.Errorf("of %q remain the lines %q, want %q", text, linesOf(got), want)
		}
		if len(r.ready) == 1 != ready {
			t.Errorf("%q says that it is ready: %v, want %v", text, !ready, ready)
		}
	})
}

// linesOf are the lines that systemd sees.
func linesOf(text []byte) []string {
	text = bytes.TrimSuffix(text, []byte{0})
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
}

// FuzzRelay sends two messages with descriptors through the sockets. What is not dropped arrives whole, in order, and
// with all of them; nothing stays open.
func FuzzRelay(f *testing.F) {
	f.Add([]byte("READY=1"), []byte("MAINPID=1\nSTATUS=x"), uint8(3))
	f.Add([]byte(""), []byte("\x00"), uint8(0))
	f.Add([]byte("MAINPID=1"), bytes.Repeat([]byte("x\n"), 2000), uint8(253))
	f.Fuzz(func(t *testing.T, first, second []byte, fds uint8) {
		before := openFiles(t)
		t.Run("", func(t *testing.T) { // its end closes the sockets
			b := newBed(t, me()).runs()
			fds = min(fds, maxDescriptors)
			rights := slices.Repeat([]int{b.manager}, int(fds))
			for _, text := range [][]byte{first, second} {
				if len(text) > maxMessage {
					return
				}
				b.send(string(text), rights...)
			}
			b.send("STATUS=end")
			for _, text := range [][]byte{first, second} {
				if kept := withoutMain(text); kept != "" {
					got := b.expect(kept)
					if len(got) != int(fds) {
						t.Errorf("%d descriptors of %d have arrived", len(got), fds)
					}
					closeAll(got)
				}
			}
			b.expect("STATUS=end")
		})
		if after := openFiles(t); after != before {
			t.Errorf("%d descriptors were open, now %d", before, after)
		}
	})
}

// withoutMain drops whole lines, each with its end.
func withoutMain(text []byte) (kept string) {
	for _, line := range regexp.MustCompile(`(?s)[^\n\r]*[\n\r]|[^\n\r]+`).FindAllString(latin1(text), -1) {
		if !strings.HasPrefix(line, "MAINPID=") && !strings.HasPrefix(line, "MAINPIDFD") {
			kept += line
		}
	}
	return fromLatin1(kept)
}

// latin1 makes a character of each byte, for a regular expression.
func latin1(text []byte) string {
	runes := make([]rune, len(text))
	for i, b := range text {
		runes[i] = rune(b)
	}
	return string(runes)
}

func fromLatin1(text string) string {
	var bytes []byte
	for _, r := range text {
		bytes = append(bytes, byte(r))
	}
	return string(bytes)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A program finds the socket in its environment, whether or not there was one.
func TestEnvironment(t *testing.T) {
	for _, env := range [][]string{nil, {"A=1", "NOTIFY_SOCKET=@x", "B=2"}} {
		before := slices.Clone(env)
		relay, err := NewRelay(env, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, address := variable(relay.Env, "NOTIFY_SOCKET"); address == "" || address != relay.address {
			t.Errorf("of %q the environment is %q, the address %q", before, relay.Env, relay.address)
		}
		if !slices.Equal(env, before) {
			t.Errorf("%q has become %q", before, env)
		}
		relay.close()
	}
}

// That the program is up is not said in vain without a word; everything else is a hint.
func TestLost(t *testing.T) {
	b := newBed(t)
	lost := make(chan error, 10)
	b.relay.Lost = func(err error) { lost <- err }
	b.relay.manager += "/below"
	b.runs()
	b.relay.Send("STATUS=lost")
	b.relay.Send("READY=1")
	for _, text := range []string{"STATUS=READY=1", "READY=1\x00", "STATUS=1\nREADY=1"} {
		b.send(text)
	}
	if !b.relay.Flush(limit) {
		t.Error("the relay has not ended")
	}
	if len(lost) != 3 {
		t.Errorf("%d losses were reported, want 3", len(lost))
	}
	for range len(lost) {
		if err := <-lost; err != unix.ENOTDIR {
			t.Errorf("lost: %v, want %v", err, unix.ENOTDIR)
		}
	}
}

// Without a service manager nothing is relayed, sent or waited for.
func TestNobodyToNotify(t *testing.T) {
	r, err := NewRelay([]string{"A=1"}, false)
	if err != nil || !slices.Equal(r.Env, []string{"A=1"}) {
		t.Fatalf("%q, %v", r.Env, err)
	}
	r.Idle()
	r.Start(1)
	r.ForgetReady()
	r.ReportReady()
	r.Send("STATUS=x")
	if r.Ready() != nil || r.Pings() != nil || !r.Flush(limit) {
		t.Error("there is something to wait for")
	}
}

func TestPings(t *testing.T) {
	b := newBed(t, me())
	b.relay.interval = time.Millisecond
	b.relay.Idle()
	b.expect("WATCHDOG=1")
	for range 3 {
		<-b.relay.Pings()
		b.relay.Idle()
		b.expect("WATCHDOG=1")
	}
	b.runs()
	if b.relay.Pings() != nil {
		t.Error("pings while the program runs")
	}
}
