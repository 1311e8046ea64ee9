package machine

import "time"

// Looks at the PID file and at the conditions. What stops the program or causes a warning must last first.

// watchFile turns hints on, if there is a PID file.
func watchFile(m *Machine) {
	if m.hasFile() && !m.watch.on {
		m.watch = watch{on: true}
		m.do(Watch)
	}
}

// unwatchFile turns hints off for good: the file does not matter any more.
func unwatchFile(m *Machine) {
	if !m.watch.on {
		return
	}
	if m.watch.resume.IsZero() { // otherwise hints are off already
		m.do(Unwatch)
	}
	m.watch = watch{}
	m.clear()
}

// restWatch turns hints off for a while, see farewell; the first look afterwards catches up. Another TERM
// does not prolong the rest: somebody may send one again and again.
func restWatch(m *Machine) {
	if m.watch.on && m.watch.resume.IsZero() {
		m.watch.resume = m.now.Add(farewell)
		m.do(Unwatch)
	}
}

// clear forgets every doubt about the file.
func (m *Machine) clear() { m.file, m.move = doubt{}, doubt{} }

// trust: the file is ours.
func trust(m *Machine, _ Event) { m.clear() }

// adopt: the program has rewritten the file, and that file is ours from now on.
func adopt(m *Machine, _ Event) {
	if m.watch.on {
		m.clear()
		m.do(Adopt)
	}
}

// ignoreUnknown: the file system gives no answer. It also drops a doubt, whose deadline would stay due.
func ignoreUnknown(m *Machine, e Event) {
	if m.watch.on {
		m.clear()
		reportOnce(m, e.Kind, FileUnknown)
	}
}

func reportOnce(m *Machine, k Kind, t Topic) {
	if !m.reported[k] {
		m.reported[k] = true
		m.report(t)
	}
}

// doubtFile acts on what was seen once it has lasted for Settle.
func doubtFile(m *Machine, e Event) {
	m.move = doubt{}
	switch {
	case !m.watch.on:
		return
	case e.Kind == Removed && e.Own && m.stop.forwarded != 0:
		m.clear() // the program cleans up after the TERM
		return
	case m.file.due.IsZero():
		m.file = doubt{since: m.now, due: m.now.Add(m.plan.Settle)}
	}
	if m.now.Before(m.file.due) {
		return
	}
	if e.Kind == Unfinished && m.now.Sub(m.file.since) < patience {
		m.file.due = m.now.Add(patienceStep)
		return
	}
	m.file = doubt{}
	switch e.Kind {
	case Changed:
		reportOnce(m, Changed, FileChanged)
	case Removed:
		stopForGood(m, FileRemoved)
	default:
		stopForGood(m, FileReplaced)
	}
}

// awaitMove polls for the file that a successor is to write: no hint reports it.
func awaitMove(m *Machine, _ Event) {
	m.file = doubt{}
	if !m.watch.on {
		return
	}
	if m.move.since.IsZero() {
		m.move.since = m.now
	}
	since := m.now.Sub(m.move.since)
	if since >= movePatience {
		m.move = doubt{}
		stopForGood(m, FileRemoved)
		return
	}
	m.move.due = m.now.Add(max(moveStep, min(since/10, patienceStep)))
}

// hold: every condition holds.
func hold(m *Machine, _ Event) {
	m.conditions = doubt{}
	if m.state != Waiting {
		return
	}
	m.startBy = time.Time{}
	if m.runs == 0 {
		m.due = m.now
	}
	launchIfDue(m)
}

// doubtConditions: a condition fails. When that has lasted for Settle, it stops the program for good.
func doubtConditions(m *Machine, _ Event) {
	c := &m.conditions
	if c.since.IsZero() {
		c.since = m.now
	}
	if m.runs == 0 || !m.goesOn() {
		c.due = time.Time{}
		return
	}
	if c.due.IsZero() {
		c.due = m.now.Add(m.plan.Settle)
	}
	if !m.now.Before(c.due) {
		stopForGood(m, ConditionFailed)
	}
}

// goesOn reports whether nothing has led to the end yet.
func (m *Machine) goesOn() bool {
	switch m.state {
	case Waiting, Rising, Answering, Parting, Running:
		return true
	}
	return m.wantsRestart()
}

// lookAgain asks for another look at what is in doubt, when that is due.
func lookAgain(m *Machine) {
	if !knowsFile.has(m.state) {
		return
	}
	if m.reached(m.conditions.due) {
		m.do(LookAtConditions)
	}
	if m.reached(m.file.due) || m.reached(m.move.due) {
		m.do(Look)
	}
}
