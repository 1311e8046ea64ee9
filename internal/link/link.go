// Package link carries the messages between a keeper and its caller, over a socket pair.
//
// Messages arrive whole and in order; if one does not, none comes after it, and both sides see the end. They are text:
// no descriptor is passed.
//
// The other side may end at any time: Receive reports that. Close no end during a Send or Receive on it.
package link

import (
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// Conn is one end of the socket pair, SOCK_SEQPACKET of unix(7).
type Conn struct{ fd int }

// Pair makes both ends, close-on-exec. The second is for the other process.
func Pair() (ours, theirs *Conn, err error) {
	fds, err := sys.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return &Conn{fds[0]}, &Conn{fds[1]}, nil
}

// Attach makes a Conn of an inherited descriptor. It fails if the descriptor is not such a socket.
func Attach(fd int) (*Conn, error) {
	kind, err := sys.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == unix.EBADF || err == unix.ENOTSOCK || err == nil && kind != unix.SOCK_SEQPACKET {
		return nil, fmt.Errorf("descriptor %d is not the caller's socket", fd)
	} // any other error is Peer's, too, and the other side can be told of that
	unix.CloseOnExec(fd)
	return &Conn{fd}, nil
}

// FD is the descriptor, for the process that will Attach it.
func (c *Conn) FD() int { return c.fd }

// Close closes this end: the other side receives io.EOF.
func (c *Conn) Close() { unix.Close(c.fd) }

// Peer is the PID of the process that made the pair, SO_PEERCRED of unix(7).
func (c *Conn) Peer() (int, error) {
	cred, err := sys.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	return int(cred.Pid), nil
}

// Gone reports whether the other side has ended or called CloseWrite. Its last messages may still be unread.
func (c *Conn) Gone() bool {
	p := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLRDHUP}}
	n, err := sys.Poll(p, 0)
	return err == nil && n > 0
}

// CloseWrite ends sending: the other side receives io.EOF. This end can still receive.
func (c *Conn) CloseWrite() { _ = sys.Shutdown(c.fd, unix.SHUT_WR) }

// maxMessage is more than any message needs: a few paths, numbers and sentences.
const maxMessage = 64 << 10

// Send sends a message as JSON. It blocks while the other side has too many unread ones. EPIPE: the other
// side has ended. EMSGSIZE: the message is longer than 64 KiB. After any error this side has ended, too: whoever waits
// for a lost message would wait for ever.
func (c *Conn) Send(message any) error {
	text, err := json.Marshal(message)
	switch {
	case err != nil:
	case len(text) > maxMessage:
		err = unix.EMSGSIZE
	default: // MSG_NOSIGNAL: no SIGPIPE when the other side has ended, send(2).
		err = sys.Send(c.fd, text, unix.MSG_NOSIGNAL)
	}
	if err != nil {
		c.end()
	}
	return err
}

// Receive waits for a message. io.EOF says that the other side has ended. After another error this side has ended, too.
func (c *Conn) Receive(message any) error {
	text := make([]byte, maxMessage)
	n, err := sys.Read(c.fd, text)
	if err == unix.ECONNRESET || err == nil && n == 0 {
		return io.EOF
	}
	if err == nil {
		err = json.Unmarshal(text[:n], message)
	}
	if err != nil {
		c.end()
	}
	return err
}

// end is for a link that has lost a message.
func (c *Conn) end() { _ = sys.Shutdown(c.fd, unix.SHUT_RDWR) }
