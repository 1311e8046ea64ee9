package wrapper

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"pidleash/internal/plan"
	"pidleash/internal/sdnotify"
)

// openRelay puts a relay between the program and the service manager, if there
// is one to notify, sd_notify(3). A program without NOTIFY_SOCKET pays nothing. In
// the background the program is the service manager's own, and only its readiness
// may be of interest here.
func (l *loop) openRelay() error {
	asked := l.cfg.Ready.Kind == plan.ReadyNotify
	if l.cfg.Way != plan.Foreground && !asked {
		return nil
	}
	i, manager := findVariable(l.cfg.Env, "NOTIFY_SOCKET")
	if manager == "" && !asked {
		return nil
	}
	users := []int{os.Geteuid()}
	if l.cfg.User != nil {
		users = append(users, int(l.cfg.User.UID))
	}
	relay, err := sdnotify.NewRelay(manager, users...)
	switch {
	case err != nil && asked:
		return fmt.Errorf("option -ready notify: %w", err)
	case err != nil:
		l.cfg.Log.Warn(fmt.Sprintf("NOTIFY_SOCKET: the program's messages cannot be relayed: %v", err))
		return nil
	}
	relay.OwnReady = l.cfg.Ready.Given && !asked
	l.relay = relay
	l.cfg.Env = slices.Clone(l.cfg.Env)
	if i < 0 {
		i, l.cfg.Env = len(l.cfg.Env), append(l.cfg.Env, "")
	}
	l.cfg.Env[i] = "NOTIFY_SOCKET=" + relay.Address()
	return nil
}

// findVariable returns the place and the value of a variable; -1: it is not set.
func findVariable(env []string, name string) (i int, value string) {
	i = slices.IndexFunc(env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if i >= 0 {
		value = env[i][len(name)+1:]
	}
	return i, value
}

// tellReady tells the service manager that the program is up, which the program
// has not done itself.
func (l *loop) tellReady() {
	if l.relay != nil && l.relay.OwnReady {
		l.relay.Send("READY=1")
	}
}

// drainLimit is how long the service manager may take to read the program's last
// words; systemd-notify(1) waits as long. It reads at once, unless it is stuck.
const drainLimit = 5 * time.Second

// endRelay passes on the program's last words. A reason to have stopped it comes
// after them, so that it is what stays.
func (l *loop) endRelay() {
	leaves := l.cfg.Way == plan.Daemon && l.machine.up
	if l.relay != nil && l.machine.runs > 0 && !leaves && !l.relay.Drain(drainLimit) {
		l.cfg.Log.Warn("NOTIFY_SOCKET: the service manager does not read, the program's last messages are lost")
	}
	l.tellStatus("Stopped")
}

// tellStatus tells people why the program is stopped.
func (l *loop) tellStatus(what string) {
	if l.reason != "" {
		l.status(what + ": " + l.reason)
	}
}

// status is shown to people, by "systemctl status" for example.
func (l *loop) status(text string) {
	if l.relay != nil {
		l.relay.Send("STATUS=" + text)
	}
}

// startPings speaks for a program that does not run: the service manager would take
// its silence for a hang, and end pidleash; sd_watchdog_enabled(3).
func (l *loop) startPings() {
	if l.relay == nil || l.keepAlive != nil {
		return
	}
	_, value := findVariable(l.cfg.Env, "WATCHDOG_USEC")
	usec, err := strconv.ParseInt(value, 10, 64)
	if err != nil || usec < 2 {
		return
	}
	l.relay.Send("WATCHDOG=1")
	l.keepAlive = time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
}

func (l *loop) stopPings() {
	if l.keepAlive != nil {
		l.keepAlive.Stop()
		l.keepAlive = nil
	}
}

// pings tells when the service manager has to hear of pidleash.
func (l *loop) pings() <-chan time.Time {
	if l.keepAlive == nil {
		return nil
	}
	return l.keepAlive.C
}
