package wrapper

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/daemon"
	"pidleash/internal/fault"
	"pidleash/internal/plan"
)

// A program that is to be started more than once needs pidleash as its parent. With
// -daemon that parent is a second start of this binary, as a watchdog is, which does
// the whole work:
//
//	launcher          supervisor
//	start          →
//	supervise      →  claims, launches, waits
//	               ←  up, or failed: why, and with which code to end
//
// When the launcher ends without an answer, the supervisor stops the program and
// ends.

// supervisor is the supervisor's end; nil: pidleash is in the foreground.
type supervisor struct {
	conn     *daemon.Conn
	gone     chan struct{} // closed when the launcher has ended
	reported time.Time     // when the program was up; zero: it was not yet
}

// runLauncher starts the supervisor and returns when the program is up.
func runLauncher(cfg *Config, signals *Signals) (plan.Outcome, error) {
	opened, err := cfg.open() // so that mistakes show here
	if err != nil {
		return plan.Outcome{}, err
	}
	w, err := launchWatchdog(cfg, signals, opened)
	opened.close()
	if err != nil {
		return plan.Outcome{}, err
	}
	signals.prepare(cfg)
	c := word{Kind: supervise}
	c.Dir, _ = os.Getwd()
	if err := w.conn.Send(c); err != nil {
		return plan.Outcome{}, errNoWatchdog
	}
	answers := make(chan word, 1)
	go func() {
		var answer word
		if _, err := w.conn.Receive(&answer); err != nil {
			answer = word{Kind: failure, Error: errNoWatchdog.Error(), Code: fault.Failed}
		}
		answers <- answer
	}()
	return awaitSupervisor(w.conn, signals, answers)
}

func awaitSupervisor(conn *daemon.Conn, signals *Signals, answers <-chan word) (plan.Outcome, error) {
	var told syscall.Signal
	for {
		var got os.Signal
		select {
		case answer := <-answers:
			if answer.Kind != failure {
				return plan.Outcome{}, nil
			}
			if told == 0 {
				told = signals.late()
			}
			if told != 0 {
				return plan.BySignal(told), nil
			}
			return plan.Outcome{}, &fault.Error{Problem: answer.Error, Hint: answer.Hint, Code: answer.Code}
		case got = <-signals.caught:
		case got = <-signals.forward:
		case got = <-signals.groupwide:
		}
		switch sig := got.(syscall.Signal); sig {
		case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP:
			told = sig
			_ = unix.Shutdown(conn.FD(), unix.SHUT_WR) // what it sees is our end
		}
	}
}

// RunSupervisor does what Run does, in the background.
func RunSupervisor(cfg *Config, signals *Signals) (plan.Outcome, error) {
	conn, err := daemon.Attach(watchdogFD)
	if err != nil {
		return plan.Outcome{}, err
	}
	var c word
	if _, err := conn.Receive(&c); err != nil || c.Kind != supervise {
		return plan.Outcome{}, errors.Join(errors.New("supervisor: the launcher is not understood"), err)
	}
	nameItself()
	child := *cfg
	child.Way = plan.Foreground
	if child.Dir == "" {
		child.Dir, child.dirAsFound = c.Dir, true // for the program
	}
	if err := unix.Chdir("/"); err != nil { // so that no file system is kept from being unmounted
		return plan.Outcome{}, err
	}
	l := newLoop(&child, signals)
	l.machine.mustComeUp = true
	l.behind = &supervisor{conn: conn, gone: make(chan struct{})}
	go func() {
		_, _ = conn.Receive(&c) // nothing more is said
		close(l.behind.gone)
	}()
	if l.program, err = findProgram(child.Args[0], &child); err == nil {
		err = l.perform()
	}
	l.behind.stay()
	outcome, err := l.end(err)
	if !l.machine.up && l.behind.reportFailure(&child, outcome, err) {
		return outcome, nil
	}
	return outcome, err
}

// launcherGone tells of its end while it waits.
func (s *supervisor) launcherGone() <-chan struct{} {
	if s == nil || !s.reported.IsZero() {
		return nil
	}
	return s.gone
}

// abandon ends a start for which nobody waits any more.
func (l *loop) abandon() {
	l.behind.gone = nil // once
	l.cfg.Log.Warn("the start was broken off")
	l.happen(event{kind: unready})
}

// reportUp tells the launcher that the program is up, unless that has ended
// meanwhile: the loop will hear of it.
func (l *loop) reportUp() {
	if l.hasEnded() {
		return
	}
	l.behind.reported = time.Now()
	_ = l.behind.conn.Send(word{Kind: up})
	l.queue = append(l.queue, event{kind: reported})
}

// stay keeps the file of this process's PID for a moment if all has ended right
// after it was up, see earlyStay.
func (s *supervisor) stay() {
	if !s.reported.IsZero() && time.Since(s.reported) < earlyEnd {
		time.Sleep(earlyStay)
	}
}

// reportFailure returns true when the launcher will tell of it.
func (s *supervisor) reportFailure(cfg *Config, outcome plan.Outcome, err error) bool {
	answer := word{Kind: failure, Code: outcome.Code}
	if err == nil {
		err = fmt.Errorf("%s: stopped before it was up", cfg.Args[0])
	} else {
		answer.Hint, answer.Code = fault.Hint(err), fault.Code(err)
	}
	answer.Error = err.Error()
	return s.conn.Send(answer) == nil
}
