package machine

import (
	"syscall"
	"time"

	"pidleash/internal/plan"
)

// Signals: forwarded ones, and those of the stop schedule.

// drain keeps the first TERM for the time of -drain, and forwards every other signal at once. pidleash cannot keep a
// TERM that the kernel has sent to the program as well. After a TERM that was forwarded there is nothing left to drain.
func drain(m *Machine, e Event) {
	hadOne := m.stop.forwarded != 0 || m.reported[TermKept] // or the kernel has sent it one, while another was kept
	switch isTerm := e.Signal == syscall.SIGTERM; {
	case isTerm && m.plan.Drain > 0 && !e.Delivered && m.rewritten(e.Signal) != 0 && !hadOne:
		heed(m, e)
		m.stop.keptUntil = m.now.Add(m.plan.Drain)
		keepTerm(m)
		m.report(TermKept)
		return
	case isTerm:
		m.stop.keptUntil = time.Time{}
		m.enter(Running)
	}
	forward(m, e)
}

// keepTerm goes on keeping a TERM, for the program or for its successor.
func keepTerm(m *Machine) {
	m.enter(Draining)
	m.due = m.stop.keptUntil
}

func forward(m *Machine, e Event) {
	heed(m, e)
	sig := m.rewritten(e.Signal)
	if sig == 0 || e.Delivered {
		return
	}
	m.kill(sig, e.ToGroup)
	if e.Signal != syscall.SIGTERM && sig != syscall.SIGTERM {
		return
	}
	if m.stop.forwarded == 0 {
		m.stop.forwarded, m.stop.at = sig, m.now
	}
	// Another TERM does not prolong the rest: somebody may send one again and again.
	if m.watch.on && m.watch.resume.IsZero() {
		m.watch.resume = m.now.Add(farewell)
		m.do(Unwatch)
	}
}

// heed cancels any restart if the signal tells pidleash to end.
func heed(m *Machine, e Event) {
	if m.tellsToEnd(e.Signal) {
		m.wish(finish)
	}
}

// tellsToEnd reports whether pidleash is to end after this signal; not if -rewrite drops it. While no program runs,
// HUP is one of them.
func (m *Machine) tellsToEnd(sig syscall.Signal) bool {
	return (plan.TellsToEnd(sig) || sig == syscall.SIGHUP && m.state == Waiting) && m.rewritten(sig) != 0
}

// rewritten is the signal that -rewrite sends instead; 0: none.
func (m *Machine) rewritten(sig syscall.Signal) syscall.Signal {
	if to, ok := m.plan.Rewrite[sig]; ok {
		return to
	}
	return sig
}

// keepSignal keeps a signal for the daemon or its successor. What was started gets it, too, while it runs; it may be
// about to end. After its end, a signal to end ends the start.
func keepSignal(m *Machine, e Event) {
	switch {
	case m.state == Finding && m.tellsToEnd(e.Signal):
		m.result.Signal = e.Signal
		giveUp(m, e)
	case !e.Delivered:
		m.kept = append(m.kept, e)
		if m.state == Detaching {
			forward(m, e)
		}
	}
}

// kill sends a signal to whom the state and the kill mode select. In mode mixed, a terminal's key goes to the group.
func (m *Machine) kill(sig syscall.Signal, key bool) {
	a := Action{Do: Kill, Signal: sig}
	switch mode := m.plan.KillMode; {
	case m.state == Sweeping || m.state == Remaining || mode == plan.KillTree:
		a.Target = ToTree
	case mode == plan.KillGroup || mode == plan.KillMixed && key:
		a.Target = ToGroup
	}
	m.act(a)
}

func suspend(m *Machine, e Event) { m.act(Action{Do: Suspend, Signal: e.Signal}) }

// stopForGood: the file is gone, or a condition fails. The signal is sent before the message is written.
func stopForGood(m *Machine, t Topic) {
	m.wish(remove)
	m.conditions.due = time.Time{}
	switch m.state {
	case Rising, Answering, Running, Draining, Remaining:
		stopProgram(m)
	}
	m.report(t)
	unwatchFile(m)
	if m.state == Waiting || m.state == Launching {
		record(m, Event{Known: true}) // no program was stopped
		closeRun(m, Event{})
	}
}

// stopProgram begins with the stop command, or with the schedule. When the program has ended, those who remain get the
// schedule.
func stopProgram(m *Machine) {
	switch {
	case m.state == Remaining:
		beginSweep(m)
	case m.plan.StopCommand == "":
		beginSchedule(m)
	default:
		m.enter(Commanding)
		if wait := m.plan.Stop.FirstWait(); wait > 0 {
			m.wait(wait)
		}
		m.do(RunCommand)
	}
}

// beginSchedule begins the schedule after the TERM that was forwarded, if one was.
func beginSchedule(m *Machine) {
	m.enter(Stopping)
	m.cursor = m.plan.Stop.After(m.stop.forwarded, m.stop.at)
	step(m)
}

// afterCommand: the stop command has ended, or was killed. The schedule or the sweep comes next.
func afterCommand(m *Machine, _ Event) {
	if m.state == Outliving {
		sweepOrClose(m)
		return
	}
	beginSchedule(m)
}

// outlive: the program has ended. The stop command has the rest of its time.
func outlive(m *Machine, e Event) {
	record(m, e)
	m.state = Outliving // with the same deadline
}

// step sends the signals of the schedule that are due. After the last one there is no time limit.
func step(m *Machine) {
	for _, sig := range m.cursor.Step(m.now) {
		m.kill(sig, false)
		if plan.NeedsCont(sig) {
			m.kill(syscall.SIGCONT, false)
		}
	}
}

// sweepOrClose decides whether the descendants of an ended program are stopped. They are, too, if the program has not
// come up, or if its file was removed before a successor was found. With -wait-all pidleash waits for them, or stops
// them as it has stopped the program.
func sweepOrClose(m *Machine) {
	stopped := m.state == Stopping || m.state == Outliving || m.waits || m.state == Succeeding && m.want == remove
	switch mode := m.plan.KillMode; {
	case mode == plan.KillTree, mode == plan.KillMixed && stopped, m.plan.WaitAll && (stopped || m.want == remove):
		beginSweep(m)
	case m.plan.WaitAll:
		drained := m.state == Draining
		m.enter(Remaining)
		m.stop = stop{} // what was forwarded has reached the program only
		m.doAndWait(Survey, surveyFast)
		if drained { // its TERM has reached nobody yet
			forward(m, Event{Signal: syscall.SIGTERM})
		}
	default:
		closeRun(m, Event{})
	}
}

// beginSweep begins the schedule for the descendants. In mode tree they got the same signals as the program, so
// it goes on; those that remain got what was forwarded to them.
func beginSweep(m *Machine) {
	cursor := m.plan.Stop.Begin()
	switch {
	case m.state == Stopping && m.plan.KillMode == plan.KillTree:
		cursor = m.cursor
	case m.state == Remaining:
		cursor = m.plan.Stop.After(m.stop.forwarded, m.stop.at)
	}
	m.enter(Sweeping)
	m.cursor = cursor
	m.doAndWait(Survey, surveyFast)
}

// sweep carries the schedule on. A descendant that was being forked during a KILL gets another one.
func sweep(m *Machine, _ Event) {
	if m.cursor.Last() == syscall.SIGKILL {
		m.kill(syscall.SIGKILL, false)
		return
	}
	step(m)
}

func tick(m *Machine, _ Event) {
	if m.reached(m.startBy) {
		m.startBy = time.Time{}
		m.do(Late)
		return
	}
	if m.reached(m.watch.resume) {
		m.watch.resume = time.Time{}
		m.do(Watch)
	}
	if knowsFile.has(m.state) && m.reached(m.conditions.due) {
		m.do(LookAtConditions)
	}
	if knowsFile.has(m.state) && m.reached(m.watch.doubt.due) {
		m.do(Look)
	}
	step(m)
	if m.reached(m.due) {
		endWait(m)
	}
}

// endWait: the state's own deadline has passed.
func endWait(m *Machine) {
	inState := m.now.Sub(m.entered)
	switch m.state {
	case Waiting:
		if len(m.actions) == 0 { // a look comes first
			launchIfDue(m)
		}
	case Detaching: // the file may name the daemon before what was started has ended
		m.doAndWait(Seek, min(max(inState, seekFast), surveyFast))
	case Finding:
		m.doAndWait(Seek, min(max(inState, seekFast), seekSlow))
	case Succeeding:
		if inState >= succession {
			finishRun(m, Event{})
			return
		}
		seekSuccessor(m, Event{})
	case Commanding, Outliving:
		m.do(KillCommand)
		afterCommand(m, Event{})
	case Rising: // the command of -ready has failed
		m.due = time.Time{}
		m.do(Await)
	case Draining:
		drain(m, Event{Signal: syscall.SIGTERM})
	case Sweeping, Remaining:
		m.doAndWait(Survey, min(max(inState/10, surveyFast), surveySlow))
	case Lingering:
		leave(m, Event{})
	case Closing:
		endAll(m)
	}
}
