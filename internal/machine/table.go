package machine

// transition is what an event does in a state.
type transition func(*Machine, Event)

// knowsFile has the states in which pidleash looks at the PID file and the conditions. What a look finds
// means the same in all of them.
var knowsFile = [numStates]bool{
	Waiting: true, Rising: true, Answering: true, Parting: true, Running: true,
	Commanding: true, Outliving: true, Stopping: true, Sweeping: true,
}

// looks has the columns that the knowsFile states share.
var looks = [numKinds]transition{
	Present:    trust,
	Rewritten:  adopt,
	Unknown:    ignoreUnknown,
	Changed:    doubtFile,
	Unfinished: doubtFile,
	Removed:    doubtFile,
	Replaced:   doubtFile,
	Moving:     awaitMove,

	ConditionsHold: hold,
	ConditionsFail: doubtConditions,
}

// rule is the transition for an event in a state; nil: none.
func rule(s State, k Kind) transition {
	if f := table[s][k]; f != nil || !knowsFile[s] {
		return f
	}
	return looks[k]
}

// table has every other transition.
//
// Launching has no column for signals: they stay in their channel until Launch is answered. Over has no
// transitions.
var table = [numStates][numKinds]transition{
	Idle: {
		Began:          begin,
		ConditionsHold: hold,
		ConditionsFail: doubtConditions,
	},
	Waiting: {
		LaunchFailed: fail,
		Unready:      breakOff,
		CallerGone:   abandon,
		Asked:        restart,
		Signaled:     endBySignal,
		Ticked:       tick,
	},
	Launching: {
		Launched:     launched,
		LaunchFailed: fail,
		Vanished:     vanish,
	},
	Detaching: {
		Unready:    giveUp,
		CallerGone: abandon,
		Signaled:   forwardAndKeep,
		Ended:      detached,
		Ticked:     tick,
	},
	Finding: {
		Found:      follow,
		Unready:    giveUp,
		CallerGone: abandon,
		Signaled:   keepSignal,
		Ticked:     tick,
	},
	Rising: {
		Ready:      beUp,
		Unready:    giveUp,
		CallerGone: abandon,
		Signaled:   forward,
		Asked:      restart,
		Halted:     suspend,
		Died:       keepPlace,
		Ended:      finishRun,
		Ticked:     tick,
	},
	Answering: {
		CallerGone:   abandon,
		Answered:     leaveCaller,
		Refused:      rise,
		LaunchFailed: fail,
		Signaled:     forward,
		Asked:        keepWish,
		Halted:       suspend,
		Ended:        part,
		Ticked:       tick,
	},
	Parting: {
		Answered:  leaveEnded,
		Refused:   finishParted,
		Signaled:  heed,
		Explained: explain,
		Ticked:    tick,
	},
	Running: {
		Signaled: forward,
		Asked:    restart,
		Halted:   suspend,
		Died:     keepPlace,
		Ended:    finishOrSucceed,
		Ticked:   tick,
	},
	Succeeding: {
		Signaled:    keepSignal,
		Explained:   explain,
		Succeeded:   succeed,
		NoSuccessor: finishParted,
		Ticked:      tick,
	},
	Commanding: {
		Answered:     noteAnswer,
		Signaled:     forward,
		Died:         keepPlace,
		Ended:        outlive,
		CommandEnded: afterCommand,
		Ticked:       tick,
	},
	Outliving: {
		Answered:     noteAnswer,
		Signaled:     heed,
		Explained:    explain,
		CommandEnded: afterCommand,
		Ticked:       tick,
	},
	Stopping: {
		Answered: noteAnswer,
		Signaled: forward,
		Died:     keepPlace,
		Ended:    finishRun,
		Ticked:   tick,
	},
	Sweeping: {
		Answered:  noteAnswer,
		Signaled:  forward,
		Ended:     (*Machine).ended,
		Explained: explain,
		Left:      sweep,
		NoneLeft:  closeRun,
		Ticked:    tick,
	},
	Lingering: {
		Explained: explain,
		Ticked:    tick,
	},
	Closing: {
		Ended:     endClosing,
		Explained: explainAndEnd,
		Ticked:    tick,
	},
}
