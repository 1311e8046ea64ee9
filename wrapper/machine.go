package wrapper

import (
	"pidleash/internal/plan"
	"syscall"
	"time"
)

// The decisions of pidleash, and nothing else: what happens is an event, what is
// to be done about it an action. The machine touches neither processes nor
// files nor clocks, so that every sequence of events can be tried in a test.
//
//	            waiting    starting  finding    running    commanding  stopping   sweeping
//	started     -          launched  -          -          -           -          -
//	failed      end        end       -          -          -           -          -
//	vanished    -          end       -          -          -           -          -
//	opened      spawn      -         -          go on      go on       go on      go on
//	shut        end        -         -          stop       stay down   stay down  stay down
//	asked       spawn      -         -          stop       -           -          -
//	found       -          -         follow     -          -           -          -
//	readied     -          -         -          be up      -           -          -
//	unready     end        -         give up    give up    -           -          -
//	reported    -          -         -          be known   -           -          -
//	signaled    end        -         keep       forward    forward     forward    forward
//	sighted     judge      -         -          judge      judge       judge      judge
//	halted      -          -         -          suspend    -           -          -
//	exited      -          -         await      finish     outlive     finish     -
//	ticked      spawn      -         seek       look again overtake    next step  next step
//	commandDone -          -         -          -          next step   -          -
//	remaining   -          -         -          -          -           -          next step
//	emptied     -          -         -          -          -           -          end
//	handedOver  -          -         -          end        -           -          -
//
// The events began and taken lead from idle to starting or waiting, and to running.
// Where it says end, the program may have to be started again: then it is waiting.
//
// Signals that arrive before the program runs wait in their channel: the loop
// spawns and reports in one breath. After over nothing happens any more.

type state uint8

const (
	idle       state = iota // the program has not been asked for
	waiting                 // none runs: for the -while files, or after an end
	starting                // it is being launched
	finding                 // it becomes a daemon, which is not known yet
	running                 // it runs, and nobody here wants it to end
	commanding              // the stop command is under way
	stopping                // the stop schedule is under way
	sweeping                // it has ended, some of its descendants have not
	over                    // it has ended, or never ran
	numStates
)

type eventKind uint8

const (
	began   eventKind = iota
	taken             // a watchdog was given a running program
	started           // the program was launched
	failed
	found       // the daemon is known
	readied     // the program is up
	unready     // it will not be
	reported    // who waits for the first start has heard that it is up
	handedOver  // a watchdog has taken the program
	signaled    // pidleash received a signal
	sighted     // somebody looked at the PID file
	halted      // the program was stopped, as job control does
	exited      // the program was reaped
	ticked      // the deadline has passed
	vanished    // the PID file was gone when the program was to be started anew
	opened      // every -while file is there
	shut        // one is not
	asked       // pidleash was told to restart the program
	commandDone // the stop command was reaped
	remaining   // descendants of the ended program are still there
	emptied     // none is
	numEventKinds
)

type event struct {
	kind   eventKind
	signal syscall.Signal     // of signaled and halted; of exited: the terminal's key that did it
	had    bool               // of signaled: the program has had it already
	sight  sight              // of sighted
	status syscall.WaitStatus // of exited, and of failed when there was a run before
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
	moving // renamed by a program that hands over to a new process
	numSights
)

type actionKind uint8

const (
	spawn       actionKind = iota
	seek                   // look for the daemon and report found or unready
	await                  // report readied or unready
	tellReady              // tell the service manager
	handOver               // leave the program to a watchdog
	sayLate                // the program has not come up in time
	watchFile              // hints from now on
	unwatchFile            // no more hints
	look                   // look at the file and report it as sighted
	lookAtGates            // look at the -while files and report opened or shut
	adoptFile              // the program has rewritten its file
	removeFile             // remove it if it is still ours
	kill                   // send a signal
	suspend                // stop as well, as a job
	runCommand             // run the stop command
	killCommand            // it has taken too long
	survey                 // report remaining or emptied
	say                    // tell the user
	reportUp               // tell who waits for the first start, and report that
	standIn                // have the PID file name pidleash
	tellWaiting            // that the -while files are waited for
	tellRestart            // that the program is started again, and when
	sayShut                // that a -while file is gone
	sayLimit               // that there are no more restarts
	end                    // leave the loop
)

type action struct {
	kind   actionKind
	signal syscall.Signal // of kill and suspend
	target target         // of kill
	sight  sight          // of say: what there is to tell of the file
	stop   bool           // of say: the program is stopped for it
	wait   time.Duration  // of tellRestart
}

// target is whom a signal reaches.
type target uint8

const (
	toProgram target = iota
	toGroup          // the program's process group
	toTree           // all descendants of pidleash that came of the program
)

const (
	// patience is how long an empty file is given to be completed.
	patience = time.Second
	// movePatience is how long a new process may take to write the file that the
	// old one has renamed for it: it reads its configuration first.
	movePatience = 30 * time.Second
	// seekFast is the time between the first two looks for the daemon, seekSlow
	// between later ones; it doubles.
	seekFast = 2 * time.Millisecond
	seekSlow = 10 * time.Millisecond
	// moveStep is the time between the first two looks for it.
	moveStep = 2 * time.Millisecond
	// patienceStep is the time between two looks at such a file.
	patienceStep = 50 * time.Millisecond
)

// machine is a program's runs, one after the other. The zero value with the first
// fields set is ready; it starts with the event began.
type machine struct {
	hasFile    bool          // there is a PID file
	forking    bool          // the program turns itself into a daemon
	awaits     bool          // the program is up only when it is ready
	background bool          // leave the program to a watchdog when it is up
	mustComeUp bool          // somebody waits for the first start: its failure is the end
	limit      time.Duration // how long it may take to come up; 0: for ever
	whileLimit time.Duration // how long the -while files may be waited for; 0: for ever
	settle     time.Duration // how long a removal must last to count
	schedule   plan.Schedule // what is sent when pidleash stops the program
	hasCommand bool          // there is a stop command
	killMode   plan.KillMode
	rewrite    map[syscall.Signal]syscall.Signal // of forwarded signals; to 0: drop
	restart    plan.Restart
	success    [256]bool      // codes that are no failure, as Config.Success
	jitter     func() float64 // from 0 to 1; nil: 0

	runs    int            // how often the program was launched
	started time.Time      // when that was tried last
	shut    bool           // a -while file is missing
	shutAt  time.Time      // when that counts; zero: nothing to confirm
	spawnAt time.Time      // when to start the program, in waiting; zero: not known
	delay   time.Duration  // before the next restart but this; 0: restart.Delay
	recent  []time.Time    // the restarts within restart.Window
	again   bool           // the program is stopped in order to be started again
	ending  bool           // pidleash was told to end: no further restart
	endedBy syscall.Signal // by which signal, while no program ran; 0: by none
	atLimit bool           // there were too many restarts

	state     state
	watching  bool               // hints are wanted
	up        bool               // the program has come up, if only in a run before
	startBy   time.Time          // when it must be up; zero: no limit, or it is
	seekAt    time.Time          // when to seek next, in finding; zero: not yet
	seekEvery time.Duration      // how long after that again
	kept      []event            // signals that came while there was nobody to have them
	byRemoval bool               // the program was stopped because of its file
	gaveUp    bool               // it was stopped because it did not come up
	gone      bool               // the program has been reaped
	status    syscall.WaitStatus // the program's, when gone

	suspectAt time.Time // when the file was first seen in a state that must last
	confirmAt time.Time // when that is looked at again; zero: nothing to confirm

	nextStep int       // index into schedule
	stepAt   time.Time // when nextStep is due; zero: at once, if there is one
	atEnd    bool      // the schedule is at its end, or at forever
	killed   bool      // the last signal of the schedule was KILL

	saidChanged, saidUnknown bool
}

// table has the transitions of the picture above; nil means that the event
// changes nothing in that state.
var table = [numStates][numEventKinds]func(*machine, time.Time, event) []action{
	idle: {began: (*machine).begin, taken: (*machine).take, opened: (*machine).open, shut: (*machine).shutDown},
	waiting: {failed: (*machine).fail, unready: (*machine).breakOff, opened: (*machine).open, shut: (*machine).shutDown,
		asked: (*machine).restartNow, signaled: (*machine).endWaiting, sighted: (*machine).judge,
		ticked: (*machine).tickWaiting},
	starting: {started: (*machine).launched, failed: (*machine).fail, vanished: (*machine).vanish},
	finding: {found: (*machine).follow, unready: (*machine).giveUp, signaled: (*machine).keep,
		exited: (*machine).detached, ticked: (*machine).seek},
	running: {readied: (*machine).beUp, unready: (*machine).giveUp, signaled: (*machine).forward,
		opened: (*machine).open, shut: (*machine).shutDown, asked: (*machine).restartNow,
		sighted: (*machine).judge, halted: (*machine).suspend, exited: (*machine).finish,
		reported: (*machine).beKnown, ticked: (*machine).lookAgain, handedOver: (*machine).leave},
	commanding: {signaled: (*machine).forward, sighted: (*machine).judge,
		opened: (*machine).open, shut: (*machine).shutDown, exited: (*machine).outlive,
		ticked: (*machine).overtake, commandDone: (*machine).obey},
	stopping: {signaled: (*machine).forward, sighted: (*machine).judge,
		opened: (*machine).open, shut: (*machine).shutDown, exited: (*machine).finish,
		ticked: (*machine).stepOn},
	sweeping: {signaled: (*machine).forward, sighted: (*machine).judge,
		opened: (*machine).open, shut: (*machine).shutDown, ticked: (*machine).stepOn,
		remaining: (*machine).sweep, emptied: (*machine).close},
	over: {},
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
	suspicion := earlier(m.confirmAt, m.shutAt)
	switch m.state {
	case waiting:
		if m.maySpawn() {
			return m.spawnAt
		}
		return earlier(suspicion, m.startBy)
	case finding:
		return earlier(m.seekAt, m.startBy)
	case running:
		return earlier(suspicion, m.startBy)
	case commanding, stopping, sweeping:
		return earlier(suspicion, m.stepAt)
	}
	return time.Time{}
}

func (m *machine) spawn(now time.Time, _ event) []action {
	m.state, m.started = starting, now
	return []action{{kind: spawn}}
}

// earlier is the first of two deadlines, of which each may be none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// take begins with a program that is up.
func (m *machine) take(time.Time, event) []action {
	m.state, m.up = running, true
	return m.watch()
}

// launched begins to wait for the program to come up.
func (m *machine) launched(now time.Time, _ event) []action {
	m.runs++
	if m.limit > 0 && (m.forking || m.awaits) {
		m.startBy = now.Add(m.limit)
	}
	if m.forking {
		m.state = finding // what is started ends first
		return nil
	}
	m.state = running
	return m.comeUp()
}

// comeUp is for the program that runs, itself and not what starts it.
func (m *machine) comeUp() []action {
	actions := m.watch()
	if m.awaits {
		return append(actions, action{kind: await})
	}
	return append(actions, m.beUp(time.Time{}, event{})...)
}

func (m *machine) watch() []action {
	if !m.hasFile || m.watching {
		return nil
	}
	m.watching = true
	return []action{{kind: watchFile}}
}

// beUp ends the waiting.
func (m *machine) beUp(time.Time, event) []action {
	m.startBy = time.Time{}
	var actions []action
	switch {
	case m.background:
		return append(m.unwatch(), action{kind: handOver})
	case m.mustComeUp && !m.up:
		actions = []action{{kind: reportUp}}
	default:
		m.up = true
	}
	if m.awaits {
		actions = append(actions, action{kind: tellReady})
	}
	return actions
}

// beKnown takes that whoever waits for the first start knows that the program is up.
func (m *machine) beKnown(time.Time, event) []action {
	m.up = true
	return nil
}

// leave ends with the program running: a watchdog has it, and its file.
func (m *machine) leave(time.Time, event) []action {
	m.state, m.up = over, true
	return []action{{kind: end}}
}

// seek looks for the daemon, as often as it takes.
func (m *machine) seek(now time.Time, _ event) []action {
	switch {
	case m.late(now):
		return append([]action{{kind: sayLate}}, m.giveUp(now, event{})...)
	case m.seekAt.IsZero() || now.Before(m.seekAt):
		return nil
	}
	m.seekAt, m.seekEvery = now.Add(m.seekEvery), min(2*m.seekEvery, seekSlow)
	return []action{{kind: seek}}
}

func (m *machine) late(now time.Time) bool { return !m.startBy.IsZero() && !now.Before(m.startBy) }

// detached takes the end of the process that was started. A daemon is what it
// leaves behind when all went well.
func (m *machine) detached(now time.Time, e event) []action {
	m.gone, m.status = true, e.status
	if e.status.ExitStatus() != 0 {
		return m.giveUp(now, e)
	}
	m.seekAt, m.seekEvery = now, seekFast
	return []action{{kind: seek}}
}

// keep has signals wait for the daemon.
func (m *machine) keep(now time.Time, e event) []action {
	if e.had {
		return nil
	}
	m.kept = append(m.kept, e) // what started it may be at its end
	if m.gone {
		return nil
	}
	return m.forward(now, e)
}

// follow goes on with the daemon.
func (m *machine) follow(now time.Time, _ event) []action {
	m.state, m.gone = running, false
	actions := m.comeUp()
	for _, e := range m.kept {
		actions = append(actions, m.forward(now, e)...)
	}
	m.kept = nil
	return actions
}

// giveUp stops what has not come up, and all that came of it.
func (m *machine) giveUp(now time.Time, _ event) []action {
	m.gaveUp, m.startBy = true, time.Time{}
	var actions []action
	if !m.wantsRestart() {
		actions = m.unwatch()
	}
	if m.state == finding {
		m.gone, m.state = true, sweeping
		return append(actions, action{kind: survey})
	}
	m.state = stopping
	return append(actions, m.step(now, event{})...)
}

// fail is for a start that has not become a run. Of a restart it is an end like
// others.
func (m *machine) fail(now time.Time, e event) []action {
	if m.runs > 0 {
		m.status = e.status
		return m.close(now, e)
	}
	m.state = over
	actions := m.unwatch()
	if actions != nil { // the file is there, and names pidleash
		actions = append(actions, action{kind: removeFile})
	}
	return append(actions, action{kind: end})
}

// forward passes a signal on, as -rewrite says.
func (m *machine) forward(_ time.Time, e event) []action {
	sig, rewritten := m.rewrite[e.signal]
	if !rewritten {
		sig = e.signal
	}
	if sig == 0 {
		return nil
	}
	switch e.signal {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		m.ending = true
	}
	if e.had || m.gone && m.state != sweeping {
		return nil // there, only the stop command is left
	}
	actions := []action{{kind: kill, signal: sig, target: m.target()}}
	if e.signal == syscall.SIGTERM || sig == syscall.SIGTERM {
		actions = append(actions, m.unwatch()...)
	}
	return actions
}

// unwatch ends the watch, when the program has been told to end or has ended:
// then it is most likely the program itself that removes the file. The earlier the
// better, because the kernel takes its time to forget an inotify watch, and a
// process that exits meanwhile has to wait for that.
func (m *machine) unwatch() []action {
	if !m.watching {
		return nil
	}
	m.watching = false
	m.clear()
	return []action{{kind: unwatchFile}}
}

// target is whom a signal reaches now.
func (m *machine) target() target {
	switch {
	case m.gone || m.killMode == plan.KillTree:
		return toTree
	case m.killMode == plan.KillGroup:
		return toGroup
	}
	return toProgram
}

func (m *machine) suspend(_ time.Time, e event) []action {
	return []action{{kind: suspend, signal: e.signal}}
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
	if e.sight == moving {
		return m.lookSoon(now)
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

// lookSoon waits for a new process to write its file: no event will tell of that.
func (m *machine) lookSoon(now time.Time) []action {
	if m.suspectAt.IsZero() {
		m.suspectAt = now
	}
	since := now.Sub(m.suspectAt)
	if since >= movePatience {
		m.clear()
		return m.lost(now, removed)
	}
	m.confirmAt = now.Add(max(moveStep, min(since/10, patienceStep)))
	return nil
}

func (m *machine) clear() { m.suspectAt, m.confirmAt = time.Time{}, time.Time{} }

func (m *machine) sayOnce(said *bool, s sight) []action {
	if *said {
		return nil
	}
	*said = true
	return []action{{kind: say, sight: s}}
}

// lost stops the program because its file is gone for good.
func (m *machine) lost(now time.Time, s sight) []action {
	return m.stopForGood(now, action{kind: say, sight: s, stop: true})
}

// stopProgram begins with the stop command, or with the schedule.
func (m *machine) stopProgram(now time.Time) []action {
	if m.hasCommand {
		m.state, m.stepAt = commanding, m.commandLimit(now)
		return []action{{kind: runCommand}}
	}
	m.state = stopping
	return m.step(now, event{})
}

func (m *machine) lookAgain(now time.Time, _ event) []action {
	if m.late(now) {
		return append([]action{{kind: sayLate}}, m.giveUp(now, event{})...)
	}
	return m.confirmAll(now)
}

// confirmAll looks again at what was suspected, and had time to pass.
func (m *machine) confirmAll(now time.Time) []action {
	var actions []action
	if !m.shutAt.IsZero() && !now.Before(m.shutAt) {
		actions = append(actions, action{kind: lookAtGates})
	}
	if !m.confirmAt.IsZero() && !now.Before(m.confirmAt) {
		actions = append(actions, action{kind: look})
	}
	return actions
}

// commandLimit is when the stop command has taken too long: after the
// schedule's first wait; zero: never.
func (m *machine) commandLimit(now time.Time) time.Time {
	for _, s := range m.schedule {
		if s.Wait > 0 {
			return now.Add(s.Wait)
		}
	}
	return time.Time{}
}

// obey goes on when the stop command has ended.
func (m *machine) obey(now time.Time, _ event) []action {
	m.stepAt = time.Time{}
	if m.gone {
		return m.sweepOrClose(now)
	}
	m.state = stopping
	return m.step(now, event{})
}

// overtake goes on without the stop command.
func (m *machine) overtake(now time.Time, e event) []action {
	if m.stepAt.IsZero() || now.Before(m.stepAt) {
		return m.confirmAll(now)
	}
	return append([]action{{kind: killCommand}}, m.obey(now, e)...)
}

// outlive lets the stop command come to its own end after the program's.
func (m *machine) outlive(_ time.Time, e event) []action {
	m.reaped(e)
	return nil
}

func (m *machine) reaped(e event) {
	m.gone, m.status = true, e.status
	if e.signal != 0 { // ^C, which reached the program only
		m.ending = true
	}
}

// stepOn goes on with the schedule, and with what is suspected meanwhile.
func (m *machine) stepOn(now time.Time, e event) []action {
	return append(m.confirmAll(now), m.step(now, e)...)
}

// step sends the signals that are due. After the last it waits for the
// program's end however long that takes.
func (m *machine) step(now time.Time, _ event) []action {
	if m.atEnd || now.Before(m.stepAt) {
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
			return actions
		}
		m.killed = s.Signal == syscall.SIGKILL
		actions = append(actions, kills(s.Signal, m.target())...)
	}
	m.atEnd = true
	return actions
}

// kills lets a stopped program see the signal: it could not die otherwise.
func kills(sig syscall.Signal, to target) []action {
	first := action{kind: kill, signal: sig, target: to}
	if !plan.NeedsCont(sig) {
		return []action{first}
	}
	return []action{first, {kind: kill, signal: syscall.SIGCONT, target: to}}
}

// finish ends with the program, unless some of its descendants are to be
// stopped first.
func (m *machine) finish(now time.Time, e event) []action {
	m.reaped(e)
	var actions []action
	if !m.wantsRestart() {
		actions = m.unwatch()
	}
	return append(actions, m.sweepOrClose(now)...)
}

// sweepOrClose decides about the descendants. In mode tree they have had what the
// program had of the schedule; in mode mixed it begins anew for them.
func (m *machine) sweepOrClose(now time.Time) []action {
	if !m.sweeps() {
		return m.close(now, event{})
	}
	if m.killMode == plan.KillMixed {
		m.nextStep, m.stepAt, m.atEnd, m.killed = 0, time.Time{}, false, false
	}
	m.state = sweeping
	return []action{{kind: survey}}
}

// sweeps reports that the program's descendants are to be stopped. Of a program that
// has not come up nothing is left behind.
func (m *machine) sweeps() bool {
	stopped := m.byRemoval || m.gaveUp || m.again || (m.background || m.mustComeUp) && !m.up
	return m.killMode == plan.KillTree || m.killMode == plan.KillMixed && stopped
}

// sweep goes on with the schedule. After KILL, a descendant that was forked in
// that moment may be left: it gets the same.
func (m *machine) sweep(now time.Time, e event) []action {
	if m.killed {
		return kills(syscall.SIGKILL, toTree)
	}
	return m.step(now, e)
}

// close is the end of a run, and of pidleash if there is not to be another one.
func (m *machine) close(now time.Time, _ event) []action {
	if m.restarts(now) {
		return m.pause(now)
	}
	m.state = over
	actions := m.unwatch()
	if m.atLimit {
		actions = append(actions, action{kind: sayLimit})
	}
	if m.hasFile {
		actions = append(actions, action{kind: removeFile})
	}
	return append(actions, action{kind: end})
}

func (s sight) String() string {
	return [...]string{"present", "removed", "rewritten", "replaced", "changed", "unfinished", "unknown", "moving"}[s]
}
