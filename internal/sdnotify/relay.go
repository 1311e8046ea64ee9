// Package sdnotify speaks the service manager's protocol of sd_notify(3) for a program that is not the unit's
// main process.
//
// systemd takes messages of the main process only (NotifyAccess=main, the default of Type=notify). That is
// pidleash, so it has to pass on what the program says: every message in order and in full, with its
// descriptors. Only MAINPID= is dropped, because systemd would refuse all that pidleash passes on after it.
//
// It does not promise that the service manager reads, nor that a message arrives that is sent after Flush.
// A Relay belongs to one goroutine.
package sdnotify

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/sys"
)

// Relay is a socket for the program and what goes to the service manager. The zero value has neither.
type Relay struct {
	// Env is the program's environment. NewRelay puts the socket's address there.
	Env []string
	// OwnReady: READY=1 is not the program's to say, and is dropped. Set it before Start.
	OwnReady bool
	// Lost is called when a service manager that is there did not get READY=1, from any goroutine. Set it before Start;
	// nil: nobody wants to know.
	Lost func(error)

	in, out  int
	address  string        // of in, as NOTIFY_SOCKET has it; empty: nothing is relayed
	manager  string        // its address; empty: there is none
	users    []uint32      // whose messages are passed on
	program  atomic.Int64  // whose messages are, too; 0: not started
	ready    chan error    // the program has said READY=1
	done     chan struct{} // closed when everything before the end has been passed on
	unsent   chan []byte   // what the service manager has had no room for; nil: nothing yet
	waiting  atomic.Int32  // how much of it was not sent
	foreign  chan []int    // strangers' descriptors, to be closed
	interval time.Duration // between two pings; 0: the service manager wants none
	ping     <-chan time.Time
}

const (
	maxMessage     = 64 << 10 // more than systemd reads of one message, 4096 bytes
	maxDescriptors = 253      // the kernel's limit for one message, SCM_MAX_FD of unix(7)
)

// NewRelay makes a socket for messages to the service manager, whose address is NOTIFY_SOCKET in env. Without it
// they go nowhere, and no socket is made unless asked. What root and the given users send there is passed on from
// Start on. With an error the Relay does nothing.
//
// The socket's address is an abstract one that the kernel chooses, unix(7): it needs no directory, and a
// program of another user can reach it. Anybody else in the same network namespace can, too: hence the users.
func NewRelay(env []string, asked bool, users ...uint32) (*Relay, error) {
	none := &Relay{Env: env}
	i, address := variable(env, "NOTIFY_SOCKET")
	if address == "" && !asked {
		return none, nil
	}
	// A path or an abstract address, "@" standing for its NUL. There are others, which newer systemd has for
	// virtual machines.
	if address != "" && !strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "@") {
		return none, fmt.Errorf("%q is neither a path nor an abstract address", address)
	}
	r := &Relay{in: -1, out: -1, manager: address, users: append(users, 0), interval: pingInterval(env)}
	if err := r.open(); err != nil {
		r.close()
		return none, err
	}
	r.ready, r.done = make(chan error, 1), make(chan struct{})
	r.Env = slices.Clone(env)
	if i < 0 {
		i, r.Env = len(env), append(r.Env, "")
	}
	r.Env[i] = "NOTIFY_SOCKET=" + r.address
	return r, nil
}

func (r *Relay) open() (err error) {
	const kind = unix.SOCK_DGRAM | unix.SOCK_CLOEXEC
	if r.in, err = sys.Socket(unix.AF_UNIX, kind, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if r.out, err = sys.Socket(unix.AF_UNIX, kind, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := sys.SetsockoptInt(r.in, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return fmt.Errorf("SO_PASSCRED: %w", err)
	}
	// With an empty name the kernel binds to a free abstract address.
	if err := sys.Bind(r.in, &unix.SockaddrUnix{}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	self, err := sys.Getsockname(r.in)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	r.address = self.(*unix.SockaddrUnix).Name
	return nil
}

func (r *Relay) close() {
	unix.Close(r.in)
	unix.Close(r.out)
}

// Ready carries nil when the program has said READY=1.
func (r *Relay) Ready() <-chan error { return r.ready }

// ForgetReady is for another start: what the program before has said does not count.
func (r *Relay) ForgetReady() {
	select {
	case <-r.ready: //nolint:errcheck // it is dropped
	default:
	}
}

// Start begins to pass messages on, including those that have arrived since NewRelay, and ends Idle. The relay knows
// the program by its PID, because the program may have changed its user. A later call gives the PID of the next one.
func (r *Relay) Start(program int) {
	r.ping = nil
	if r.address != "" && r.program.Swap(int64(program)) == 0 {
		go r.run()
	}
}

// Idle pings, because no program does: otherwise the service manager would end pidleash as hung,
// sd_watchdog_enabled(3). It is to be called again when Pings delivers.
func (r *Relay) Idle() {
	if r.interval != 0 {
		r.Send("WATCHDOG=1")
		r.ping = time.After(r.interval)
	}
}

// Pings delivers when the next ping is due; nil: the program pings, or nobody needs to.
func (r *Relay) Pings() <-chan time.Time { return r.ping }

// ReportReady sends READY=1 if it is not the program's to say.
func (r *Relay) ReportReady() {
	if r.OwnReady {
		r.Send("READY=1")
	}
}

// Send says something on pidleash's own account, such as "STATUS=…". Messages are hints for people and the
// service manager, but for READY=1: nothing depends on their arrival, and nobody waits for it.
func (r *Relay) Send(message string) {
	if r.manager == "" {
		return
	}
	text := []byte(fault.Visible(message)) // a newline in a path would begin another message
	atOnce := func() error { return unix.Sendto(r.out, text, unix.MSG_DONTWAIT, r.to()) }
	if r.waiting.Load() == 0 {
		if err := sys.Again(atOnce); err != unix.EAGAIN {
			r.sent(text, err)
			return
		}
	}
	if r.unsent == nil {
		r.unsent = make(chan []byte, maxUnsent)
		go r.sendLater()
	}
	if r.waiting.Add(1) > maxUnsent {
		select { // the oldest says least
		case <-r.unsent:
			r.waiting.Add(-1)
		default:
		}
	}
	r.unsent <- text
}

// maxUnsent is how many messages of its own wait for a service manager that does not read.
const maxUnsent = 16

// sendLater sends what Send could not, in order, however long the service manager takes.
func (r *Relay) sendLater() {
	for text := range r.unsent {
		r.sent(text, sys.Again(func() error { return unix.Sendto(r.out, text, 0, r.to()) }))
		r.waiting.Add(-1)
	}
}

// sent is told what has become of a message. Where nobody listens, nobody waits for one.
func (r *Relay) sent(text []byte, err error) {
	nobody := err == unix.ENOENT || err == unix.ECONNREFUSED
	if err != nil && !nobody && r.Lost != nil && slices.ContainsFunc(bytes.FieldsFunc(text, isEnd), isReady) {
		r.Lost(err)
	}
}

func isEnd(r rune) bool { return r == '\n' || r == '\r' }

// isReady reports whether a line says READY=1. systemd permits one NUL at the end of a message: some programs send
// their C string with its terminating NUL.
func isReady(line []byte) bool { return string(bytes.TrimSuffix(line, []byte{0})) == "READY=1" }

// to is where the service manager is. Package unix knows of the "@". It writes to the value when it is used,
// so that each message needs its own.
func (r *Relay) to() unix.Sockaddr { return &unix.SockaddrUnix{Name: r.manager} }

// Flush ends the relay. It returns true when everything that was sent before has been passed on, false when
// the service manager has not read it within the limit.
func (r *Relay) Flush(limit time.Duration) bool {
	if r.program.Load() == 0 {
		return true
	}
	// What is in the queue can still be read, and after it comes the end.
	if sys.Shutdown(r.in, unix.SHUT_RD) != nil {
		return false
	}
	select {
	case <-r.done:
		return true
	case <-time.After(limit):
		return false
	}
}

func (r *Relay) run() {
	defer close(r.done)
	data := make([]byte, maxMessage)
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(4*maxDescriptors))
	for {
		room := control
		if len(r.foreign) == maxForeign { // the kernel drops descriptors that have no room
			room = control[:unix.CmsgSpace(unix.SizeofUcred)]
		}
		var n, controlLen, flags int
		err := sys.Again(func() (err error) {
			n, controlLen, flags, _, err = unix.Recvmsg(r.in, data, room, unix.MSG_CMSG_CLOEXEC)
			return err
		})
		// An empty message would come with its sender: this is the end, see Flush.
		if err != nil || n == 0 && controlLen == 0 {
			return
		}
		m := parseMessage(data[:n], room[:controlLen])
		// Half a message says something else than the whole.
		trusted := r.trusts(m)
		if flags&unix.MSG_TRUNC == 0 && trusted {
			r.forward(m)
		}
		// At once: with BARRIER=1 the program waits until the last copy is closed.
		if trusted {
			closeAll(m.descriptors)
		} else if len(m.descriptors) > 0 {
			r.closeForeign(m.descriptors)
		}
	}
}

// maxForeign is how many strangers' messages may wait for their descriptors to be closed.
const maxForeign = 4

// closeForeign closes a stranger's descriptors, which may take as long as the stranger wants: a socket may linger,
// socket(7), and a file may be of his own file system. A socket that does not linger any more is closed at once; for
// other files the reader of the relay does not wait. A socket must not be left to the kernel, which would drop it, and
// let the reader linger, when there is no room for more.
func (r *Relay) closeForeign(fds []int) {
	files := slices.DeleteFunc(fds, func(fd int) bool {
		isSocket := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{}) == nil
		if isSocket {
			unix.Close(fd)
		}
		return isSocket
	})
	if len(files) == 0 {
		return
	}
	if r.foreign == nil {
		foreign := make(chan []int, maxForeign)
		r.foreign = foreign
		go func() {
			for fds := range foreign {
				closeAll(fds)
			}
		}()
	}
	r.foreign <- files
}

func (r *Relay) trusts(m message) bool {
	return m.known && (m.pid == int(r.program.Load()) || slices.Contains(r.users, m.user))
}

func (r *Relay) forward(m message) {
	text := r.filter(m.text)
	if len(text) == 0 || r.manager == "" {
		return
	}
	var rights []byte
	if len(m.descriptors) > 0 {
		rights = unix.UnixRights(m.descriptors...)
	}
	r.sent(text, sys.Again(func() error { return unix.Sendmsg(r.out, text, rights, r.to(), 0) }))
}

// filter drops the lines that would make another process the unit's main one, and READY=1 where that is not
// the program's to say. It keeps all others as they are. To systemd a carriage return ends a line, too.
func (r *Relay) filter(text []byte) []byte {
	var kept []byte
	for len(text) > 0 {
		end := bytes.IndexAny(text, "\n\r") + 1
		if end == 0 {
			end = len(text)
		}
		if !r.drops(text[:end]) {
			kept = append(kept, text[:end]...)
		}
		text = text[end:]
	}
	return kept
}

func (r *Relay) drops(line []byte) bool {
	if isReady(bytes.TrimRight(line, "\r\n")) {
		select {
		case r.ready <- nil:
		default: // it has said so before
		}
		return r.OwnReady
	}
	return bytes.HasPrefix(line, []byte("MAINPID=")) || bytes.HasPrefix(line, []byte("MAINPIDFD"))
}

// message is one datagram.
type message struct {
	text        []byte
	known       bool // user and pid are the sender's, as the kernel says
	user        uint32
	pid         int
	descriptors []int
}

func parseMessage(text, control []byte) message {
	m := message{text: text}
	parts, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return m
	}
	for i := range parts {
		if cred, err := unix.ParseUnixCredentials(&parts[i]); err == nil {
			m.known, m.user, m.pid = true, cred.Uid, int(cred.Pid)
		}
		if fds, err := unix.ParseUnixRights(&parts[i]); err == nil {
			m.descriptors = append(m.descriptors, fds...)
		}
	}
	return m
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
