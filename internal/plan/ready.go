package plan

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Ready is when the program counts as up. The zero value: when it has been executed, or the daemon is known.
type Ready struct {
	// Given: -ready was given, so pidleash itself reports readiness to the service manager.
	Given bool
	Kind  ReadyKind
	After time.Duration  // of ReadyAfter
	FD    int            // of ReadyFD
	Match *regexp.Regexp // of ReadyLog; nil: any growth of the log
	// Addresses of ReadyTCP: one is enough.
	Addresses []netip.AddrPort
	// Command of ReadyCommand is for /bin/sh.
	Command string
}

// ReadyKind is what makes the program ready.
type ReadyKind uint8

const (
	// ReadyExec: at once.
	ReadyExec ReadyKind = iota
	// ReadyAfter: when it is still alive after a while.
	ReadyAfter
	// ReadyNotify: when it sends READY=1, sd_notify(3).
	ReadyNotify
	// ReadyFD: when it writes a newline to a descriptor, as to s6's notification-fd.
	ReadyFD
	// ReadyLog: when one of its logs has grown, or has a new line that matches.
	ReadyLog
	// ReadyTCP: when somebody accepts a connection to an address.
	ReadyTCP
	// ReadyCommand: when a command ends with 0.
	ReadyCommand
)

// FirstFD is the lowest descriptor for ReadyFD: 0 to 2 are the program's standard input, output and error.
const FirstFD = 3

// ParseReady reads "exec", a duration, "notify", "fd:N", "log", "log:REGEX" as in package regexp, "tcp:[HOST:]PORT"
// with a number or localhost as HOST, or "cmd:COMMAND".
func ParseReady(text string) (Ready, error) {
	r := Ready{Given: true}
	kind, rest, hasRest := strings.Cut(text, ":")
	var err error
	switch {
	case text == "exec":
	case text == "notify":
		r.Kind = ReadyNotify
	case kind == "log":
		r.Kind = ReadyLog
		if hasRest {
			r.Match, err = regexp.Compile(rest)
		}
	case kind == "tcp":
		r.Kind = ReadyTCP
		r.Addresses, err = parseAddress(rest)
	case kind == "cmd":
		r.Kind, r.Command = ReadyCommand, rest
		if strings.TrimSpace(rest) == "" {
			err = errors.New("no command")
		}
	case kind == "fd":
		n, invalid := strconv.ParseUint(rest, 10, 16)
		if invalid != nil || n < FirstFD {
			err = fmt.Errorf("not a descriptor from %d to %d", FirstFD, math.MaxUint16)
		}
		r.Kind, r.FD = ReadyFD, int(n)
	default:
		r.Kind = ReadyAfter
		r.After, err = time.ParseDuration(text)
		if err != nil || r.After <= 0 {
			err = errors.New("unknown condition")
		}
	}
	return r, err
}

// parseAddress reads "[HOST:]PORT". Names need a resolver, which package net has: it would cost every start.
func parseAddress(text string) ([]netip.AddrPort, error) {
	host, number := "localhost", text
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		host, number = text[:i], text[i+1:]
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("not a port from 1 to 65535: %q", number)
	}
	if host == "localhost" {
		return []netip.AddrPort{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)),
			netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port)),
		}, nil
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if err != nil || addr.Is6() != strings.HasPrefix(host, "[") || addr.Zone() != "" {
		return nil, fmt.Errorf("not localhost, an IPv4 address, or an IPv6 address in brackets: %q", host)
	}
	return []netip.AddrPort{netip.AddrPortFrom(addr, uint16(port))}, nil
}
