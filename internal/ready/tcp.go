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
	peer, failed := unix.Getpeername(fd)
	return err == nil && failed == nil && addressOf(local) == addressOf(peer)
}

func addressOf(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}
