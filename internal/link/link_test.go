package link

import (
	"bytes"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

type message struct {
	Kind string
	PID  int
}

func pair(t *testing.T) (ours, theirs *Conn) {
	t.Helper()
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func send(t *testing.T, c *Conn, m message) {
	t.Helper()
	if err := c.Send(m); err != nil {
		t.Fatalf("Send(%+v): %v", m, err)
	}
}

func expect(t *testing.T, c *Conn, want message) {
	t.Helper()
	var got message
	if err := c.Receive(&got); err != nil || got != want {
		t.Fatalf("received %+v, %v; want %+v", got, err, want)
	}
}

func expectEnd(t *testing.T, c *Conn) {
	t.Helper()
	var got message
	if err := c.Receive(&got); err != io.EOF {
		t.Fatalf("received %+v, %v; want %v", got, err, io.EOF)
	}
}

// Two messages that were sent before the first is received stay two.
func TestMessages(t *testing.T) {
	ours, theirs := pair(t)
	defer ours.Close()
	defer theirs.Close()
	send(t, ours, message{"started", 812})
	send(t, ours, message{Kind: "up"})
	expect(t, theirs, message{"started", 812})
	expect(t, theirs, message{Kind: "up"})
	send(t, theirs, message{"ended", 812})
	expect(t, ours, message{"ended", 812})
}

// What was sent before the end arrives before it.
func TestClose(t *testing.T) {
	ours, theirs := pair(t)
	defer theirs.Close()
	send(t, ours, message{Kind: "up"})
	ours.Close()
	expect(t, theirs, message{Kind: "up"})
	expectEnd(t, theirs)
}

// With messages that it has not read, the end of one side is ECONNRESET for the
// other, unix(7).
func TestCloseWithUnread(t *testing.T) {
	ours, theirs := pair(t)
	defer theirs.Close()
	send(t, theirs, message{Kind: "ended"})
	ours.Close()
	expectEnd(t, theirs)
}

func TestCloseWrite(t *testing.T) {
	ours, theirs := pair(t)
	defer ours.Close()
	defer theirs.Close()
	ours.CloseWrite()
	expectEnd(t, theirs)
	send(t, theirs, message{Kind: "failed"})
	expect(t, ours, message{Kind: "failed"})
}

func TestSendToNobody(t *testing.T) {
	ours, theirs := pair(t)
	defer ours.Close()
	theirs.Close()
	if err := ours.Send(message{Kind: "up"}); err != unix.EPIPE {
		t.Errorf("Send: %v, want %v", err, unix.EPIPE)
	}
}

// Whoever waits for a message that is lost sees the end instead, and before that what came earlier.
func TestLostMessage(t *testing.T) {
	ours, theirs := pair(t)
	defer ours.Close()
	defer theirs.Close()
	send(t, ours, message{Kind: "started"})
	send(t, theirs, message{Kind: "ended"})
	if err := ours.Send(message{Kind: strings.Repeat("x", maxMessage)}); err == nil {
		t.Error("Send: no error")
	}
	expect(t, theirs, message{Kind: "started"})
	expectEnd(t, theirs)
	expect(t, ours, message{Kind: "ended"})
	expectEnd(t, ours)
}

// Nor does the other side go on as if it had been heard.
func TestUnreadableMessage(t *testing.T) {
	ours, theirs := pair(t)
	defer ours.Close()
	defer theirs.Close()
	if err := unix.Send(ours.FD(), []byte("{"), 0); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Receive(&message{}); err == nil || err == io.EOF {
		t.Errorf("Receive: %v, want an error", err)
	}
	if err := ours.Send(message{Kind: "up"}); err != unix.EPIPE {
		t.Errorf("Send: %v, want %v", err, unix.EPIPE)
	}
	expectEnd(t, ours)
}

// What is too long to be received is not sent.
func TestLongMessage(t *testing.T) {
	ours, theirs := pair(t)
	defer ours.Close()
	defer theirs.Close()
	long := message{Kind: strings.Repeat("x", maxMessage-len(`{"Kind":"","PID":0}`))}
	send(t, ours, long)
	expect(t, theirs, long)
	long.Kind += "x"
	if err := ours.Send(long); err != unix.EMSGSIZE {
		t.Errorf("Send: %v, want %v", err, unix.EMSGSIZE)
	}
}

// A descriptor that somebody sends all the same does not stay open here.
func TestDescriptorsAreDropped(t *testing.T) {
	ours, theirs := pair(t)
	defer ours.Close()
	defer theirs.Close()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if err := unix.Sendmsg(ours.FD(), []byte("{}"), unix.UnixRights(int(write.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	write.Close()
	expect(t, theirs, message{})
	if n, err := read.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v; want %v: the writing end is still open", n, err, io.EOF)
	}
}

func TestAttach(t *testing.T) {
	ours, theirs := pair(t)
	defer ours.Close()
	fd, err := unix.Dup(theirs.FD()) // as a child would get it: kept by execve
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	c, err := Attach(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v: programs would inherit the descriptor", flags, err)
	}
	send(t, c, message{Kind: "up"})
	expect(t, ours, message{Kind: "up"})
}

func TestAttachRefuses(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	stream, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stream[0])
	defer unix.Close(stream[1])
	for what, fd := range map[string]int{"a file": int(null.Fd()), "a stream": stream[0], "nothing": -1} {
		if _, err := Attach(fd); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

// FuzzMessages sends what Send may be given. It arrives as it is, but for bytes that are no UTF-8: each is one
// character that stands for that.
func FuzzMessages(f *testing.F) {
	f.Add("up", 812, "failed", 0)
	f.Add("\x00\n\"\\<>&\u2028", -1, "\xff\xc3", math.MaxInt)
	f.Fuzz(func(t *testing.T, first string, a int, second string, b int) {
		if len(first)+len(second) > 1000 {
			return
		}
		ours, theirs := pair(t)
		defer theirs.Close()
		send(t, ours, message{first, a})
		send(t, ours, message{second, b})
		ours.Close()
		expect(t, theirs, message{string([]rune(first)), a})
		expect(t, theirs, message{string([]rune(second)), b})
		expectEnd(t, theirs)
	})
}

// FuzzDatagrams has somebody send anything. It is a message or an error, and never the end; what comes after it
// arrives.
func FuzzDatagrams(f *testing.F) {
	for _, seed := range []string{"{}", "null", "[]", "{\"Kind\":1}", "{\"PID\":1e99}", "{\"kind\":\"up\"}{}", "\x00", "{\"Kind\":\"up\"", "1"} {
		f.Add([]byte(seed), 0)
	}
	f.Add([]byte("{\"Kind\":\"x\"}"), maxMessage)
	f.Fuzz(func(t *testing.T, text []byte, spaces int) {
		if spaces < 0 || spaces > 2*maxMessage || len(text)+spaces == 0 { // an empty one is nobody's: it looks like the end
			return
		}
		long := append(bytes.Repeat([]byte(" "), spaces), text...)
		ours, theirs := pair(t)
		defer theirs.Close()
		if err := unix.Send(ours.FD(), long, 0); err != nil {
			t.Fatal(err)
		}
		send(t, ours, message{"up", 812})
		ours.Close()
		var m message
		switch err := theirs.Receive(&m); {
		case err == io.EOF:
			t.Errorf("%q counts as the end", text)
		case err == nil && (len(long) > maxMessage && len(bytes.TrimSpace(long[maxMessage:])) > 0 || !bytes.ContainsAny(text, "{l")): // an object, or null
			t.Errorf("%q is %+v", text, m)
		}
		expect(t, theirs, message{"up", 812})
		expectEnd(t, theirs)
	})
}
