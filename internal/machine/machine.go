// Package machine decides what pidleash does: given an event and its time, it returns the actions to take and
// the deadline for the next event.
//
// It touches no processes, files or clocks, so that a test can try every sequence of events. Its owner feeds
// it the events in order, does the actions in order, and reads only Deadline and Result. An action that has
// an answer (Launch, Look, Seek, ...) is answered by an event before the next event from outside.
//
// The table in table.go holds every decision: what an event does in which states.
package machine

import (
	"syscall"
	"time"

	"pidleash/internal/plan"
)

// State is where pidleash is in the life of a program.
type State uint8

const (
	Idle       State = iota // nothing has been asked for
	Waiting                 // no program runs: conditions fail, or a delay comes first
	Launching               // the program is being launched
	Detaching               // what was started is making a daemon, and has not ended
	Finding                 // what was started has ended, and the daemon is not known yet
	Rising                  // the program runs, and is not up; the states below have no start timeout
	Answering               // the program is up, and the caller has been told so
	Parting                 // the program has ended before the caller was seen to leave
	Running                 // the program is up, and no caller waits
	Draining                // a TERM is kept for a while before it is forwarded
	Succeeding              // a daemon has ended, and another process may take its place
	Commanding              // the stop command runs
	Outliving               // the program has ended, the stop command has not
	Stopping                // the stop schedule is under way
	Sweeping                // the program has ended, some of its descendants have not, and are stopped
	Remaining               // the program has ended, some of its descendants have not, and are waited for
	Lingering               // the program has ended early: the file names the keeper for a moment
	Closing                 // the file is gone, the program's exit status is not known yet
	Over                    // there is nothing left to do
	numStates
)

// Kind is what has happened.
type Kind uint8

const (
	Began          Kind = iota // the run is to begin
	ConditionsHold             // every condition of -while and -while-running holds
	ConditionsFail             // a condition fails
	Launched                   // the program was launched
	LaunchFailed               // the launch failed: Err, and Status as if the program had exited so
	Vanished                   // the launch failed because the PID file to be replaced is gone
	Found                      // the daemon is known; Own: it is what was started
	Ready                      // the program is ready
	Unready                    // the program will not be ready: Err
	Probed                     // the command of -ready has ended: Status
	Answered                   // the caller has left after it was told that the program is up
	Refused                    // the caller has found that the program has ended, and stays
	CallerGone                 // the caller has ended before it was answered
	Signaled                   // pidleash received Signal; Delivered: so did the program; ToGroup: its group is meant
	Asked                      // -restart-signal has asked for a restart
	Present                    // the PID file is there, and is ours; up to Unknown: what a look finds, if the watch is on
	Removed                    // nothing is at the file's path; Own: the program had written the file
	Moving                     // the program has renamed the file for its successor
	Rewritten                  // another file is there, which the program has written
	Replaced                   // another file is there, and is not ours
	Changed                    // the file is ours, and names another PID
	Unfinished                 // another file is there, which somebody may be writing
	Unknown                    // the file system gives no answer
	Halted                     // job control has stopped the program by Signal
	Died                       // the program has ended, and is not reaped yet
	Ended                      // the program has ended: Status, if Known; Signal: by a key on the terminal
	Explained                  // Status is known now, or (not Known) never will be
	Succeeded                  // another process has taken the daemon's place
	NoSuccessor                // no process takes the daemon's place
	CommandEnded               // the stop command has ended
	Left                       // descendants of the ended program are left
	NoneLeft                   // no descendant is left
	Ticked                     // the deadline has passed
	numKinds
)

// Event is something that has happened.
type Event struct {
	Kind      Kind
	Signal    syscall.Signal
	Status    syscall.WaitStatus
	Known     bool
	Delivered bool
	ToGroup   bool
	Own       bool
	Linked    bool // of Removed: the file has another name
	Err       error
}

// Do is what is to be done.
type Do uint8

const (
	Launch           Do = iota // answer: Launched, LaunchFailed or Vanished
	Seek                       // look for the daemon: Found, Unready, or no answer
	SeekSuccessor              // look for a successor: Succeeded, NoSuccessor, or no answer
	Await                      // wait for Ready or Unready, or start the command of -ready: Probed
	KillProbe                  // kill the command of -ready, if it runs
	Answer                     // tell the caller that the program is up
	ReportReady                // tell the service manager that the program is ready
	Late                       // the program is not up in time; answer: Unready, with the reason
	Watch                      // turn on hints about the PID file; the first comes at once
	Unwatch                    // turn off hints
	Look                       // look at the PID file; answer: Present to Unknown
	LookAtConditions           // answer: ConditionsHold or ConditionsFail
	Adopt                      // take the rewritten file as ours
	Placeholder                // make the PID file name pidleash; LaunchFailed if that fails
	Linger                     // make the PID file name pidleash, if it is still ours
	Remove                     // remove the PID file, if it is still ours
	Kill                       // send Signal to Target
	Suspend                    // stop pidleash too: job control has stopped the program
	RunCommand                 // run the stop command; CommandEnded when it cannot be run
	KillCommand                // kill the stop command
	Survey                     // look for descendants; answer: Left or NoneLeft
	Report                     // log Topic
	End                        // leave the loop
	numDos
)

// Action is one thing to do.
type Action struct {
	Do     Do
	Signal syscall.Signal // of Kill and Suspend
	Target Target         // of Kill
	Topic  Topic          // of Report
	Wait   time.Duration  // of Report: the delay before a restart
	Status syscall.WaitStatus
	Err    error // of Report: why the run failed
	Ran    bool  // of Report: the program was launched
}

// Target is whom a signal reaches.
type Target uint8

const (
	ToProgram Target = iota
	ToGroup          // the program's process group
	ToTree           // the program and every descendant
)

// Topic is what there is to report.
type Topic uint8

const (
	FileRemoved  Topic = iota // so the program is stopped
	FileReplaced              // so the program is stopped
	FileChanged
	FileUnknown
	ConditionFailed // so the program is stopped
	BrokenOff       // the caller has gone before the program was up
	WaitingFor      // conditions, before the first start
	TermKept        // a TERM is kept for -drain
	Restarting      // after Wait
	RestartLimit    // no restart is left
	numTopics
)

// Result is the outcome of all runs.
type Result struct {
	Status  syscall.WaitStatus // if Known; after a failed launch, that of a program that exits with the error's code
	Known   bool
	Removed bool           // the program was stopped because the file was removed or replaced, or a condition failed
	Signal  syscall.Signal // that has ended pidleash while no program was running; 0: none
	Up      bool           // the caller has been told that the program is up, or there was no caller
	Err     error          // why the last run failed: the launch failed, or the program did not come up; nil: neither
}

// Machine is one program's runs, one after the other.
type Machine struct {
	plan    *plan.Plan
	jitter  func() float64 // from 0 to 1
	now     time.Time      // of the current event
	actions []Action       // so far, for the current event
	phase
	launches
	want       want
	waits      bool      // a caller waits for the first start: if that fails, there is no restart
	answered   time.Time // when the caller left after its answer; zero: not yet, or there is no caller
	result     Result    // without Removed and Up
	settled    bool      // the exit status is known, or never will be
	stop       stop
	watch      watch
	conditions doubt   // a condition fails
	kept       []Event // signals for a daemon that is not known yet
	reported   [numTopics]bool
}

// phase is the state and what it waits for.
type phase struct {
	state   State
	entered time.Time
	due     time.Time   // the state's own deadline; zero: none
	cursor  plan.Cursor // of Stopping and Sweeping: the place in the stop schedule
}

// launches counts and times the launches.
type launches struct {
	runs    int           // how often the program was launched
	began   time.Time     // when the last launch began
	startBy time.Time     // when the program must be up; zero: no limit, or it is up
	delay   time.Duration // before the next restart; 0: -restart-delay
	recent  []time.Time   // the restarts within the plan's window
}

// want is what is wanted after this run. A later one in the list overrides an earlier one, never the reverse.
type want uint8

const (
	keep   want = iota // as -restart says
	again              // another run: -restart-signal has asked for it
	finish             // none: pidleash was told to end
	remove             // none: the file is gone, or a condition has failed
)

// doubt is something that must last before it counts.
type doubt struct {
	since  time.Time // when it was first seen; zero: no doubt
	due    time.Time // when to look again; zero: only at the next hint
	moving bool      // it is about a PID file that a successor is to write
}

// watch is whether hints about the PID file are on, and what they have led to.
type watch struct {
	on     bool
	resume time.Time // when a resting watch is turned on again; zero: it does not rest
	doubt  doubt     // the file is not ours, or names another PID
}

// stop is what was done to stop the program in this run.
type stop struct {
	forwarded syscall.Signal // what a TERM was forwarded as; 0: no TERM was
	at        time.Time      // when it was forwarded
	keptUntil time.Time      // when a TERM that is kept is to be forwarded; zero: none is kept
}

const (
	// How long another process may have the file under another name, to look whose it is and put it back.
	inHand = 20 * time.Millisecond
	// How long an unfinished file may take to be completed, and the time between two looks at it.
	patience, patienceStep = time.Second, 50 * time.Millisecond
	// How long a successor, which reads its configuration first, may take to write the file that the daemon has
	// renamed, and the time between the first two looks for that file.
	movePatience, moveStep = 30 * time.Second, 2 * time.Millisecond
	// The time between two looks for the daemon doubles from the first to the second.
	seekFast, seekSlow = 2 * time.Millisecond, 10 * time.Millisecond
	// How long a successor may take to appear after a daemon's end at most, and the time between two looks for it.
	succession, successionStep = 4 * time.Second, 20 * time.Millisecond
	// The time between two looks for descendants is a tenth of the time that the state has lasted, within these.
	surveyFast, surveySlow = 50 * time.Millisecond, 5 * time.Second
	// A program that ends within earlyEnd after the caller may be gone before the service manager looks for
	// it: the file then names the keeper for linger. systemd reads the file when the caller has ended, on a busy
	// machine some time later; if it named a dead process, "systemctl start" would wait until its timeout.
	earlyEnd, linger = time.Second, time.Second
	// ReapLimit is how long the program's parent may take to reap it: only then does a pidfd report the status.
	ReapLimit = time.Second
	// The time between the end of a command of -ready that has failed and its next start.
	probePause = 250 * time.Millisecond
	// How long the watch rests after a TERM was forwarded. The program will probably end now, and pidleash with
	// it: exiting with a live inotify watch would take the kernel 6 to 18 ms.
	farewell = time.Second
	// The longest delay of a restart, unless -restart-delay is longer, and how long a run must last to reset it.
	delayLimit, health = 30 * time.Second, time.Minute
)

// New makes a machine in Idle. answers: a caller waits for the first start. jitter returns numbers from 0 to
// 1; a tenth of them lengthens the delay of a restart.
func New(p *plan.Plan, answers bool, jitter func() float64) *Machine {
	return &Machine{plan: p, waits: answers, jitter: jitter}
}

// Handle takes an event that has happened at now and returns the actions to take, in order.
func (m *Machine) Handle(now time.Time, e Event) []Action {
	m.now, m.actions = now, nil
	isLook := Present <= e.Kind && e.Kind <= Unknown
	if f := rule(m.state, e.Kind); f != nil && (m.watch.on || !isLook) {
		f(m, e)
	}
	return m.actions
}

// act adds an action. It is not inlined: that would double the size of this package.
//
//go:noinline
func (m *Machine) act(a Action) { m.actions = append(m.actions, a) }

func (m *Machine) do(what Do) { m.act(Action{Do: what}) }

// report adds a report, once for each topic.
func (m *Machine) report(t Topic) {
	if !m.reported[t] {
		m.reported[t] = true
		m.act(Action{Do: Report, Topic: t})
	}
}

// Deadline is when Ticked is due; zero: never.
func (m *Machine) Deadline() time.Time {
	at := first(m.startBy, m.watch.resume, m.cursor.Due())
	if knowsFile.has(m.state) {
		at = first(at, m.watch.doubt.due, m.conditions.due)
	}
	if m.state != Waiting || m.mayLaunch() {
		at = first(at, m.due)
	}
	return at
}

// Result is the outcome, once the machine is Over.
func (m *Machine) Result() Result {
	r := m.result
	r.Removed, r.Up = m.want == remove, !m.waits
	return r
}

// first is the earliest deadline; zero ones do not count.
func first(deadlines ...time.Time) (at time.Time) {
	for _, d := range deadlines {
		if at.IsZero() || !d.IsZero() && d.Before(at) {
			at = d
		}
	}
	return at
}

// reached reports whether the deadline has come; zero never does.
func (m *Machine) reached(deadline time.Time) bool {
	return !deadline.IsZero() && !m.now.Before(deadline)
}

// enter changes the state and drops what the last one waited for.
func (m *Machine) enter(s State) {
	if m.state == Rising && m.plan.Ready.Kind == plan.ReadyCommand {
		m.do(KillProbe)
	}
	m.phase = phase{state: s, entered: m.now}
	if s > Rising {
		m.startBy = time.Time{}
	}
}

func (m *Machine) wait(d time.Duration) { m.due = m.now.Add(d) }

// doAndWait adds an action and sets the deadline for what comes of it.
func (m *Machine) doAndWait(what Do, d time.Duration) {
	m.do(what)
	m.wait(d)
}

// wish raises what is wanted, and never lowers it.
func (m *Machine) wish(w want) { m.want = max(m.want, w) }

func (m *Machine) hasFile() bool { return m.plan.PIDFile != "" }
