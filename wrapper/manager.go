package wrapper

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/internal/sdnotify"
)

// manager is the service manager, sd_notify(3), as far as pidleash talks to it.
type manager struct {
	relay    *sdnotify.Relay // nil: there is nobody to notify
	env      []string        // the program's environment, with the relay's address
	interval time.Duration   // between two pings; 0: the service manager wants none
	ticker   *time.Ticker    // pings while no program runs; nil: the program pings
	reason   string          // why pidleash has stopped the program, if it has
	log      hclog.Logger
}

// newManager puts a relay between the program and the service manager. Without NOTIFY_SOCKET, or with a
// program that is not the keeper's child, only -ready notify needs one.
func newManager(p *plan.Plan, log hclog.Logger, r *role) (*manager, error) {
	m := &manager{env: p.Env, log: log}
	asked := p.Ready.Kind == plan.ReadyNotify
	i, address := sdnotify.Variable(p.Env, "NOTIFY_SOCKET")
	if !asked && (!r.isParent || address == "") {
		return m, nil
	}
	users := []int{os.Geteuid()}
	if p.User != nil {
		users = append(users, int(p.User.UID))
	}
	relay, err := sdnotify.NewRelay(address, users...)
	switch {
	case err != nil && asked:
		return nil, &fault.Error{Object: "option -ready notify", Problem: err.Error()}
	case err != nil:
		log.Warn(fmt.Sprintf("NOTIFY_SOCKET: the program's messages cannot be relayed: %v", err))
		return m, nil
	}
	relay.OwnReady = p.Ready.Given && !asked
	m.relay, m.interval = relay, sdnotify.PingInterval(p.Env)
	m.env = slices.Clone(p.Env)
	if i < 0 {
		i, m.env = len(m.env), append(m.env, "")
	}
	m.env[i] = "NOTIFY_SOCKET=" + relay.Address()
	return m, nil
}

// started ends pidleash's own pings and relays the new program.
func (m *manager) started(pid, launches int, conditional bool) {
	if m.ticker != nil {
		m.ticker.Stop()
		m.ticker = nil
	}
	if m.relay == nil {
		return
	}
	m.relay.Start(pid)
	if launches > 1 {
		m.status(fmt.Sprintf("Restarted as PID %d, %d times so far", pid, launches-1))
	} else if conditional {
		m.status("")
	}
}

// ready delivers when the program has sent READY=1; nil: there is no relay.
func (m *manager) ready() <-chan error {
	if m.relay == nil {
		return nil
	}
	return m.relay.Ready()
}

// forgetReady drops a READY=1 of an earlier run.
func (m *manager) forgetReady() {
	if m.relay != nil {
		m.relay.ForgetReady()
	}
}

// reportReady sends READY=1 for a program whose own READY=1 does not count.
func (m *manager) reportReady() {
	if m.relay != nil && m.relay.OwnReady {
		m.relay.Send("READY=1")
	}
}

// idle pings while no program runs: otherwise the service manager would end pidleash as hung,
// sd_watchdog_enabled(3).
func (m *manager) idle() {
	if m.relay == nil || m.ticker != nil || m.interval == 0 {
		return
	}
	m.ping()
	m.ticker = time.NewTicker(m.interval)
}

// pings delivers when the next ping is due; nil: the program pings.
func (m *manager) pings() <-chan time.Time {
	if m.ticker == nil {
		return nil
	}
	return m.ticker.C
}

func (m *manager) ping() { m.relay.Send("WATCHDOG=1") }

// status sends a text for people, which "systemctl status" shows.
func (m *manager) status(text string) {
	if m.relay != nil {
		m.relay.Send("STATUS=" + text)
	}
}

// stopping reports why the program is being stopped.
func (m *manager) stopping(reason string) {
	m.reason = reason
	m.status("Stopping: " + reason)
}

// drainLimit is how long the service manager may take to read the program's last messages; systemd-notify(1)
// waits as long.
const drainLimit = 5 * time.Second

// end relays the program's last messages. The reason for a stop comes last, so that it stays visible.
func (m *manager) end(launched bool) {
	if m.relay != nil && launched && !m.relay.Drain(drainLimit) {
		m.log.Warn("NOTIFY_SOCKET: the service manager does not read, the program's last messages are lost")
	}
	if m.reason != "" {
		m.status("Stopped: " + m.reason)
	}
}
