package machine

// transition is what an event does in some states.
type transition func(*Machine, Event)

// states is a set of states: bit s is State s.
type states uint32

func (set states) has(s State) bool { return set>>s&1 != 0 }

// knowsFile has the states in which pidleash looks at the PID file and the conditions. What a look finds
// means the same in all of them.
const knowsFile states = 1<<Waiting | 1<<Rising | 1<<Answering | 1<<Parting | 1<<Running | 1<<Draining |
	1<<Commanding | 1<<Outliving | 1<<Stopping | 1<<Sweeping | 1<<Remaining

// rule is the transition for an event in a state; nil: none.
func rule(s State, k Kind) transition {
	for _, row := range table[k] {
		if row.in.has(s) {
			return row.transition
		}
	}
	return nil
}

// table has every transition. Launching has none for signals: they stay in their channel until Launch is answered.
var table = [numKinds][]struct {
	transition
	in states
}{
	Began:          {{begin, 1 << Idle}},
	ConditionsHold: {{hold, 1<<Idle | knowsFile}},
	ConditionsFail: {{doubtConditions, 1<<Idle | knowsFile}},
	Launched:       {{launched, 1 << Launching}},
	LaunchFailed:   {{fail, 1<<Waiting | 1<<Launching | 1<<Answering}},
	Vanished:       {{vanish, 1 << Launching}},
	Found:          {{follow, 1<<Detaching | 1<<Finding}},
	Ready:          {{beUp, 1 << Rising}},
	Unready:        {{giveUp, 1<<Waiting | 1<<Detaching | 1<<Finding | 1<<Rising}},
	Probed:         {{probed, 1 << Rising}},
	Answered: {{leaveCaller, 1<<Answering | 1<<Parting |
		1<<Commanding | 1<<Outliving | 1<<Stopping | 1<<Sweeping}},
	Refused: {
		{rise, 1 << Answering},
		{finishRun, 1 << Parting},
	},
	CallerGone: {{abandon, 1<<Waiting | 1<<Detaching | 1<<Finding | 1<<Rising | 1<<Answering}},
	Signaled: {
		{endBySignal, 1 << Waiting},
		{keepSignal, 1<<Detaching | 1<<Finding | 1<<Succeeding},
		{drain, 1<<Running | 1<<Draining},
		{forward, 1<<Rising | 1<<Answering | 1<<Commanding | 1<<Stopping | 1<<Sweeping | 1<<Remaining},
		{heed, 1<<Parting | 1<<Outliving},
	},
	Asked:      {{restart, 1<<Waiting | 1<<Rising | 1<<Answering | 1<<Running | 1<<Remaining}},
	Present:    {{trust, knowsFile}, {seekSuccessor, 1 << Succeeding}},
	Rewritten:  {{trust, knowsFile}, {seekSuccessor, 1 << Succeeding}},
	Unknown:    {{trust, knowsFile}},
	Changed:    {{doubtFile, knowsFile}},
	Unfinished: {{doubtFile, knowsFile}},
	Removed:    {{doubtFile, knowsFile}, {leave, 1 << Lingering}},
	Replaced:   {{doubtFile, knowsFile}, {seekSuccessor, 1 << Succeeding}, {leave, 1 << Lingering}},
	Moving:     {{awaitMove, knowsFile}},
	Halted:     {{suspend, 1<<Rising | 1<<Answering | 1<<Running | 1<<Draining}},
	Died:       {{keepPlace, 1<<Rising | 1<<Running | 1<<Draining | 1<<Commanding | 1<<Stopping}},
	Ended: {
		{detached, 1 << Detaching},
		{part, 1 << Answering},
		{finishRun, 1<<Rising | 1<<Running | 1<<Draining | 1<<Stopping},
		{outlive, 1 << Commanding},
		{record, 1 << Sweeping},
		{endClosing, 1 << Closing},
	},
	Explained: {
		{record, 1<<Parting | 1<<Succeeding | 1<<Outliving | 1<<Sweeping | 1<<Remaining | 1<<Lingering},
		{endClosing, 1 << Closing},
	},
	Succeeded:    {{follow, 1 << Succeeding}},
	NoSuccessor:  {{finishRun, 1 << Succeeding}},
	CommandEnded: {{afterCommand, 1<<Commanding | 1<<Outliving}},
	Left:         {{sweep, 1 << Sweeping}},
	NoneLeft:     {{closeRun, 1<<Sweeping | 1<<Remaining}},
	Ticked:       {{tick, knowsFile | 1<<Detaching | 1<<Finding | 1<<Succeeding | 1<<Lingering | 1<<Closing}},
}
