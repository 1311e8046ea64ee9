package machine

import (
	"time"

	"pidleash/internal/plan"
)

// restart stops the program to start it again, or cuts a delay short.
func restart(m *Machine, _ Event) {
	switch {
	case m.state == Answering: // the caller may have left, and whoever asks may have waited for that
		m.wish(again)
	case m.want >= finish || m.runs == 0 || m.waits:
		// The program is ending, or is just being started.
	case m.state == Waiting:
		m.delay, m.due = 0, m.now
		launchIfDue(m)
	default:
		m.wish(again)
		stopProgram(m)
	}
}

func launchIfDue(m *Machine) {
	if m.mayLaunch() && m.reached(m.due) {
		m.enter(Launching)
		m.began = m.now
		m.do(Launch)
	}
}

// mayLaunch reports whether only the delay is left: every condition holds, and the PID file is not in doubt.
func (m *Machine) mayLaunch() bool {
	return m.conditions.since.IsZero() && m.watch.doubt.due.IsZero()
}

// wantsRestart reports whether the program should be started again after this end, regardless of the limit.
func (m *Machine) wantsRestart() bool {
	policy := m.plan.Restart.Policy
	switch {
	case m.want >= finish || m.runs == 0 || m.waits:
		return false
	case m.want == again || policy == plan.RestartAlways:
		return true
	}
	return policy == plan.RestartOnFailure && (m.result.Err != nil || !m.plan.Succeeds(m.result.Status))
}

// withinLimit reports whether a restart is left, and counts it. Those by -restart-signal do not count.
func (m *Machine) withinLimit() bool {
	limit := m.plan.Restart.Limit
	if m.want == again || limit == 0 {
		return true
	}
	for len(m.recent) > 0 && m.now.Sub(m.recent[0]) >= m.plan.Restart.Window {
		m.recent = m.recent[1:]
	}
	if len(m.recent) >= limit {
		return false
	}
	m.recent = append(m.recent, m.now)
	return true
}

func pause(m *Machine) {
	report := Action{Do: Report, Topic: Restarting, Wait: nextDelay(m), Ran: m.state != Launching}
	report.Status, report.Err = m.result.Status, m.result.Err
	m.enter(Waiting)
	m.wait(report.Wait)
	m.want, m.startBy, m.stop = keep, time.Time{}, stop{}
	m.do(Placeholder)
	watchFile(m)
	m.act(report)
}

// nextDelay returns the delay before the next start, and doubles the one after it.
func nextDelay(m *Machine) time.Duration {
	first := m.plan.Restart.Delay
	if m.want == again {
		m.delay = 0
		return 0
	}
	// A run that failed to come up does not reset the delay, however long it lasted.
	if m.delay == 0 || m.result.Err == nil && m.now.Sub(m.began) >= health {
		m.delay = first
	}
	wait := m.delay
	m.delay = min(wait+min(wait, longest-wait), max(delayLimit, first))
	// Jitter: programs that failed together should not start again together.
	return wait + min(time.Duration(m.jitter()*float64(wait/10)), longest-wait)
}

// longest is the longest time.Duration.
const longest = time.Duration(1<<63 - 1)

// keepPlace replaces the program's PID in a file that stays, before the program is reaped: after that its PID may be
// another process's.
func keepPlace(m *Machine, _ Event) {
	restarts := m.want == again || m.plan.Restart.Policy != plan.RestartNo && m.want < finish
	if m.hasFile() && !m.waits && (restarts || m.plan.WaitAll && m.want < remove) {
		m.do(Placeholder)
	}
}
