package wrapper

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"pidleash/internal/sdnotify"
)

// openRelay puts a relay between the program and the service manager, if there
// is one to notify, sd_notify(3). A program without NOTIFY_SOCKET pays nothing.
func (l *loop) openRelay() {
	const name = "NOTIFY_SOCKET="
	i := slices.IndexFunc(l.cfg.Env, func(entry string) bool { return strings.HasPrefix(entry, name) })
	if i < 0 || l.cfg.Env[i] == name {
		return
	}
	relay, err := sdnotify.NewRelay(l.cfg.Env[i][len(name):], os.Geteuid())
	if err != nil {
		l.cfg.Log.Warn(fmt.Sprintf("NOTIFY_SOCKET: the program's messages cannot be relayed: %v", err))
		return
	}
	l.relay = relay
	l.cfg.Env = slices.Clone(l.cfg.Env)
	l.cfg.Env[i] = name + relay.Address()
}

// drainLimit is how long the service manager may take to read the program's last
// words; systemd-notify(1) waits as long. It reads at once, unless it is stuck.
const drainLimit = 5 * time.Second

// endRelay passes on the program's last words. A reason to have stopped it comes
// after them, so that it is what stays.
func (l *loop) endRelay() {
	if l.relay != nil && !l.relay.Drain(drainLimit) {
		l.cfg.Log.Warn("NOTIFY_SOCKET: the service manager does not read, the program's last messages are lost")
	}
	l.tellStatus("Stopped")
}

// tellStatus tells people why the program is stopped.
func (l *loop) tellStatus(what string) {
	if l.relay != nil && l.reason != "" {
		l.relay.Send("STATUS=" + what + ": " + l.reason)
	}
}
