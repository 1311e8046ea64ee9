package bed

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Manager stands for a service manager: the socket that NOTIFY_SOCKET names.
type Manager struct {
	T       testing.TB
	Conn    *net.UnixConn
	Address string // as NOTIFY_SOCKET has it
}

// ListenManager makes such a socket at an address, "@" for an abstract one.
func ListenManager(t testing.TB, address string) *Manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &Manager{t, conn, address}
}

// NewManager makes one at a path of its own.
func NewManager(t testing.TB) *Manager {
	t.Helper()
	return ListenManager(t, filepath.Join(OpenDir(t), "notify"))
}

// How starts a run below this manager.
func (m *Manager) How() How { return How{Env: []string{"NOTIFY_SOCKET=" + m.Address}} }

// Read returns the next message and its descriptors.
func (m *Manager) Read() (string, []int) {
	m.T.Helper()
	if err := m.Conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		m.T.Fatal(err)
	}
	text, control := make([]byte, 1<<18), make([]byte, 4096)
	n, oobn, _, _, err := m.Conn.ReadMsgUnix(text, control)
	if err != nil {
		m.T.Fatalf("no more messages: %v", err)
	}
	parts, err := unix.ParseSocketControlMessage(control[:oobn])
	var fds []int
	for i := range parts {
		rights, rightsErr := unix.ParseUnixRights(&parts[i])
		fds, err = append(fds, rights...), errors.Join(err, rightsErr)
	}
	if err != nil {
		m.T.Fatal(err)
	}
	return string(text[:n]), fds
}

// Expect fails the test unless the next message is want, without descriptors.
func (m *Manager) Expect(want string) {
	m.T.Helper()
	text, fds := m.Read()
	if text != want || len(fds) > 0 {
		m.T.Fatalf("the service manager gets %.200q with descriptors %v, want %.200q", text, fds, want)
	}
}

// StartLed starts a program behind pidleash that can be led, see notify.c.
func StartLed(t testing.TB, h How, options ...string) (r *Run, pid int) {
	t.Helper()
	r = Start(t, h, append(options, "--", CompileC(t, "notify.c"), "led")...)
	return r, r.Number(t)
}
