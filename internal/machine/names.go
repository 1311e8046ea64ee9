package machine

// The names are those of docs/states.md, for a trace.
var (
	stateWords = [numStates]string{
		"idle", "waiting", "launching", "detaching", "finding", "rising", "answering", "parting", "running",
		"draining", "succeeding", "commanding", "outliving", "stopping", "sweeping", "remaining", "lingering",
		"closing", "over",
	}
	kindWords = [numKinds]string{
		"began", "conditions hold", "conditions fail", "launched", "launch failed", "vanished", "found", "ready",
		"unready", "probed", "answered", "refused", "caller gone", "signaled", "asked", "present", "removed",
		"moving", "rewritten", "replaced", "changed", "unfinished", "unknown", "halted", "died", "ended", "explained",
		"succeeded", "no successor", "command ended", "left", "none left", "ticked",
	}
	doWords = [numDos]string{
		"launch", "seek", "seek successor", "await", "kill probe", "answer", "report ready", "late", "watch",
		"unwatch", "look", "look at conditions", "adopt", "placeholder", "linger", "remove", "kill", "suspend",
		"run command", "kill command", "survey", "report", "end",
	}
)

// String is the state's name: for a trace, not for a decision.
func (m *Machine) String() string { return stateWords[m.state] }

func (k Kind) String() string { return kindWords[k] }

func (d Do) String() string { return doWords[d] }
