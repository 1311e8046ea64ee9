package machine

import "time"

// Looks at the PID file and at the conditions. What stops the program or causes a warning must last first.

func watchFile(m *Machine) {
	if m.hasFile() && !m.watch.on {
		m.watch = watch{on: true}
		m.do(Watch)
	}
}

// unwatchFile turns hints off for good: the file does not matter any more.
func unwatchFile(m *Machine) {
	if m.watch.on && m.watch.resume.IsZero() { // otherwise hints are off already
		m.do(Unwatch)
	}
	m.watch = watch{}
}

// trust: the file is ours, or becomes ours because the program has written it, or the file system gives no answer.
func trust(m *Machine, e Event) {
	m.watch.doubt = doubt{}
	switch e.Kind {
	case Rewritten:
		m.do(Adopt)
	case Unknown:
		m.report(FileUnknown)
	}
}

// doubtFile acts on what was seen once it has lasted for Settle. A daemon that executes itself removes its own file
// for a moment.
func doubtFile(m *Machine, e Event) {
	d := &m.watch.doubt
	if d.moving || d.due.IsZero() {
		settle := m.plan.Settle
		if e.Own && m.plan.Forking {
			settle = m.plan.OwnSettle
		}
		if e.Linked {
			settle = max(settle, inHand)
		}
		*d = doubt{since: m.now, due: m.now.Add(settle)}
	}
	switch {
	case e.Kind == Removed && e.Own && m.stop.forwarded != 0:
		*d = doubt{} // the program cleans up after the TERM
	case m.now.Before(d.due):
	case e.Kind == Unfinished && m.now.Sub(d.since) < patience:
		d.due = m.now.Add(patienceStep)
	case e.Kind == Changed:
		*d = doubt{}
		m.report(FileChanged)
	case e.Kind == Removed:
		stopForGood(m, FileRemoved)
	default:
		stopForGood(m, FileReplaced)
	}
}

// awaitMove polls for the file that a successor is to write: no hint reports it.
func awaitMove(m *Machine, _ Event) {
	d := &m.watch.doubt
	if !d.moving {
		*d = doubt{since: m.now, moving: true}
	}
	since := m.now.Sub(d.since)
	d.due = m.now.Add(max(moveStep, min(since/10, patienceStep)))
	if since >= movePatience {
		stopForGood(m, FileRemoved)
	}
}

func hold(m *Machine, _ Event) {
	m.conditions = doubt{}
	if m.state == Waiting {
		m.startBy = time.Time{}
		launchIfDue(m)
	}
}

// doubtConditions stops the program for good when a condition has failed for Settle, unless it is ending anyway.
func doubtConditions(m *Machine, _ Event) {
	const goesOn states = 1<<Waiting | 1<<Rising | 1<<Answering | 1<<Parting | 1<<Running | 1<<Draining | 1<<Remaining
	c := &m.conditions
	if c.since.IsZero() {
		c.since = m.now
	}
	switch {
	case m.runs == 0 || !goesOn.has(m.state) && !m.wantsRestart():
		c.due = time.Time{}
	case c.due.IsZero():
		c.due = m.now.Add(m.plan.Settle)
	}
	if m.reached(c.due) {
		stopForGood(m, ConditionFailed)
	}
}
