package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// TestRelayStranger has somebody else send what takes minutes to close: it costs the program no message, and pidleash
// no time at its end.
func TestRelayStranger(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	m := bed.NewManager(t)
	r, pid := bed.StartLed(t, m.How())
	env, err := os.ReadFile(bed.ProcFile(pid, "environ"))
	bed.Must(t, err)
	name := regexp.MustCompile(`NOTIFY_SOCKET=@([^\x00]*)`).FindSubmatch(env)
	if name == nil {
		t.Fatal("the program has no abstract socket")
	}
	stranger := bed.Launch(t, exec.Command(bed.CompileC(t, "stranger.c"), string(name[1]), "40"))
	stranger.Expect(t, "sent")
	for range 20 {
		r.Obey(t, "send STATUS=here", "done")
		m.Expect("STATUS=here")
	}
	begin := time.Now()
	r.Signal(syscall.SIGTERM)
	r.ExpectSignal(t, syscall.SIGTERM)
	if took := time.Since(begin); took > 3*time.Second { // without the protection: 5 s, and a warning
		t.Errorf("the end took %v", took)
	}
	r.ExpectQuiet(t)
}

// TestUnreadManagerCostsNoThreads: pings and states that nobody reads wait in one queue, for one thread.
func TestUnreadManagerCostsNoThreads(t *testing.T) {
	t.Parallel()
	m := bed.NewManager(t)
	h := m.How()
	h.Env = append(h.Env, "WATCHDOG_USEC=2000") // a ping each millisecond
	r := bed.Start(t, h, "-while", filepath.Join(t.TempDir(), "no"), "true")
	threads := func() int {
		list, _ := os.ReadDir(bed.ProcFile(r.PID(), "task"))
		return len(list)
	}
	bed.Await(t, "the queue of the socket is full", func() bool { return unread(t, m.Address) })
	before := bed.Switches(t, r.PID())
	bed.Await(t, "more pings", func() bool { return bed.Switches(t, r.PID()) > before+1000 })
	if n := threads(); n > 20 {
		t.Errorf("pidleash has %d threads", n)
	}
	r.Signal(syscall.SIGTERM)
	r.ExpectSignal(t, syscall.SIGTERM)
}

// unread reports that a socket takes no more messages.
func unread(t *testing.T, address string) bool {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK, 0)
	bed.Must(t, err)
	defer syscall.Close(fd)
	return syscall.Sendto(fd, []byte("x"), 0, &syscall.SockaddrUnix{Name: address}) == syscall.EAGAIN
}
