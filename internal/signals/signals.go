// Package signals collects what is sent to pidleash, for the program to have, and sets what signals do to this
// process.
//
// A process that runs a program calls Catch first of all. From then on every signal that Forwarded reports arrives on
// C, unless it was ignored at start and Go keeps it so; equal ones may merge, as in the kernel. All others, and all
// before that, do what they do to a Go program, but 32 to 34, which are ignored. A process that becomes the program
// calls Release at the end, a keeper beside the program calls Outlive, and a process that runs no program calls Default
// instead of Catch.
//
// With our entry code (atstart) signals are blocked from the first instruction on and are read from a signalfd(2).
// Those that Go unblocks all the same come through os/signal, as all do without that code.
package signals

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/reserve"
	"pidleash/internal/sys"
)

// Source is where signals are collected. All but Sibling is for one goroutine.
type Source struct {
	c chan os.Signal // syscall.Signal by os/signal, collected by read
	// room has an element for each place in c that read takes, half of them at most: os/signal drops what does not
	// fit, and TERM must find a place whatever else is sent.
	room             chan struct{}
	taking           chan struct{}     // has an element while a signal may be neither in the kernel nor in c
	fd               int               // the signalfd; -1: there is none
	file             *os.File          // of fd, in Go's poller: who waits for it needs no thread
	ignored, blocked atstart.SignalSet // at start
	inThreads        atstart.SignalSet // blocked in each thread of Go
	wanted           atstart.SignalSet // those to collect
	sibling          atomic.Uint32
}

// Received is one signal. ToGroup: the kernel or the sibling has sent it to the whole process group, and a program in
// this group has had it as well.
type Received struct {
	Signal  syscall.Signal
	ToGroup bool
}

// collected is a Received in C. It is an os.Signal, so that no goroutine need stand between os/signal and C.
type collected struct{ Received }

func (c collected) String() string { return c.Received.Signal.String() }
func (c collected) Signal()        {}

// capacity is that of C. 1,000 equal signals arrive as one or two: the kernel merges them.
const capacity = 128

// Catch starts to collect signals. Call it before anything else. Package os/signal, which takes the few that Go
// unblocks, has the threads that it needs when Catch returns.
func Catch() *Source {
	s := &Source{
		c:      make(chan os.Signal, capacity),
		room:   make(chan struct{}, capacity/2),
		taking: make(chan struct{}, 1),
		fd:     -1,
	}
	pollable := reserve.Descriptors() == nil // Go has a poller
	s.ignored, s.blocked = atStart()
	s.inThreads = setMask(unix.SIG_BLOCK, 0)
	setActions(libraries, ignore)
	s.catch(pollable)
	return s
}

// C delivers signals, for Read.
func (s *Source) C() <-chan os.Signal { return s.c }

// Read tells of what C has delivered. Call it once for each: it makes room for another one.
func (s *Source) Read(got os.Signal) Received {
	if c, ok := got.(collected); ok {
		<-s.room
		return c.Received
	}
	// os/signal keeps the origin to itself. With the terminal's signals, a program in this group has them twice, which
	// is better than never.
	return Received{got.(syscall.Signal), false}
}

// Program returns the signals that the program is to ignore and to block; nil is what was ignored at start.
func (s *Source) Program(ignored []syscall.Signal) (ignoredSet, blockedSet atstart.SignalSet) {
	if ignored == nil {
		return s.ignored, s.blocked
	}
	return setOf(ignored...), s.blocked
}

// Sibling says that the program is in pidleash's process group: what it sends to the group, as editors do with
// SIGTSTP, it has had itself. That is known only of what is read from the signalfd.
func (s *Source) Sibling(pid int) { s.sibling.Store(uint32(pid)) }

// Late waits for the signal that tells this process to end, as it has told others: one to a whole control group
// reaches its processes one after the other. All else is dropped. 0: none came within limit.
func (s *Source) Late(limit time.Duration, tellsToEnd func(syscall.Signal) bool) syscall.Signal {
	timeout := time.After(limit)
	for {
		select {
		case got := <-s.c:
			if sig := s.Read(got).Signal; tellsToEnd(sig) {
				return sig
			}
		case <-timeout:
			return 0
		}
	}
}

func (s *Source) catch(pollable bool) {
	s.wanted = forwarded &^ ignoredNow(kept)
	if _, _, blocked := atstart.Signals(); blocked && pollable {
		if fd, err := sys.Signalfd(-1, sigset(s.wanted), unix.SFD_CLOEXEC|unix.SFD_NONBLOCK); err == nil {
			s.fd, s.file = fd, os.NewFile(uintptr(fd), "signalfd")
			go s.read()
		}
	}
	rest := s.wanted &^ s.inThreads
	if s.fd < 0 {
		rest = s.wanted
		// A reader of standard error who went away must not end anybody: nobody reads this channel.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	}
	if has(rest, syscall.SIGTERM) { // first: a thread that has begun to die of it is to be done with that soon
		signal.Notify(s.c, syscall.SIGTERM)
	}
	for _, sig := range list(rest) {
		signal.Notify(s.c, sig)
	}
}

// read passes on what comes through the signalfd, in the kernel's order.
func (s *Source) read() {
	conn, err := s.file.SyscallConn()
	for {
		s.room <- struct{}{}
		if err == nil {
			err = conn.Read(func(uintptr) bool { return s.take() }) // waits when there is none
		}
		if err != nil { // Go's poller does not have the descriptor: epoll_ctl(2) may have been refused
			s.takeOrWait()
		}
	}
}

// takeOrWait takes one signal, and waits for it in a thread of its own.
func (s *Source) takeOrWait() {
	for !s.take() {
		_, _ = sys.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, -1)
	}
}

// take takes one signal from the signalfd, unless somebody else was faster.
func (s *Source) take() bool {
	s.taking <- struct{}{}
	defer func() { <-s.taking }()
	info, ok := readSignalfd(s.fd)
	if sig := syscall.Signal(info.Signo); ok {
		toGroup := info.Code == siKernel || info.Pid != 0 && info.Pid == s.sibling.Load()
		s.c <- collected{Received{sig, toGroup && has(groups, sig)}}
	}
	return ok
}

// leave takes nothing but these out of what is read from the signalfd.
func (s *Source) leave(left atstart.SignalSet) {
	if s.fd >= 0 {
		_, _ = sys.Signalfd(s.fd, sigset(s.wanted&^left), 0)
	}
}
