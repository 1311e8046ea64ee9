package wrapper

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/daemon"
	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/sdnotify"
)

// A watchdog beside the program is a second start of this binary, in a session of
// its own and nobody's child. It gets the same command line, so that it knows what
// to do, and over a socket what has come of it: the program, by a pidfd, and the
// open files that hold the locks.
//
//	launcher                      watchdog
//	start                     →
//	…claims, launches, waits…     waits
//	charge: PID, descriptors  →
//	                          ←   watching
//	yours                     →   is alone in charge
//
// "back" instead of yours, or after it, sends the watchdog away. When the launcher
// ends without a word, the start has failed and the watchdog stops the program.

// watchdogFD is where a watchdog finds the socket.
const watchdogFD = 3

// word is what the two say.
type word struct {
	Kind  wordKind
	Error string // of failed
	Hint  string // of failed, from a supervisor
	Code  int    // likewise

	// Of charge. The descriptors come in the order of the fields that speak of them.
	PID, Group int
	Unlocked   bool   // it is the daemon's to lock
	Reserved   bool   // there is a reservation, with a descriptor
	Supervisor bool   // there is a file of the watchdog's PID, with a descriptor
	Dir        string // where the launcher stands; of supervise, too
}

type wordKind string

const (
	charge   wordKind = "charge"
	watching wordKind = "watching"
	failure  wordKind = "failed"
	yours    wordKind = "yours"
	back     wordKind = "back"

	supervise wordKind = "supervise"
	up        wordKind = "up"
)

// launcher is the launcher's end.
type launcher struct {
	conn       *daemon.Conn
	pid        int           // the watchdog's
	supervisor *pidfile.File // nil: none
}

// errNoWatchdog is all that can be said of a watchdog that ends without a word.
var errNoWatchdog = errors.New("the watchdog has ended before it was watching")

// startWatchdog starts it and publishes its PID, if there is a claim for that.
func startWatchdog(cfg *Config, signals *Signals, opened *surroundings, supervisor *pidfile.Claim) (*launcher, error) {
	l, err := launchWatchdog(cfg, signals, opened)
	if err != nil {
		if supervisor != nil {
			supervisor.Abandon()
		}
		return nil, err
	}
	if supervisor != nil {
		if l.supervisor, err = supervisor.Publish(l.pid); err != nil {
			l.dismiss()
			return nil, err
		}
	}
	return l, nil
}

func launchWatchdog(cfg *Config, signals *Signals, opened *surroundings) (*launcher, error) {
	ours, theirs, err := daemon.Pair()
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	defer theirs.Close()
	around := &surroundings{Config: &Config{}, stdio: opened.stdio}
	devNull, err := around.fillStdio()
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer unix.Close(devNull)
	name := plan.WatchdogName
	if cfg.Stays() {
		name = plan.SupervisorName
	}
	pid, err := launch(launchSpec{
		program:   &program{name: "pidleash", candidates: []string{"/proc/self/exe"}, around: around.Config},
		args:      append([]string{name}, cfg.CommandLine...),
		env:       atstart.Environ(),
		signals:   signals,
		around:    around,
		detached:  true,
		inherit:   []descriptor{{uintptr(theirs.FD()), watchdogFD}},
		closeFrom: watchdogFD + 1,
	})
	if err != nil {
		ours.Close()
		return nil, watchdogError(err)
	}
	return &launcher{conn: ours, pid: pid}, nil
}

func watchdogError(err error) error {
	var start *fault.Error
	if errors.As(err, &start) {
		return &fault.Error{Object: "watchdog", Problem: "cannot be started from /proc/self/exe", Err: start.Err, Hint: "mount /proc"}
	}
	return &fault.Error{Object: "watchdog", Problem: "cannot be started", Err: err}
}

// fillStdio gives what runs in the background no descriptor of the caller's:
// /dev/null is the input, and the output where no file and no journal is. The
// caller closes the descriptor when the program is launched.
func (s *surroundings) fillStdio() (devNull int, err error) {
	devNull, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", os.DevNull, err)
	}
	s.stdio[0] = devNull
	for fd := 1; fd <= 2; fd++ {
		if s.stdio[fd] == asIs && !sdnotify.IsJournal(fd) {
			s.stdio[fd] = devNull
		}
	}
	return devNull, nil
}

// entrust gives the watchdog the program and waits until it is watching.
func (w *launcher) entrust(c word, limit time.Duration, fds ...int) error {
	c.Kind, c.Supervisor = charge, w.supervisor != nil
	c.Dir, _ = os.Getwd()
	if w.supervisor != nil {
		fds = append(fds, w.supervisor.FD())
	}
	if err := w.conn.Send(c, fds...); err != nil {
		return errNoWatchdog
	}
	if limit > 0 {
		timer := time.AfterFunc(limit, func() { _ = unix.Shutdown(w.conn.FD(), unix.SHUT_RD) })
		defer timer.Stop()
	}
	var answer word
	switch _, err := w.conn.Receive(&answer); {
	case err != nil:
		return errNoWatchdog
	case answer.Kind == failure:
		return errors.New("watchdog: " + answer.Error)
	}
	return nil
}

// leave makes the watchdog the only one in charge.
func (w *launcher) leave() error { return w.conn.Send(word{Kind: yours}) }

// dismissLimit is how long the watchdog may take to go.
const dismissLimit = 5 * time.Second

// dismiss sends the watchdog away and waits until it is gone.
func (w *launcher) dismiss() {
	if w == nil {
		return
	}
	_ = w.conn.Send(word{Kind: back})
	// It answers at once, unless somebody has stopped it.
	w.conn.SetLimit(dismissLimit)
	var answer word
	for err := error(nil); err == nil; {
		_, err = w.conn.Receive(&answer)
	}
	w.conn.Close()
	if w.supervisor != nil {
		_, _ = w.supervisor.Remove()
	}
}

// handOver leaves the program to the watchdog, if it is still there: a program
// that ends right after this process would keep systemd waiting for a file.
func (l *loop) handOver() {
	err := l.entrust()
	if err == nil && l.hasEnded() {
		return // the loop will hear of it
	}
	if err == nil && l.launcher != nil {
		err = l.launcher.leave()
	}
	if err != nil {
		l.whyNot = err
		l.queue = append(l.queue, event{kind: unready})
		return
	}
	l.queue = append(l.queue, event{kind: handedOver})
}

func (l *loop) entrust() error {
	if l.launcher == nil {
		return nil // there is no PID file to watch
	}
	fd, err := unix.PidfdOpen(l.pid, 0)
	if err != nil {
		return pidfdError(err)
	}
	defer unix.Close(fd)
	c, fds := word{PID: l.pid, Group: l.pgrp, Unlocked: l.file.Unlocked()}, []int{fd, l.file.FD()}
	if l.reservation != nil {
		c.Reserved, fds = true, append(fds, l.reservation.FD())
	}
	return l.launcher.entrust(c, l.cfg.StartLimit, fds...)
}

// hasEnded looks at the program without waiting for it.
func (l *loop) hasEnded() bool {
	if n := l.neighbour; n != nil {
		return n.Dead()
	}
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, l.pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil || info.Signo != 0
}

// failedStart is why the program did not come up: nil if it did, or if the way in
// which it has ended says all.
func (l *loop) failedStart() error {
	m := &l.machine
	e := &fault.Error{Object: l.cfg.Args[0], Code: fault.Failed}
	switch {
	case l.failed != nil:
		return l.failed
	case l.whyNot != nil:
		e.Problem = l.whyNot.Error()
		var file *fault.Error
		if errors.As(l.whyNot, &file) {
			e.Hint = file.Hint
		}
		if l.orphan != nil && l.file == nil {
			e.Code = codeOf(*l.orphan)
		}
	case l.cfg.Way != plan.Daemon && l.behind == nil || m.up:
		return nil
	case m.byRemoval:
		e.Problem = "stopped before it was up: " + l.reason
	default:
		e.Problem = plan.Describe(m.status) + " before it was up"
		e.Code = codeOf(m.status)
	}
	e.Problem += l.lastWords()
	return e
}

// codeOf is the code for a program that ended before it was up: its own, unless that
// would say that all is well.
func codeOf(status syscall.WaitStatus) int {
	if code := plan.ExitCode(status); code != 0 {
		return code
	}
	return fault.Failed
}

// lastWords is what the program has written to the logs that were named, as the
// end of a message.
func (l *loop) lastWords() string {
	var text strings.Builder
	for _, log := range l.logs {
		if words := log.lastWords(); words != "" {
			fmt.Fprintf(&text, "; %s: %s", log.path, words)
		}
	}
	return text.String()
}
