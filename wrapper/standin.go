package wrapper

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
)

// What the loop does while no program runs, and says about it.

// tellWaiting tells that the program is not started yet.
func (l *loop) tellWaiting() {
	l.cfg.Log.Info("waiting for " + l.missing())
	l.status("Waiting for " + l.missing())
}

// tellRestart tells why the program is started again.
func (l *loop) tellRestart(wait time.Duration) {
	why := l.cfg.Args[0] + " " + plan.Describe(l.machine.status)
	if l.failed != nil {
		why = l.failed.Error()
	} else if l.whyNot != nil {
		why = l.cfg.Args[0] + " " + l.whyNot.Error()
	}
	l.restarts++
	text := fmt.Sprintf("%s, restarting in %v", why, wait.Round(time.Millisecond))
	level := hclog.Info
	if wait > 0 && (l.failed != nil || l.whyNot != nil || !l.machine.isSuccess()) {
		level = hclog.Warn // without a delay nobody wants to read of each
	}
	l.cfg.Log.Log(level, text)
	l.status(text)
}

// tellStarted tells that a restart has come about.
func (l *loop) tellStarted() {
	if l.restarts > 0 {
		l.status(fmt.Sprintf("Restarted as PID %d, %d times so far", l.pid, l.restarts))
	} else if l.gates != nil {
		l.status("")
	}
}

// sayShut tells that the program is stopped for a file that is gone.
func (l *loop) sayShut() {
	l.reason = l.whatIsShut()
	l.tellStatus("Stopping")
	if l.pid == 0 {
		l.cfg.Log.Warn(l.reason + ", not starting again")
		return
	}
	l.cfg.Log.Warn(fmt.Sprintf("%s, stopping PID %d", l.reason, l.pid))
}

// standIn has the PID file name this process while there is no program, so that
// whoever reads it finds somebody, and to remove it means to stop.
func (l *loop) standIn() {
	l.startPings()
	l.watchOrphans()
	if l.file == nil && l.machine.runs == 0 {
		if l.failed = l.publishOwn(); l.failed != nil {
			l.queue = append(l.queue, event{kind: failed})
		}
		return
	}
	if l.file == nil || l.standing {
		return
	}
	err := l.file.Restore(os.Getpid())
	switch {
	case err == nil:
		l.standing = true
	case errors.Is(err, pidfile.ErrRemoved) || errors.Is(err, pidfile.ErrLostRace): // as a look will show
	default:
		l.cfg.Log.Warn(err.Error())
	}
	l.renewWatch()
}

// publishOwn claims the PID file before there is a program.
func (l *loop) publishOwn() error {
	if l.cfg.PIDFile != "" {
		err := pidfile.ErrLostRace
		for errors.Is(err, pidfile.ErrLostRace) {
			var claim *pidfile.Claim
			if claim, err = l.claim(); err == nil {
				l.file, err = claim.Publish(os.Getpid())
			}
		}
		if err != nil {
			return err
		}
		l.standing = true
	}
	return l.superviseFrom(nil)
}

// standInEarly comes before a program that has ended is waited for: then its PID may
// be another process's.
func (l *loop) standInEarly() {
	m := &l.machine
	if l.file == nil || l.pid == 0 || m.ending || m.byRemoval || !m.again && l.cfg.Restart.Policy == plan.RestartNo {
		return
	}
	if l.hasEnded() {
		l.standIn()
	}
}

// codeOfStart is the exit code for a program that could not be started.
func codeOfStart(err error) syscall.WaitStatus {
	var start *fault.Error
	if errors.As(err, &start) {
		return syscall.WaitStatus(start.Code)
	}
	return fault.Failed
}
