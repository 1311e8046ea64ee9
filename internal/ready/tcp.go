package ready

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// answerLimit is how long a host may take to answer, in milliseconds. A local one answers at once.
const answerLimit = 1000

// accepts reports that somebody accepts a connection to the address, and closes the connection at once. It does
// without package net, whose initialisation every start would pay for.
func accepts(address netip.AddrPort) bool {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: address.Addr().As16(), Port: int(address.Port())})
	if address.Addr().Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}
	}
	fd, err := sys.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if err = unix.Connect(fd, to); err == unix.EINPROGRESS || err == unix.EINTR {
		_, _ = sys.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, answerLimit)
		_, err = unix.Getpeername(fd) // ENOTCONN: refused, or no answer yet
	}
	return err == nil && !isOwn(fd)
}

// isOwn reports a socket that is connected to itself: a port of the range that outgoing connections use can be their
// own source by chance, RFC 9293, section 3.5, simultaneous open.
func isOwn(fd int) bool {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return false
	}
	switch l := local.(type) {
	case *unix.SockaddrInet4:
		p, ok := peer.(*unix.SockaddrInet4)
		return ok && l.Port == p.Port && l.Addr == p.Addr
	case *unix.SockaddrInet6:
		p, ok := peer.(*unix.SockaddrInet6)
		return ok && l.Port == p.Port && l.Addr == p.Addr
	}
	return false
}
