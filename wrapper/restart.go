package wrapper

import (
	"pidleash/internal/plan"
	"syscall"
	"time"
)

const (
	// restartDelayLimit is the longest delay, unless the first one is longer.
	restartDelayLimit = 30 * time.Second
	// health is how long a run takes to show that the program is well: the delay
	// is the first one again.
	health = time.Minute
)

// begin waits for the -while files, if one is missing.
func (m *machine) begin(now time.Time, e event) []action {
	if !m.shut {
		return m.spawn(now, e)
	}
	m.state = waiting
	if m.whileLimit > 0 {
		m.startBy = now.Add(m.whileLimit)
	}
	return append(append([]action{{kind: standIn}}, m.watch()...), action{kind: tellWaiting})
}

// endWaiting is for signals: nobody is there to have them, and those that end a
// program end pidleash.
func (m *machine) endWaiting(now time.Time, e event) []action {
	if to, rewritten := m.rewrite[e.signal]; rewritten && to == 0 {
		return nil
	}
	switch e.signal {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP:
		m.ending, m.endedBy = true, e.signal
		return m.close(now, e)
	}
	return nil
}

// breakOff ends when nobody wants the program any more.
func (m *machine) breakOff(now time.Time, e event) []action {
	m.ending = true
	return m.close(now, e)
}

// open takes that every -while file is there.
func (m *machine) open(now time.Time, e event) []action {
	m.shut, m.shutAt = false, time.Time{}
	if m.state != waiting {
		return nil
	}
	m.startBy = time.Time{}
	if m.runs == 0 {
		m.spawnAt = now
	}
	return m.spawnIfDue(now, e)
}

// shutDown takes that a -while file is missing, which stops the program for good when it
// lasts as long as the removal of the PID file must.
func (m *machine) shutDown(now time.Time, _ event) []action {
	m.shut = true
	if m.runs == 0 || !m.goesOn() {
		m.shutAt = time.Time{}
		return nil
	}
	if m.shutAt.IsZero() {
		m.shutAt = now.Add(m.settle)
	}
	if now.Before(m.shutAt) {
		return nil
	}
	return m.stopForGood(now, action{kind: sayShut})
}

// goesOn reports that nothing has happened yet that leads to the end.
func (m *machine) goesOn() bool { return m.state == waiting || m.state == running || m.wantsRestart() }

// stopForGood is for a file that is gone. The signal comes before the words.
func (m *machine) stopForGood(now time.Time, words action) []action {
	m.byRemoval, m.again, m.shutAt = true, false, time.Time{}
	var actions []action
	switch m.state {
	case waiting:
		m.status = 0 // no program was stopped
		return append([]action{words}, m.close(now, event{})...)
	case running:
		actions = m.stopProgram(now)
	}
	return append(append(actions, words), m.unwatch()...)
}

// restartNow stops the program in order to start it again, or does not wait any longer.
func (m *machine) restartNow(now time.Time, _ event) []action {
	if m.ending || m.runs == 0 || m.mustComeUp && !m.up {
		return nil // it comes to its end, or is just being started
	}
	m.delay = 0
	if m.state == waiting {
		m.spawnAt = now
		return m.spawnIfDue(now, event{})
	}
	m.again, m.startBy = true, time.Time{}
	return m.stopProgram(now)
}

// spawnIfDue starts the program when nothing is to be waited for any more.
func (m *machine) spawnIfDue(now time.Time, e event) []action {
	if !m.maySpawn() || now.Before(m.spawnAt) {
		return nil
	}
	return m.spawn(now, e)
}

// maySpawn reports that only time is between now and the next start: every -while
// file is there, and the PID file is not suspected to be gone.
func (m *machine) maySpawn() bool { return !m.shut && m.confirmAt.IsZero() }

// tickWaiting goes on when a time has come.
func (m *machine) tickWaiting(now time.Time, e event) []action {
	if m.late(now) {
		m.gaveUp = true
		return append([]action{{kind: sayLate}}, m.close(now, e)...)
	}
	if actions := m.confirmAll(now); actions != nil {
		return actions
	}
	return m.spawnIfDue(now, e)
}

// vanish ends a start that has found no PID file to replace: a removal.
func (m *machine) vanish(now time.Time, _ event) []action {
	m.state = waiting
	return m.stopForGood(now, action{kind: say, sight: removed, stop: true})
}

// wantsRestart reports that the program has to be started again after this end, if
// that has not been done too often.
func (m *machine) wantsRestart() bool {
	switch {
	case m.ending || m.byRemoval || m.runs == 0 || m.mustComeUp && !m.up:
		return false
	case m.again || m.restart.Policy == plan.RestartAlways:
		return true
	}
	return m.restart.Policy == plan.RestartOnFailure && (m.gaveUp || !m.isSuccess())
}

func (m *machine) isSuccess() bool {
	code := plan.ExitCode(m.status)
	return plan.IsClean(m.status) || code >= 0 && m.success[code]
}

// restarts decides about a restart. Those that somebody has asked for do not count.
func (m *machine) restarts(now time.Time) bool {
	if !m.wantsRestart() {
		return false
	}
	if m.again || m.restart.Limit == 0 {
		return true
	}
	for len(m.recent) > 0 && now.Sub(m.recent[0]) >= m.restart.Window {
		m.recent = m.recent[1:]
	}
	m.atLimit = len(m.recent) >= m.restart.Limit
	if !m.atLimit {
		m.recent = append(m.recent, now)
	}
	return !m.atLimit
}

// pause waits before the next start.
func (m *machine) pause(now time.Time) []action {
	// A run that has not come up in time was not well, however long it was.
	if m.delay == 0 || !m.gaveUp && now.Sub(m.started) >= health {
		m.delay = m.restart.Delay
	}
	var wait time.Duration
	if m.again {
		m.delay = 0
	} else {
		wait = m.delay
		if m.jitter != nil {
			// So that what has failed together does not come back together.
			wait += time.Duration(m.jitter() * float64(wait) / 10)
		}
		m.delay = min(2*m.delay, max(restartDelayLimit, m.restart.Delay))
	}
	m.spawnAt = now.Add(wait)
	m.state = waiting
	m.forget()
	actions := append([]action{{kind: standIn}}, m.watch()...)
	return append(actions, action{kind: tellRestart, wait: wait})
}

// forget makes the machine ready for another run.
func (m *machine) forget() {
	m.again, m.gone, m.gaveUp = false, false, false
	m.startBy, m.stepAt = time.Time{}, time.Time{}
	m.nextStep, m.atEnd, m.killed = 0, false, false
}
