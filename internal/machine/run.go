package machine

import "pidleash/internal/plan"

// A run: from the launch to the end of the program and its descendants.

// begin launches the program, or waits until every condition holds.
func begin(m *Machine, _ Event) {
	m.enter(Waiting)
	m.wait(0)
	launchIfDue(m)
	if m.state == Launching {
		return
	}
	if m.plan.WhileLimit > 0 {
		m.startBy = m.now.Add(m.plan.WhileLimit)
	}
	m.do(Placeholder)
	watchFile(m)
	m.report(WaitingFor)
}

func launched(m *Machine, _ Event) {
	m.runs++
	m.result, m.settled = Result{}, false
	if m.plan.StartLimit > 0 && (m.plan.Forking || m.plan.Ready.Given) {
		m.startBy = m.now.Add(m.plan.StartLimit)
	}
	if !m.plan.Forking {
		comeUp(m)
		return
	}
	m.enter(Detaching)
	if m.plan.WritesFile() {
		m.wait(seekFast)
	}
}

// detached: what was started has ended. With exit code 0 it has left a daemon behind.
func detached(m *Machine, e Event) {
	record(m, e)
	if e.Status.ExitStatus() != 0 {
		giveUp(m, e)
		return
	}
	m.enter(Finding)
	m.doAndWait(Seek, seekFast)
}

// follow makes the daemon or its successor the program, and forwards the signals that were kept for it. If what was
// started is itself the daemon, it has had them.
func follow(m *Machine, e Event) {
	m.result, m.settled = Result{}, false
	if e.Own {
		m.kept = nil
		comeUp(m)
		return
	}
	receive := forward
	if m.state == Succeeding {
		receive = drain
		m.watch.doubt = doubt{} // it was about the predecessor's file
		m.enter(Running)
		if !m.stop.keptUntil.IsZero() { // for the rest of its time
			keepTerm(m)
		}
		m.do(Look)
	} else {
		m.stop.forwarded = 0 // that TERM went to what was started
		comeUp(m)
	}
	for _, e := range m.kept {
		receive(m, e)
	}
	m.kept = nil
	if m.want == remove { // the file was removed after the predecessor's end, before the caller left
		stopProgram(m)
	}
}

// comeUp: the program itself runs, and may have to get ready.
func comeUp(m *Machine) {
	m.enter(Rising)
	watchFile(m)
	if m.plan.Ready.Given {
		m.do(Await)
		return
	}
	beUp(m, Event{})
}

// probed: the program is up when the command of -ready has ended with 0.
func probed(m *Machine, e Event) {
	if e.Status == 0 {
		beUp(m, e)
		return
	}
	m.wait(probePause)
}

// beUp reports to the caller and the service manager that the program is up.
func beUp(m *Machine, _ Event) {
	if m.waits {
		m.enter(Answering)
		m.do(Answer)
	} else {
		m.enter(Running)
	}
	if m.plan.Ready.Given {
		m.do(ReportReady)
	}
}

// leaveCaller: the caller has left after its answer.
func leaveCaller(m *Machine, e Event) {
	m.waits, m.answered = false, m.now
	switch {
	case m.state == Parting: // the caller has not seen the program's end
		m.enter(Running)
		finishRun(m, e)
		if m.state == Sweeping || m.state == Remaining {
			keepPlace(m, e) // the program has been reaped meanwhile
		}
	case m.state != Answering:
		return
	case m.plan.Beside() && !m.hasFile(): // nothing is left to do
		endAll(m)
	default:
		m.enter(Running)
		if m.want == again { // somebody has asked before the caller was seen to leave
			restart(m, e)
		}
	}
}

// part: the program has ended after the caller was answered. The caller may still see that, or may have left.
func part(m *Machine, e Event) {
	m.enter(Parting)
	record(m, e)
}

// rise: the caller has seen the program's end before the keeper has.
func rise(m *Machine, _ Event) { m.enter(Rising) }

// record keeps the exit status. It may come later than the end.
func record(m *Machine, e Event) {
	if e.Known || e.Kind != Explained {
		m.result.Status, m.result.Known = e.Status, e.Known
	}
	m.settled = e.Known || e.Kind == Explained
	if e.Signal != 0 { // ^C reaches only the program, but is meant for pidleash too
		m.wish(finish)
	}
}

// finishRun ends the run with the program, unless a successor may show or descendants must be stopped first.
func finishRun(m *Machine, e Event) {
	if e.Kind == Ended { // otherwise the end is recorded already
		record(m, e)
	}
	if (m.state == Running || m.state == Draining) && m.plan.Forking && m.hasFile() {
		m.enter(Succeeding)
		seekSuccessor(m, e)
		return
	}
	if !m.wantsRestart() && !m.plan.WaitAll {
		unwatchFile(m)
	}
	sweepOrClose(m)
}

func seekSuccessor(m *Machine, _ Event) { m.doAndWait(SeekSuccessor, successionStep) }

// giveUp stops a program that has not come up, and its descendants, or the wait for the first launch.
func giveUp(m *Machine, e Event) {
	m.result.Err = e.Err
	if !m.wantsRestart() {
		unwatchFile(m)
	}
	switch m.state {
	case Waiting:
		m.wish(finish)
		closeRun(m, e)
	case Detaching, Finding:
		beginSweep(m)
	default:
		beginSchedule(m)
	}
}

// abandon: the caller is gone before the program was up.
func abandon(m *Machine, e Event) {
	m.wish(finish)
	m.report(BrokenOff)
	giveUp(m, e)
}

// fail: a launch, a placeholder or a caller's exec has failed. Only a launch after the first may be tried again: a
// placeholder would fail again at once.
func fail(m *Machine, e Event) {
	record(m, e)
	m.result.Err = e.Err
	if m.runs == 0 || m.state != Launching {
		m.wish(finish)
	}
	closeRun(m, e)
}

// vanish: the launch found no PID file to replace, so the file was removed.
func vanish(m *Machine, _ Event) { stopForGood(m, FileRemoved) }

// closeRun ends the run, and pidleash too unless the program is to be started again.
func closeRun(m *Machine, _ Event) {
	restarts := m.wantsRestart()
	if restarts && m.withinLimit() {
		pause(m)
		return
	}
	unwatchFile(m)
	if restarts {
		m.report(RestartLimit)
	}
	early := m.plan.Way == plan.Daemon && m.now.Sub(m.answered) < earlyEnd
	if !early || !m.hasFile() || m.want == remove {
		leave(m, Event{})
		return
	}
	m.enter(Lingering)
	m.doAndWait(Linger, linger)
	watchFile(m)
}

// leave removes the file and ends, if need be after a wait for the exit status. It also ends Lingering when another
// process removes the file: with KillMode=process systemd does so, and may start the unit again at once.
func leave(m *Machine, _ Event) {
	unwatchFile(m)
	if m.hasFile() {
		m.do(Remove)
	}
	if m.runs == 0 || m.settled {
		endAll(m)
		return
	}
	m.enter(Closing)
	m.wait(ReapLimit)
}

func endAll(m *Machine) {
	m.enter(Over)
	m.do(End)
}

// endClosing: the exit status was the last thing to wait for, or the end of what was started.
func endClosing(m *Machine, e Event) {
	record(m, e)
	if m.settled {
		endAll(m)
	}
}

// endBySignal: no program runs, so a signal ends pidleash or is dropped.
func endBySignal(m *Machine, e Event) {
	if m.tellsToEnd(e.Signal) {
		m.wish(finish)
		m.result.Signal = e.Signal
		closeRun(m, e)
	}
}
