package wrapper

import (
	"go/parser"
	"go/token"
	"pidleash/internal/plan"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The whole state machine, beside the picture in machine.go. The first row that
// fits decides; "*" is anything, "a/b" either. Every combination of the first
// eight columns is tried.
//
//	state     waiting: an hour before the program is started again; outliving:
//	          commanding, and the program has ended
//	file      none: no PID file; lost: given up; watched (when waiting or running)
//	mode      the kill mode
//	command   whether there is a stop command
//	deadline  none; ahead; due; old: due, and the file suspect for a second
//	          (in commanding: of the command; in stopping and sweeping: of the next
//	          step, the KILL after 10 s; none: that KILL has been sent)
//	said      the file's being changed and unknown was told before
//
// After the bar: the actions in order, the next state ("=": the same), and what
// else the machine has learned: suspect: a deadline ahead that was not; cleared: the
// deadline is gone; unwatched, watched. ~ is the target of the kill mode.
const machineTable = `
state            event                file       mode                 command  deadline  settle  said | actions                                           next        learned

idle             began                *          *                    *        *         *       *    | spawn                                             starting    -
idle             taken                none       *                    *        *         *       *    | -                                                 running     -
idle             taken                *          *                    *        *         *       *    | watchFile                                         running     watched
idle             *                    *          *                    *        *         *       *    | -                                                 =           -

starting         started              none       *                    *        *         *       *    | -                                                 running     -
starting         started              *          *                    *        *         *       *    | watchFile                                         running     watched
starting         failed               *          *                    *        *         *       *    | end                                               over        -
starting         vanished             none       *                    *        *         *       *    | say:removed:stop,end                              over        -
starting         vanished             *          *                    *        *         *       *    | say:removed:stop,removeFile,end                   over        -
starting         *                    *          *                    *        *         *       *    | -                                                 =           -

finding          found                none       *                    *        *         *       *    | -                                                 running     -
finding          found                *          *                    *        *         *       *    | watchFile                                         running     watched
finding          unready              *          *                    *        *         *       *    | survey                                            sweeping    -
finding          TERM                 *          *                    *        *         *       *    | kill:TERM~                                        =           -
finding          USR1                 *          *                    *        *         *       *    | kill:USR1~                                        =           -
finding          exited               *          *                    *        *         *       *    | seek                                              =           -
finding          *                    *          *                    *        *         *       *    | -                                                 =           -

waiting          failed/unready/TERM  none       *                    *        *         *       *    | end                                               over        -
waiting          failed/unready/TERM  lost       *                    *        *         *       *    | removeFile,end                                    over        -
waiting          failed/unready/TERM  watched    *                    *        *         *       *    | unwatchFile,removeFile,end                        over        unwatched
waiting          shut                 none       *                    *        *         0       *    | sayShut,end                                       over        -
waiting          shut                 lost       *                    *        *         0       *    | sayShut,removeFile,end                            over        -
waiting          shut                 watched    *                    *        *         0       *    | sayShut,unwatchFile,removeFile,end                over        unwatched
waiting          asked                *          *                    *        none      *       *    | spawn                                             starting    -
waiting          asked                *          *                    *        *         *       *    | -                                                 =           -
waiting          readied              *          *                    *        *         *       *    | -                                                 =           -
waiting          handedOver           *          *                    *        *         *       *    | -                                                 =           -
waiting          USR1                 *          *                    *        *         *       *    | -                                                 =           -
waiting          exited               *          *                    *        *         *       *    | -                                                 =           -
waiting          halted               *          *                    *        *         *       *    | -                                                 =           -

running          readied              *          *                    *        *         *       *    | -                                                 =           -
running          unready              none/lost  *                    *        *         *       *    | kill:TERM~,kill:CONT~                             stopping    -
running          unready              watched    *                    *        *         *       *    | unwatchFile,kill:TERM~,kill:CONT~                 stopping    unwatched
running          handedOver           *          *                    *        *         *       *    | end                                               over        -
running          TERM                 none/lost  *                    *        *         *       *    | kill:TERM~                                        =           -
running          TERM                 watched    *                    *        none      *       *    | kill:TERM~,unwatchFile                            =           unwatched
running          TERM                 watched    *                    *        *         *       *    | kill:TERM~,unwatchFile                            =           cleared,unwatched
running          USR1                 *          *                    *        *         *       *    | kill:USR1~                                        =           -
running          exited               none       process/mixed/group  *        *         *       *    | end                                               over        -
running          exited               lost       process/mixed/group  *        *         *       *    | removeFile,end                                    over        -
running          exited               watched    process/mixed/group  *        *         *       *    | unwatchFile,removeFile,end                        over        unwatched
running          exited               none/lost  tree                 *        *         *       *    | survey                                            sweeping    -
running          exited               watched    tree                 *        *         *       *    | unwatchFile,survey                                sweeping    unwatched
running          halted               *          *                    *        *         *       *    | suspend:TSTP                                      =           -
waiting/running  ticked               *          *                    *        due/old   *       *    | look                                              =           -
waiting/running  ticked               *          *                    *        *         *       *    | -                                                 =           -
running          failed               *          *                    *        *         *       *    | -                                                 =           -
running          shut                 none/lost  *                    no       *         0       *    | kill:TERM~,kill:CONT~,sayShut                     stopping    -
running          shut                 watched    *                    no       *         0       *    | kill:TERM~,kill:CONT~,sayShut,unwatchFile         stopping    unwatched
running          shut                 none/lost  *                    yes      *         0       *    | runCommand,sayShut                                commanding  -
running          shut                 watched    *                    yes      *         0       *    | runCommand,sayShut,unwatchFile                    commanding  unwatched
running          asked                *          *                    no       *         *       *    | kill:TERM~,kill:CONT~                             stopping    -
running          asked                *          *                    yes      *         *       *    | runCommand                                        commanding  -

waiting/running  shut                 *          *                    *        none      *       *    | -                                                 =           suspect
waiting/running  shut                 *          *                    *        *         *       *    | -                                                 =           -

waiting/running  began                *          *                    *        *         *       *    | -                                                 =           -
waiting/running  taken                *          *                    *        *         *       *    | -                                                 =           -
waiting/running  started              *          *                    *        *         *       *    | -                                                 =           -
waiting/running  found                *          *                    *        *         *       *    | -                                                 =           -
waiting/running  reported             *          *                    *        *         *       *    | -                                                 =           -
waiting/running  vanished             *          *                    *        *         *       *    | -                                                 =           -
waiting/running  opened               *          *                    *        *         *       *    | -                                                 =           -
waiting/running  commandDone          *          *                    *        *         *       *    | -                                                 =           -
waiting/running  remaining            *          *                    *        *         *       *    | -                                                 =           -
waiting/running  emptied              *          *                    *        *         *       *    | -                                                 =           -

waiting/running  *                    none/lost  *                    *        *         *       *    | -                                                 =           -

waiting/running  present              *          *                    *        none      *       *    | -                                                 =           -
waiting/running  present              *          *                    *        *         *       *    | -                                                 =           cleared
waiting/running  rewritten            *          *                    *        none      *       *    | adoptFile                                         =           -
waiting/running  rewritten            *          *                    *        *         *       *    | adoptFile                                         =           cleared
waiting/running  unknown              *          *                    *        none      *       no   | say:unknown                                       =           -
waiting/running  unknown              *          *                    *        *         *       no   | say:unknown                                       =           cleared
waiting/running  unknown              *          *                    *        none      *       yes  | -                                                 =           -
waiting/running  unknown              *          *                    *        *         *       yes  | -                                                 =           cleared

waiting/running  moving               *          *                    *        *         *       *    | -                                                 =           suspect
waiting/running  *                    *          *                    *        ahead     *       *    | -                                                 =           -
waiting/running  *                    *          *                    *        none      100ms   *    | -                                                 =           suspect
waiting/running  changed              *          *                    *        none      0       no   | say:changed                                       =           -
waiting/running  changed              *          *                    *        *         *       no   | say:changed                                       =           cleared
waiting/running  changed              *          *                    *        none      0       yes  | -                                                 =           -
waiting/running  changed              *          *                    *        *         *       yes  | -                                                 =           cleared
waiting/running  unfinished           *          *                    *        none/due  *       *    | -                                                 =           suspect
waiting          *                    *          *                    *        *         *       *    | say:SIGHT:stop,unwatchFile,removeFile,end         over        unwatched
running          *                    *          *                    no       *         *       *    | kill:TERM~,kill:CONT~,say:SIGHT:stop,unwatchFile  stopping    unwatched
running          *                    *          *                    yes      *         *       *    | runCommand,say:SIGHT:stop,unwatchFile             commanding  unwatched

commanding       TERM                 *          *                    *        *         *       *    | kill:TERM~                                        =           -
commanding       USR1                 *          *                    *        *         *       *    | kill:USR1~                                        =           -
commanding       exited               *          *                    *        *         *       *    | -                                                 outliving   -
commanding       commandDone          *          *                    *        *         *       *    | kill:TERM~,kill:CONT~                             stopping    -
commanding       ticked               *          *                    *        due/old   *       *    | killCommand,kill:TERM~,kill:CONT~                 stopping    -
commanding       *                    *          *                    *        *         *       *    | -                                                 =           -

outliving        commandDone          none       process/group        *        *         *       *    | end                                               over        -
outliving        commandDone          *          process/group        *        *         *       *    | removeFile,end                                    over        -
outliving        commandDone          *          *                    *        *         *       *    | survey                                            sweeping    -
outliving        ticked               none       process/group        *        due/old   *       *    | killCommand,end                                   over        -
outliving        ticked               *          process/group        *        due/old   *       *    | killCommand,removeFile,end                        over        -
outliving        ticked               *          *                    *        due/old   *       *    | killCommand,survey                                sweeping    -
outliving        exited               *          *                    *        *         *       *    | -                                                 =           -
outliving        *                    *          *                    *        *         *       *    | -                                                 =           -

stopping         TERM                 *          *                    *        *         *       *    | kill:TERM~                                        =           -
stopping         USR1                 *          *                    *        *         *       *    | kill:USR1~                                        =           -
stopping         exited               none       process/group        *        *         *       *    | end                                               over        -
stopping         exited               *          process/group        *        *         *       *    | removeFile,end                                    over        -
stopping         exited               *          *                    *        *         *       *    | survey                                            sweeping    -
stopping         ticked               *          *                    *        due/old   *       *    | kill:KILL~                                        =           cleared
stopping         *                    *          *                    *        *         *       *    | -                                                 =           -

sweeping         TERM                 *          *                    *        *         *       *    | kill:TERM:tree                                    =           -
sweeping         USR1                 *          *                    *        *         *       *    | kill:USR1:tree                                    =           -
sweeping         ticked               *          *                    *        due/old   *       *    | kill:KILL:tree                                    =           cleared
sweeping         remaining            *          *                    *        none      *       *    | kill:KILL:tree                                    =           -
sweeping         remaining            *          *                    *        due/old   *       *    | kill:KILL:tree                                    =           cleared
sweeping         emptied              none       *                    *        *         *       *    | end                                               over        -
sweeping         emptied              *          *                    *        *         *       *    | removeFile,end                                    over        -
sweeping         *                    *          *                    *        *         *       *    | -                                                 =           -

over             *                    *          *                    *        *         *       *    | -                                                 =           -
`

// situation is one line of the table's left side.
type situation [8]string

// tableRow is what a line expects, and whether any situation fitted it.
type tableRow struct {
	line                   string
	fits                   [8][]string // nil: anything does
	actions, next, learned string
	used                   bool
}

func (r *tableRow) match(s situation) bool {
	for i, want := range r.fits {
		if want != nil && !slices.Contains(want, s[i]) {
			return false
		}
	}
	return true
}

func parseMachineTable(t *testing.T) []*tableRow {
	var rows []*tableRow
	for _, line := range strings.Split(machineTable, "\n")[2:] {
		if strings.TrimSpace(line) == "" {
			continue
		}
		left, right, _ := strings.Cut(line, "|")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) != 8 || len(r) != 3 {
			t.Fatalf("a row needs eight columns, a bar and three more: %s", line)
		}
		row := &tableRow{line: line, actions: r[0], next: r[1], learned: r[2]}
		for i, want := range l {
			if want != "*" {
				row.fits[i] = strings.Split(want, "/")
			}
		}
		rows = append(rows, row)
	}
	return rows
}

var (
	stateNames = [numStates]string{"idle", "waiting", "starting", "finding", "running", "commanding", "stopping", "sweeping", "over"}
	killModes  = []string{plan.KillMixed: "mixed", plan.KillProcess: "process", plan.KillGroup: "group", plan.KillTree: "tree"}
	eventNames = [numEventKinds]string{"began", "taken", "started", "failed", "found", "readied", "unready", "reported", "handedOver", "signaled", "sighted", "halted", "exited", "ticked",
		"vanished", "opened", "shut", "asked", "commandDone", "remaining", "emptied"}
	noon = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
)

// situations is every combination of the table's left side.
func situations() []situation {
	events := []string{"began", "taken", "started", "failed", "found", "readied", "unready", "reported", "handedOver", "halted", "exited", "ticked",
		"vanished", "opened", "shut", "asked", "commandDone", "remaining", "emptied", "TERM", "USR1"}
	for s := range numSights {
		events = append(events, s.String())
	}
	columns := [8][]string{
		append(stateNames[:], "outliving"),
		events,
		{"none", "lost", "watched"},
		killModes,
		{"no", "yes"},
		{"none", "ahead", "due", "old"},
		{"0", "100ms"},
		{"no", "yes"},
	}
	all := []situation{{}}
	for i, column := range columns {
		var next []situation
		for _, s := range all {
			for _, value := range column {
				s[i] = value
				next = append(next, s)
			}
		}
		all = next
	}
	return all
}

func TestMachineTable(t *testing.T) {
	rows := parseMachineTable(t)
	for _, s := range situations() {
		i := slices.IndexFunc(rows, func(r *tableRow) bool { return r.match(s) })
		if i < 0 {
			t.Errorf("no row fits %v", s)
			continue
		}
		rows[i].used = true
		actions, next, learned := tryMachine(s)
		want := strings.NewReplacer("SIGHT", s[1], "~", targetOf(s[3])).Replace(rows[i].actions)
		wantNext := strings.Replace(rows[i].next, "=", s[0], 1)
		if actions != want || next != wantNext || learned != rows[i].learned {
			t.Errorf("%v:\n got  %s %s %s\n want %s", s, actions, next, learned, rows[i].line)
		}
	}
	for _, r := range rows {
		if !r.used {
			t.Errorf("no situation fits the row: %s", r.line)
		}
	}
}

// tryMachine puts a machine into the situation and lets the event happen.
func tryMachine(s situation) (actions, next, learned string) {
	m := machineIn(s)
	before := *m
	actions = actionText(m.handle(noon, eventOf(s[1])))
	next = stateNames[m.state]
	if m.state == commanding && m.gone {
		next = "outliving"
	}
	return actions, next, learnedText(&before, m)
}

// targetOf is what actionText adds for the target of a kill mode.
func targetOf(mode string) string {
	if mode == "group" || mode == "tree" {
		return ":" + mode
	}
	return ""
}

func machineIn(s situation) *machine {
	m := &machine{
		hasFile:     s[2] != "none",
		killMode:    plan.KillMode(slices.Index(killModes, s[3])),
		hasCommand:  s[4] == "yes",
		saidChanged: s[7] == "yes",
		saidUnknown: s[7] == "yes",
		schedule:    plan.Schedule{{Signal: syscall.SIGTERM}, {Wait: 10 * time.Second}, {Signal: syscall.SIGKILL}},
		gone:        s[0] == "outliving" || s[0] == "sweeping",
	}
	m.settle, _ = time.ParseDuration(s[6])
	if m.state = state(slices.Index(stateNames[:], s[0])); s[0] == "outliving" {
		m.state = commanding
	}
	m.watching = (m.state == waiting || m.state == running) && s[2] == "watched"
	m.byRemoval = m.state == commanding || m.state == stopping
	if m.state > finding || m.state == waiting {
		m.runs, m.spawnAt = 1, backOff
	}
	switch m.state {
	case commanding:
		m.stepAt = stepTimes[s[5]]
	case stopping, sweeping:
		m.setStep(s[5])
	default:
		m.setSuspicion(s[5])
	}
	return m
}

// backOff is when a machine in waiting starts the program again. That is no deadline
// of the table's.
var backOff = noon.Add(time.Hour)

func tableDeadline(m *machine) time.Time {
	if at := m.deadline(); m.state != waiting || at != backOff {
		return at
	}
	return time.Time{}
}

// stepTimes has the deadlines of a schedule, or of the command; none is zero.
var stepTimes = map[string]time.Time{
	"ahead": noon.Add(time.Nanosecond),
	"due":   noon,
	"old":   noon.Add(-time.Hour),
}

// setStep puts the machine behind the TERM of its schedule, or behind its end.
func (m *machine) setStep(deadline string) {
	m.nextStep, m.stepAt = 2, stepTimes[deadline]
	if deadline == "none" {
		m.nextStep, m.atEnd, m.killed = 3, true, true
	}
}

func (m *machine) setSuspicion(deadline string) {
	switch deadline {
	case "ahead":
		m.suspectAt, m.confirmAt = noon, noon.Add(time.Nanosecond)
	case "due":
		m.suspectAt, m.confirmAt = noon.Add(-patience+1), noon
	case "old":
		m.suspectAt, m.confirmAt = noon.Add(-patience), noon
	}
}

// eventOf also reads "exited:3", "exited:KILL", "exited:^C", "failed:127", and "had:INT"
// for a signal that the program has had.
func eventOf(name string) event {
	if sig, ok := strings.CutPrefix(name, "had:"); ok {
		e := eventOf(sig)
		e.had = true
		return e
	}
	if name, status, ok := strings.Cut(name, ":"); ok {
		e := eventOf(name)
		if e.status = statusOf(status); status == "^C" {
			e.signal = syscall.SIGINT
		}
		return e
	}
	if name == "halted" {
		return event{kind: halted, signal: syscall.SIGTSTP}
	}
	if i := slices.Index(eventNames[:], name); i >= 0 {
		return event{kind: eventKind(i)}
	}
	for s := range numSights {
		if s.String() == name {
			return event{kind: sighted, sight: s}
		}
	}
	if sig, err := plan.ParseSignal(name); err == nil {
		return event{kind: signaled, signal: sig}
	}
	panic("no event " + name)
}

func statusOf(text string) syscall.WaitStatus {
	if text == "^C" {
		return statusSignal(syscall.SIGINT)
	}
	if code, err := strconv.Atoi(text); err == nil {
		return statusExit(code)
	}
	sig, err := plan.ParseSignal(text)
	if err != nil {
		panic("no status " + text)
	}
	return statusSignal(sig)
}

// learnedText compares two moments of a machine; the deadline is the one of the
// later moment's state.
func learnedText(before, after *machine) string {
	var words []string
	was, is := tableDeadline(before), tableDeadline(after)
	switch {
	case before.state != after.state:
		// Another state has another deadline; the sequences below look at it.
	case is.IsZero() && !was.IsZero():
		words = append(words, "cleared")
	case !is.IsZero() && is != was && is.After(noon):
		words = append(words, "suspect")
	}
	if before.watching && !after.watching {
		words = append(words, "unwatched")
	}
	if after.watching && !before.watching {
		words = append(words, "watched")
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ",")
}

// actionText writes actions as the table does; "-" is none.
func actionText(actions []action) string {
	if len(actions) == 0 {
		return "-"
	}
	names := [...]string{"spawn", "seek", "await", "tellReady", "handOver", "sayLate", "watchFile", "unwatchFile", "look", "lookAtGates", "adoptFile", "removeFile", "kill", "suspend", "runCommand",
		"killCommand", "survey", "say", "reportUp", "standIn", "tellWaiting", "tellRestart", "sayShut", "sayLimit", "end"}
	var words []string
	for _, a := range actions {
		word := names[a.kind]
		switch {
		case a.kind == kill || a.kind == suspend:
			word += ":" + strings.TrimPrefix(plan.SignalName(a.signal), "SIG") + [...]string{toProgram: "", toGroup: ":group", toTree: ":tree"}[a.target]
		case a.kind == say && a.stop:
			word += ":" + a.sight.String() + ":stop"
		case a.kind == say:
			word += ":" + a.sight.String()
		case a.kind == tellRestart:
			word += ":" + a.wait.String()
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

// play is a machine whose program runs, with a clock of its own.
type play struct {
	t   *testing.T
	m   machine
	now time.Time
}

func playRunning(t *testing.T, settle time.Duration, schedule string) *play {
	t.Helper()
	stop, err := plan.ParseSchedule(schedule)
	if err != nil {
		t.Fatal(err)
	}
	p := &play{t: t, m: machine{hasFile: true, settle: settle, schedule: stop}, now: noon}
	p.happens("began", "spawn")
	p.happens("started", "watchFile")
	p.waits(0)
	return p
}

// happens lets an event happen now and compares the actions.
func (p *play) happens(name, want string) {
	p.t.Helper()
	if got := actionText(p.m.handle(p.now, eventOf(name))); got != want {
		p.t.Fatalf("%v after noon, %s: got %s, want %s", p.now.Sub(noon), name, got, want)
	}
}

func (p *play) later(d time.Duration) { p.now = p.now.Add(d) }

// waits compares the time to the deadline; 0 is no deadline.
func (p *play) waits(want time.Duration) {
	p.t.Helper()
	switch at := p.m.deadline(); {
	case at.IsZero() && want != 0:
		p.t.Fatalf("%v after noon: no deadline, want one in %v", p.now.Sub(noon), want)
	case !at.IsZero() && at.Sub(p.now) != want:
		p.t.Fatalf("%v after noon: deadline in %v, want %v", p.now.Sub(noon), at.Sub(p.now), want)
	}
}

// ticks goes to the deadline, which is that far away.
func (p *play) ticks(wait time.Duration, want string) {
	p.t.Helper()
	p.waits(wait)
	p.later(wait)
	p.happens("ticked", want)
}

func TestMachineConfirmsARemoval(t *testing.T) {
	p := playRunning(t, 100*time.Millisecond, "TERM/10s/KILL")
	p.happens("removed", "-")
	p.later(60 * time.Millisecond)
	p.happens("removed", "-") // a second look does not prolong the wait
	p.ticks(40*time.Millisecond, "look")
	p.happens("removed", "kill:TERM,kill:CONT,say:removed:stop,unwatchFile")
	p.happens("USR1", "kill:USR1") // forwarding goes on
	p.ticks(10*time.Second, "kill:KILL")
	p.waits(0)
	p.happens("exited", "survey")
	p.happens("emptied", "removeFile,end")
	if !p.m.byRemoval {
		t.Error("it is not known that the removal ended the program")
	}
}

func TestMachineBelievesTheLaterLook(t *testing.T) {
	for _, sight := range []string{"present", "rewritten", "unknown"} {
		p := playRunning(t, 100*time.Millisecond, "TERM")
		p.happens("removed", "-")
		p.ticks(100*time.Millisecond, "look")
		p.m.saidUnknown = true
		want := "-"
		if sight == "rewritten" {
			want = "adoptFile"
		}
		p.happens(sight, want)
		p.waits(0)
		p.later(time.Hour)
		p.happens("removed", "-") // a new suspicion has to last as long as the first
		p.waits(100 * time.Millisecond)
	}
}

func TestMachineDecidesAtOnceWithoutSettle(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("replaced", "kill:TERM,kill:CONT,say:replaced:stop,unwatchFile")
}

func TestMachineGivesAnEmptyFileASecond(t *testing.T) {
	for _, settle := range []time.Duration{0, 100 * time.Millisecond} {
		p := playRunning(t, settle, "TERM")
		p.happens("unfinished", "-")
		for p.now.Sub(noon) < patience {
			p.ticks(max(p.m.deadline().Sub(p.now), time.Millisecond), "look")
			if p.now.Sub(noon) < patience {
				p.happens("unfinished", "-")
			}
		}
		p.happens("unfinished", "kill:TERM,kill:CONT,say:unfinished:stop,unwatchFile")
	}
}

func TestMachineAdoptsACompletedFile(t *testing.T) {
	p := playRunning(t, 0, "TERM")
	p.happens("unfinished", "-")
	p.ticks(patienceStep, "look")
	p.happens("rewritten", "adoptFile")
	p.waits(0)
	p.happens("exited", "unwatchFile,removeFile,end")
}

func TestMachineStartsNoScheduleAfterTERM(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("TERM", "kill:TERM,unwatchFile")
	p.waits(0)
	p.happens("removed", "-") // a hint that was under way
	p.happens("TERM", "kill:TERM")
	p.happens("exited", "removeFile,end")
	if p.m.byRemoval {
		t.Error("the program's own clean-up counts as a removal")
	}
}

// Only a TERM says that the program is about to end.
func TestMachineTakesAnotherSignalForNoFarewell(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("USR1", "kill:USR1")
	p.happens("removed", "kill:TERM,kill:CONT,say:removed:stop,unwatchFile")
}

func TestMachineKeepsTheScheduleAfterTERM(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("removed", "kill:TERM,kill:CONT,say:removed:stop,unwatchFile")
	p.later(4 * time.Second)
	p.happens("TERM", "kill:TERM")
	p.ticks(6*time.Second, "kill:KILL")
}

func TestMachineGoesThroughTheSchedule(t *testing.T) {
	p := playRunning(t, 0, "INT/5s/STOP/500ms/CONT/0/TERM/10s/KILL/1s")
	p.happens("removed", "kill:INT,kill:CONT,say:removed:stop,unwatchFile")
	p.ticks(5*time.Second, "kill:STOP")
	p.ticks(500*time.Millisecond, "kill:CONT")
	p.ticks(0, "kill:TERM,kill:CONT")
	p.later(time.Second)
	p.happens("ticked", "-") // a timer that had fired before it was set again
	p.ticks(9*time.Second, "kill:KILL")
	p.ticks(time.Second, "-")
	p.waits(0)
}

func TestMachineMayWaitFirst(t *testing.T) {
	p := playRunning(t, 0, "3s/TERM")
	p.happens("removed", "say:removed:stop,unwatchFile")
	p.ticks(3*time.Second, "kill:TERM,kill:CONT")
	p.waits(0)
}

func TestMachineWaitsForever(t *testing.T) {
	p := playRunning(t, 0, "TERM/forever")
	p.happens("removed", "kill:TERM,kill:CONT,say:removed:stop,unwatchFile")
	p.waits(0)
	p.later(1000 * time.Hour)
	p.happens("ticked", "-")
	p.happens("exited", "survey")
	p.happens("emptied", "removeFile,end")
}

// What is left of the descendants has not had the signals of mode mixed.
func TestMachineSweepsAfterAStop(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("removed", "kill:TERM,kill:CONT,say:removed:stop,unwatchFile")
	p.later(4 * time.Second)
	p.happens("exited", "survey")
	p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
	p.later(time.Second)
	p.happens("remaining", "-") // one has ended, another is left
	p.ticks(9*time.Second, "kill:KILL:tree")
	p.happens("remaining", "kill:KILL:tree") // forked in that moment
	p.waits(0)
	p.happens("emptied", "removeFile,end")
}

func TestMachineGoesOnWithTheTree(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.m.killMode = plan.KillTree
	p.happens("removed", "kill:TERM:tree,kill:CONT:tree,say:removed:stop,unwatchFile")
	p.later(4 * time.Second)
	p.happens("exited", "survey")
	p.happens("remaining", "-")
	p.ticks(6*time.Second, "kill:KILL:tree")
	p.happens("emptied", "removeFile,end")
}

func TestMachineSweepsTheTreeAfterAnEndOfItsOwn(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.m.killMode = plan.KillTree
	p.happens("exited", "unwatchFile,survey")
	p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
	p.happens("emptied", "removeFile,end")
}

func TestMachineAsksTheCommandFirst(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.m.hasCommand = true
	p.happens("removed", "runCommand,say:removed:stop,unwatchFile")
	p.later(3 * time.Second)
	p.waits(7 * time.Second)
	p.happens("commandDone", "kill:TERM,kill:CONT")
	p.ticks(10*time.Second, "kill:KILL")
}

func TestMachineGivesTheCommandTheFirstWait(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.m.hasCommand = true
	p.happens("removed", "runCommand,say:removed:stop,unwatchFile")
	p.ticks(10*time.Second, "killCommand,kill:TERM,kill:CONT")
	p.happens("commandDone", "-")
	p.ticks(10*time.Second, "kill:KILL")
}

func TestMachineRewritesWhatItForwards(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.m.rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGQUIT, syscall.SIGUSR1: 0}
	p.happens("USR1", "-")
	p.happens("TERM", "kill:QUIT,unwatchFile") // still a farewell
	p.happens("removed", "-")

	p = playRunning(t, 0, "TERM/10s/KILL")
	p.m.rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGQUIT}
	p.happens("removed", "kill:TERM,kill:CONT,say:removed:stop,unwatchFile") // not of the schedule
}

func TestMachineSaysChangedAndUnknownOnce(t *testing.T) {
	p := playRunning(t, 0, "TERM")
	p.happens("unknown", "say:unknown")
	p.happens("changed", "say:changed")
	p.happens("present", "-")
	p.happens("unknown", "-")
	p.happens("changed", "-")
	p.waits(0)
	p.happens("exited", "unwatchFile,removeFile,end")
}

// playStarted is a machine whose program has been launched, and is not up yet.
func playStarted(t *testing.T, set func(*machine), actions string) *play {
	t.Helper()
	stop, err := plan.ParseSchedule("TERM/10s/KILL")
	if err != nil {
		t.Fatal(err)
	}
	p := &play{t: t, m: machine{hasFile: true, schedule: stop, limit: 30 * time.Second}, now: noon}
	set(&p.m)
	p.happens("began", "spawn")
	p.happens("started", actions)
	return p
}

func TestMachineTellsThatTheProgramIsReady(t *testing.T) {
	p := playStarted(t, func(m *machine) { m.awaits = true }, "watchFile,await")
	p.waits(30 * time.Second)
	p.later(time.Second)
	p.happens("readied", "tellReady")
	p.waits(0)
	p.happens("exited", "unwatchFile,removeFile,end")
}

func TestMachineGivesUpAfterTheStartTimeout(t *testing.T) {
	p := playStarted(t, func(m *machine) { m.awaits = true }, "watchFile,await")
	p.ticks(30*time.Second, "sayLate,unwatchFile,kill:TERM,kill:CONT")
	p.happens("readied", "-") // too late
	p.ticks(10*time.Second, "kill:KILL")
	p.happens("exited", "survey") // nothing that came of it stays
	p.happens("emptied", "removeFile,end")
}

func TestMachineConfirmsWhileItWaits(t *testing.T) {
	p := playStarted(t, func(m *machine) { m.awaits, m.settle = true, time.Minute }, "watchFile,await")
	p.happens("removed", "-")
	p.ticks(30*time.Second, "sayLate,unwatchFile,kill:TERM,kill:CONT") // the earlier deadline
}

func TestMachineHandsOver(t *testing.T) {
	p := playStarted(t, func(m *machine) { m.background = true }, "watchFile,unwatchFile,handOver")
	p.waits(0)
	p.happens("handedOver", "end")
	if !p.m.up {
		t.Error("it is not known that the program is up")
	}
}

func TestMachineCannotHandOver(t *testing.T) {
	p := playStarted(t, func(m *machine) { m.background, m.awaits = true, true }, "watchFile,await")
	p.happens("readied", "unwatchFile,handOver")
	p.happens("unready", "kill:TERM,kill:CONT")
	p.happens("exited", "survey")
	p.happens("emptied", "removeFile,end")
}

// In the background an end before the program is up is a failure, after which
// nothing is left; in the foreground it is the program's own end.
func TestMachineSweepsAfterAFailedStart(t *testing.T) {
	p := playStarted(t, func(m *machine) { m.background, m.awaits = true, true }, "watchFile,await")
	p.happens("exited", "unwatchFile,survey")
	p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
	p.happens("emptied", "removeFile,end")

	p = playStarted(t, func(m *machine) { m.awaits = true }, "watchFile,await")
	p.happens("exited", "unwatchFile,removeFile,end")
}

func TestMachineFollowsADaemon(t *testing.T) {
	p := playStarted(t, func(m *machine) { m.forking = true }, "-")
	p.happens("removed", "-") // nothing is watched yet
	p.happens("ticked", "-")  // what was started has not ended
	p.happens("USR1", "kill:USR1")
	p.happens("exited", "seek")
	p.happens("TERM", "-") // kept: nobody is there to have it
	p.ticks(0, "seek")
	p.ticks(seekFast, "seek")
	p.ticks(2*seekFast, "seek")
	p.happens("found", "watchFile,kill:USR1,kill:TERM,unwatchFile")
	p.happens("exited", "removeFile,end")
}

func TestMachineFindsNoDaemon(t *testing.T) {
	for event, want := range map[string]string{"unready": "survey", "late": "sayLate,survey"} {
		p := playStarted(t, func(m *machine) { m.forking, m.killMode = true, plan.KillProcess }, "-")
		if event == "late" {
			event = "ticked"
			p.later(30 * time.Second)
		}
		p.happens(event, want)
		p.happens("exited", "-") // what was started
		p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
		p.ticks(10*time.Second, "kill:KILL:tree")
		p.happens("emptied", "removeFile,end")
	}
}

func TestMachineTakesAFailureOfTheStarter(t *testing.T) {
	p := playStarted(t, func(m *machine) { m.forking = true }, "-")
	if got := actionText(p.m.handle(p.now, event{kind: exited, status: 3 << 8})); got != "survey" {
		t.Fatalf("got %s, want survey", got)
	}
	p.happens("emptied", "removeFile,end")
}

func TestMachineWaitsForAFileThatIsHandedOver(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("moving", "-")
	p.waits(moveStep)
	p.later(movePatience - 1)
	p.happens("moving", "-")
	p.ticks(patienceStep, "look")
	p.happens("moving", "kill:TERM,kill:CONT,say:removed:stop,unwatchFile")

	p = playRunning(t, 0, "TERM/10s/KILL")
	p.happens("moving", "-")
	p.ticks(moveStep, "look")
	p.happens("rewritten", "adoptFile")
	p.waits(0)
}

func TestMachineHasNoFile(t *testing.T) {
	p := &play{t: t, now: noon}
	p.happens("began", "spawn")
	p.happens("started", "-")
	p.happens("TERM", "kill:TERM")
	p.happens("exited", "end")
}

// The machine decides; who touches processes, files and clocks is the loop.
// Otherwise no test could try every sequence.
func TestMachineImportsNothing(t *testing.T) {
	for _, name := range []string{"machine.go", "restart.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			if path := spec.Path.Value; path != `"time"` && path != `"syscall"` && path != `"pidleash/internal/plan"` {
				t.Errorf("%s imports %s: only time, syscall and the plan keep it pure", name, path)
			}
		}
	}
}

// statusExit and statusSignal are what wait(2) reports, in the kernel's form.
func statusExit(code int) syscall.WaitStatus { return syscall.WaitStatus(code << 8) }

func statusSignal(sig syscall.Signal) syscall.WaitStatus { return syscall.WaitStatus(sig) }
