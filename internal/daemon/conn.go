// Package daemon is the talk between a pidleash that has been started and the
// watchdog that it leaves behind: messages over a socket pair, with descriptors.
//
// It does not promise that the other side lives: Receive tells of its end.
package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is one end of the socket pair. Each message arrives whole or not at all,
// SOCK_SEQPACKET of unix(7).
type Conn struct{ fd int }

// Pair makes both ends, close-on-exec. The second is for the other process.
func Pair() (ours, theirs *Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return &Conn{fds[0]}, &Conn{fds[1]}, nil
}

// Attach takes an end that this process was started with. It fails when the
// descriptor is no such socket.
func Attach(fd int) (*Conn, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, fmt.Errorf("descriptor %d is not the launcher's socket", fd)
	}
	unix.CloseOnExec(fd)
	return &Conn{fd}, nil
}

// FD is the descriptor, to be passed on.
func (c *Conn) FD() int { return c.fd }

// Close tells the other side that this one has ended.
func (c *Conn) Close() { unix.Close(c.fd) }

// SetLimit makes a Receive fail that would wait longer.
func (c *Conn) SetLimit(limit time.Duration) {
	value := unix.NsecToTimeval(limit.Nanoseconds())
	_ = unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &value)
}

// Send sends a message, in JSON, and copies of the descriptors.
func (c *Conn) Send(message any, fds ...int) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		// Without MSG_NOSIGNAL the end of the other side would be this one's, too.
		if err := unix.Sendmsg(c.fd, text, rights, nil, unix.MSG_NOSIGNAL); err != unix.EINTR {
			return err
		}
	}
}

// maxMessage is more than any message has: a few paths and numbers.
const maxMessage = 64 << 10

// maxDescriptors is more than any message carries.
const maxDescriptors = 16

// Receive waits for a message. io.EOF says that the other side has ended.
func (c *Conn) Receive(message any) (fds []int, err error) {
	data, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*maxDescriptors))
	for {
		n, controlLen, _, _, err := unix.Recvmsg(c.fd, data, control, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECONNRESET || err == nil && n == 0:
			return nil, io.EOF
		case err != nil:
			return nil, err
		}
		parts, err := unix.ParseSocketControlMessage(control[:controlLen])
		if err != nil {
			return nil, err
		}
		for i := range parts {
			if got, err := unix.ParseUnixRights(&parts[i]); err == nil {
				fds = append(fds, got...)
			}
		}
		return fds, json.Unmarshal(data[:n], message)
	}
}
