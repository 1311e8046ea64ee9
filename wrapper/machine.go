package wrapper

import (
	"syscall"
	"time"
)

// The decisions of pidleash, and nothing else: what happens is an event, what is
// to be done about it an action. The machine touches neither processes nor
// files nor clocks, so that every sequence of events can be tried in a test.
//
//	          began   started  failed  signaled  sighted  exited  ticked
//	idle      spawn   -        -       -         -        -       -
//	starting  -       watch    end     -         -        -       -
//	running   -       -        -       forward   judge    finish  look again
//	stopping  -       -        -       forward   -        finish  next step
//	over      -       -        -       -         -        -       -
//
// Signals that arrive before the program runs wait in their channel: the loop
// spawns and reports in one breath.

type state uint8

const (
	idle     state = iota // the program has not been asked for
	starting              // it is being launched
	running               // it runs, and nobody here wants it to end
	stopping              // the stop schedule is under way
	over                  // it has ended, or never ran
	numStates
)

type eventKind uint8

const (
	began eventKind = iota
	started
	failed
	signaled // pidleash received a signal
	sighted  // somebody looked at the PID file
	exited   // the program was reaped
	ticked   // the deadline has passed
	numEventKinds
)

type event struct {
	kind   eventKind
	signal syscall.Signal     // of signaled
	sight  sight              // of sighted
	status syscall.WaitStatus // of exited
}

// sight is what was seen at the PID file's path; the words are explained at
// pidfile.State.
type sight uint8

const (
	present sight = iota
	removed
	rewritten
	replaced
	changed
	unfinished
	unknown
	numSights
)

type actionKind uint8

const (
	spawn       actionKind = iota
	watchFile              // hints from now on
	unwatchFile            // no more hints
	look                   // look at the file and report it as sighted
	adoptFile              // the program has rewritten its file
	removeFile             // remove it if it is still ours
	kill                   // send a signal to the program
	say                    // tell the user
	end                    // leave the loop
)

type action struct {
	kind   actionKind
	signal syscall.Signal // of kill
	sight  sight          // of say: what there is to tell of the file
	stop   bool           // of say: the program is stopped for it
}

const (
	// patience is how long an empty file is given to be completed.
	patience = time.Second
	// patienceStep is the time between two looks at such a file.
	patienceStep = 50 * time.Millisecond
)

// machine is one run of the program. The zero value with the first three fields
// set is ready; it starts with the event began.
type machine struct {
	hasFile  bool          // there is a PID file
	settle   time.Duration // how long a removal must last to count
	schedule Schedule      // what is sent when pidleash stops the program

	state     state
	watching  bool               // hints are wanted
	told      bool               // a TERM was forwarded: the program is about to end
	byRemoval bool               // the program was stopped because of its file
	status    syscall.WaitStatus // the program's, when over

	suspectAt time.Time // when the file was first seen in a state that must last
	confirmAt time.Time // when that is looked at again; zero: nothing to confirm

	nextStep int       // index into schedule
	stepAt   time.Time // when nextStep is due; zero: never

	saidChanged, saidUnknown bool
}

// table has the transitions of the picture above; nil means that the event
// changes nothing in that state.
var table = [numStates][numEventKinds]func(*machine, time.Time, event) []action{
	idle:     {began: (*machine).spawn},
	starting: {started: (*machine).watch, failed: (*machine).fail},
	running:  {signaled: (*machine).forward, sighted: (*machine).judge, exited: (*machine).finish, ticked: (*machine).lookAgain},
	stopping: {signaled: (*machine).forward, exited: (*machine).finish, ticked: (*machine).step},
	over:     {},
}

// handle takes an event that happened at now and returns what is to be done, in
// order.
func (m *machine) handle(now time.Time, e event) []action {
	if f := table[m.state][e.kind]; f != nil {
		return f(m, now, e)
	}
	return nil
}

// deadline is when the machine wants to be ticked; zero: not at all.
func (m *machine) deadline() time.Time {
	switch m.state {
	case running:
		return m.confirmAt
	case stopping:
		return m.stepAt
	}
	return time.Time{}
}

func (m *machine) spawn(time.Time, event) []action {
	m.state = starting
	return []action{{kind: spawn}}
}

func (m *machine) watch(time.Time, event) []action {
	m.state = running
	if !m.hasFile {
		return nil
	}
	m.watching = true
	return []action{{kind: watchFile}}
}

func (m *machine) fail(time.Time, event) []action {
	m.state = over
	return []action{{kind: end}}
}

func (m *machine) forward(_ time.Time, e event) []action {
	if e.signal == syscall.SIGTERM {
		m.told = true
	}
	return []action{{kind: kill, signal: e.signal}}
}

// judge decides what a look at the file means. States that end the program or
// blame somebody must last.
func (m *machine) judge(now time.Time, e event) []action {
	if !m.watching {
		return nil
	}
	switch e.sight {
	case present:
		m.clear()
		return nil
	case rewritten:
		m.clear()
		return []action{{kind: adoptFile}}
	case unknown:
		// Also forgets a suspicion: its deadline would stay in the past.
		m.clear()
		return m.sayOnce(&m.saidUnknown, unknown)
	}
	if m.confirmAt.IsZero() {
		m.suspectAt, m.confirmAt = now, now.Add(m.settle)
	}
	if now.Before(m.confirmAt) {
		return nil
	}
	if e.sight == unfinished && now.Sub(m.suspectAt) < patience {
		m.confirmAt = now.Add(patienceStep)
		return nil
	}
	m.clear()
	if e.sight == changed {
		return m.sayOnce(&m.saidChanged, changed)
	}
	return m.lost(now, e.sight)
}

func (m *machine) clear() { m.suspectAt, m.confirmAt = time.Time{}, time.Time{} }

func (m *machine) sayOnce(said *bool, s sight) []action {
	if *said {
		return nil
	}
	*said = true
	return []action{{kind: say, sight: s}}
}

// lost stops the program because its file is gone for good. A program that was
// told to end is most likely removing the file itself.
func (m *machine) lost(now time.Time, s sight) []action {
	m.watching = false
	if m.told {
		return []action{{kind: say, sight: s}, {kind: unwatchFile}}
	}
	m.state, m.byRemoval = stopping, true
	actions := []action{{kind: say, sight: s, stop: true}, {kind: unwatchFile}}
	return append(actions, m.step(now, event{})...)
}

func (m *machine) lookAgain(now time.Time, _ event) []action {
	if m.confirmAt.IsZero() || now.Before(m.confirmAt) {
		return nil
	}
	return []action{{kind: look}}
}

// step sends the signals that are due. After the last it waits for the
// program's end however long that takes.
func (m *machine) step(now time.Time, _ event) []action {
	if now.Before(m.stepAt) {
		return nil
	}
	m.stepAt = time.Time{}
	var actions []action
	for m.nextStep < len(m.schedule) {
		s := m.schedule[m.nextStep]
		if s.Forever {
			break
		}
		m.nextStep++
		if s.Signal == 0 {
			m.stepAt = now.Add(s.Wait)
			break
		}
		actions = append(actions, kills(s.Signal)...)
	}
	return actions
}

// kills lets a stopped program see the signal: it could not die otherwise.
func kills(sig syscall.Signal) []action {
	first := action{kind: kill, signal: sig}
	switch sig {
	case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCONT:
		return []action{first}
	}
	return []action{first, {kind: kill, signal: syscall.SIGCONT}}
}

func (m *machine) finish(_ time.Time, e event) []action {
	m.state, m.status = over, e.status
	var actions []action
	if m.watching {
		actions = append(actions, action{kind: unwatchFile})
	}
	if m.hasFile {
		actions = append(actions, action{kind: removeFile})
	}
	return append(actions, action{kind: end})
}

func (s sight) String() string {
	return [...]string{"present", "removed", "rewritten", "replaced", "changed", "unfinished", "unknown"}[s]
}
