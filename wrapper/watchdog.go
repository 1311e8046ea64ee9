package wrapper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/daemon"
	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
)

// earlyEnd is how long after its start an end of the program may have come before
// the service manager could look at it.
const earlyEnd = time.Second

// surveyInterval is the time between two looks at what is left of the program's
// group.
const surveyInterval = 100 * time.Millisecond

// earlyStay is how long the watchdog then stands in for it. systemd reads the PID
// file when it hears of it: a program that is gone by then keeps "systemctl start"
// waiting for its whole time limit.
const earlyStay = 250 * time.Millisecond

// RunWatchdog looks after the program that the launcher has started, until that
// has ended. The error is for the log only, unless the launcher is still there to
// hear it.
func RunWatchdog(cfg *Config, signals *Signals) (plan.Outcome, error) {
	surviveEnding()
	conn, err := daemon.Attach(watchdogFD)
	if err != nil {
		return plan.Outcome{}, err
	}
	nameItself()
	var c word
	fds, err := conn.Receive(&c)
	if errors.Is(err, io.EOF) || c.Kind == back {
		return plan.Outcome{}, nil
	}
	if err != nil || c.Kind != charge {
		return plan.Outcome{}, errors.Join(errors.New("watchdog: the launcher is not understood"), err)
	}
	signals.prepare(cfg)
	w, err := newWatchdog(cfg, signals, &c, fds)
	if err != nil {
		_ = conn.Send(word{Kind: failure, Error: err.Error()})
		return plan.Outcome{}, err
	}
	return w.run(conn)
}

// nameItself keeps the process from being called "exe", proc_pid_comm(5).
func nameItself() { _ = os.WriteFile("/proc/self/comm", []byte("pidleash"), 0) }

// watchdog is a loop around a neighbour.
type watchdog struct {
	*loop
	since time.Time // when it was left alone
	sole  bool      // the launcher has left
	words chan wordKind
	// standsIn: the program ended so early that the service manager may take this
	// process for it.
	standsIn bool
}

// surviveEnding ignores what is meant for the program or for everybody in the
// unit: the file is removed when the program has ended, not before.
func surviveEnding() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGXCPU, syscall.SIGSYS, syscall.SIGTRAP)
}

func newWatchdog(cfg *Config, signals *Signals, c *word, fds []int) (*watchdog, error) {
	next := func() int {
		if len(fds) == 0 {
			return -1
		}
		fd := fds[0]
		fds = fds[1:]
		return fd
	}
	l := newLoop(cfg, signals)
	l.machine.background = false
	l.beside, l.pid, l.pgrp = true, c.PID, c.Group
	l.neighbour = newNeighbour(c.PID, next(), c.Group)
	var err error
	if l.file, err = pidfile.Inherit(cfg.PIDFile, c.PID, next(), c.Unlocked); err != nil {
		return nil, err
	}
	if c.Reserved {
		if l.reservation, err = pidfile.InheritReservation(cfg.PIDFile, next()); err != nil {
			return nil, err
		}
	}
	if c.Supervisor {
		if l.supervisor, err = pidfile.Inherit(cfg.Supervisor, os.Getpid(), next(), false); err != nil {
			return nil, err
		}
	}
	if cfg.Dir == "" {
		cfg.Dir, cfg.dirAsFound = c.Dir, true // for the stop command
	}
	// So that no file system is kept from being unmounted.
	return &watchdog{loop: l}, unix.Chdir("/")
}

// run returns when the program has ended, or when the launcher takes it back.
func (w *watchdog) run(conn *daemon.Conn) (plan.Outcome, error) {
	w.happen(event{kind: taken})
	if err := conn.Send(word{Kind: watching}); err != nil {
		return plan.Outcome{}, nil // the launcher is gone, and so is the start
	}
	w.words = make(chan wordKind)
	go listen(conn, w.words)
	surveys := time.NewTicker(surveyInterval)
	defer surveys.Stop()
	for !w.ended {
		select {
		case <-surveys.C:
			// The program's group is nobody's child here: no end of it is reported.
			if w.machine.state == sweeping {
				w.happen(w.survey())
			}
		case kind := <-w.words:
			if kind == back {
				return plan.Outcome{}, nil
			}
			w.heed(kind)
		case <-w.neighbour.ends():
			if w.decided() == back {
				return plan.Outcome{}, nil
			}
			w.programEnded()
		case <-w.children.ends():
			w.reap()
		case <-w.hints:
			w.happen(w.look())
		case <-w.followHints:
			w.happen(w.look())
		case <-w.again:
			w.happen(w.look())
		case <-w.timer.C:
			w.happen(event{kind: ticked})
		}
	}
	w.release()
	if w.standsIn {
		return (&plan.Plan{}).OutcomeOf(w.machine.status, false), nil
	}
	return plan.Outcome{}, nil
}

// heed takes what the launcher says. Its end without a word is the end of the
// start.
func (w *watchdog) heed(kind wordKind) {
	switch {
	case kind == yours:
		w.sole, w.since = true, time.Now()
	case !w.sole:
		w.words = nil
		w.cfg.Log.Warn(fmt.Sprintf("the start was broken off, stopping PID %d", w.pid))
		w.happen(event{kind: unready})
	default:
		w.words = nil
	}
}

// decided is what the launcher says last: it may be about to report that the
// program has not come up.
func (w *watchdog) decided() wordKind {
	if w.sole || w.words == nil || w.cfg.Way != plan.Daemon {
		return ""
	}
	kind := <-w.words
	if kind == yours {
		w.sole, w.since = true, time.Now()
	}
	return kind
}

// programEnded takes the program's end. What it was is known only when its parent
// has waited for it, which may take a while.
func (w *watchdog) programEnded() {
	pid, n := w.pid, w.neighbour
	n.ended = nil // once
	if w.hasSuccessor() {
		return
	}
	if w.cfg.Way == plan.Daemon && w.sole && !w.machine.byRemoval && time.Since(w.since) < earlyEnd {
		w.standIn()
	}
	w.pid = 0
	if !w.standsIn {
		w.happen(event{kind: exited})
		if w.ended {
			w.release()
		}
	}
	status, known := n.status()
	switch {
	case !known:
		w.cfg.Log.Info(fmt.Sprintf("PID %d has ended, nobody tells how: the kernel does since Linux 6.15", pid))
		status = fault.Failed << 8
	case plan.IsClean(status) || w.machine.byRemoval:
		w.cfg.Log.Info(fmt.Sprintf("PID %d %s", pid, plan.Describe(status)))
	default:
		w.cfg.Log.Warn(fmt.Sprintf("PID %d %s", pid, plan.Describe(status)))
	}
	if w.standsIn {
		time.Sleep(earlyStay)
		w.happen(event{kind: exited, status: status})
	}
}

// standIn has the PID file name this process for a moment, which then ends as the
// program did.
func (w *watchdog) standIn() {
	if state, err := w.file.Look(); err != nil || state != pidfile.Present {
		return
	}
	if err := w.file.Replace(os.Getpid()); err != nil {
		w.cfg.Log.Warn(err.Error())
		return
	}
	w.standsIn = true
}

// listen passes on what the launcher says, at last its end.
func listen(conn *daemon.Conn, words chan<- wordKind) {
	for {
		var said word
		if _, err := conn.Receive(&said); err != nil {
			words <- ""
			return
		}
		words <- said.Kind
	}
}
