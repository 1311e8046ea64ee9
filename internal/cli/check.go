package cli

import (
	"slices"
	"syscall"

	"pidleash/internal/plan"
)

// check refuses options that contradict each other or would have no effect. A variable may be without effect: it may be
// set for many programs.
func (c *command) check() error {
	switch {
	case c.daemon:
		c.config.Way = plan.Daemon
	case c.sidecar:
		c.config.Way = plan.Sidecar
	}
	for _, rule := range c.rules() {
		switch {
		case !rule.applies:
			continue
		case rule.options == nil:
			return mistake(rule.reason, rule.hint)
		}
		for _, name := range rule.options {
			if c.given[name].IsSet() {
				return mistake("option -"+name+" "+rule.reason, rule.hint)
			}
		}
	}
	return nil
}

// rule refuses options that would have no effect; without options, it refuses the whole.
type rule struct {
	applies      bool
	options      []string
	reason, hint string
}

const leaveOne = "leave one of them out"

// rules returns every rule, in the order in which check reports the mistakes.
func (c *command) rules() []rule {
	const giveFile = "-pidfile FILE"
	const noRemoval = "is about the removal of the PID file, and there is none"
	config, stays, shared := &c.config, c.stayOption(), c.sharedPath()
	beside, sidecar, forking := config.Beside(), c.sidecar, config.Forking
	ready, restart := config.Ready, config.Restart
	noFile, noCondition := config.PIDFile == "", !config.Conditional()
	unstopped := noFile && noCondition && restart.Signal == 0
	noLog := config.Stdout == "" && config.Stderr == "" && len(config.ReadyFiles) == 0
	_, rewritten := config.Rewrite[restart.Signal]
	to, rewritesTerm := config.Rewrite[syscall.SIGTERM]
	dropsTerm := rewritesTerm && to == 0
	return append([]rule{
		{c.daemon && sidecar, nil,
			"-daemon and -sidecar: the program is either in the background or in this process", leaveOne},
		{sidecar && forking, nil,
			"-sidecar and -forking: a program that goes to the background does not stay in this process",
			"-daemon -forking"},
		{config.SameGroup && config.KillMode == plan.KillGroup, nil,
			"-kill-mode group and -same-group: the signals would reach pidleash itself", leaveOne},
		{ready.Kind == plan.ReadyLog && noLog, nil,
			"-ready log: there is no log to look at", "-stdout FILE, -stderr FILE or -ready-file FILE"},
		{rewritten, nil, "-rewrite and -restart-signal are about the same signal", "name two signals"},
		{sidecar && stays != "", nil,
			stays + " and -sidecar: the program has taken over the process that would start it", leaveOne},
		{forking && stays != "", nil,
			stays + " and -forking: the PID file would have to name pidleash while the program looks for it",
			"leave -forking out, and have the program stay in the foreground"},
		{shared != "", nil, "file " + shared + " is given for two purposes", "name two files"},
		{noFile && noCondition, []string{"settle", "removed-exit"}, noRemoval, giveFile},
		{unstopped, []string{"stop-command"}, noRemoval, giveFile},
		{unstopped && config.KillMode != plan.KillTree && !forking && !ready.Given, []string{"stop"},
			noRemoval, giveFile},
		{noFile && config.Supervisor == "", []string{"already-running-exit"},
			"is about the PID file, and there is none", giveFile},
		{noFile && beside, []string{"supervisor-pidfile"},
			"is about the watchdog, and without a PID file there is none", giveFile},
		{beside, []string{"success", "removed-exit"},
			"is about pidleash's own end, and the program is the service manager's", "SuccessExitStatus= in a unit"},
		{beside, []string{"rewrite", "drain"}, "is about forwarding, and the program gets its signals itself", "leave it out"},
		{dropsTerm, []string{"drain"}, "is about TERM, and -rewrite drops it", leaveOne},
		{beside, []string{"wait-all"}, "is about pidleash's own end, and the program is the service manager's", "leave it out"},
		{forking, []string{"wait-all"}, "is about a program that stays in the foreground", leaveOne},
		{config.KillMode == plan.KillTree, []string{"wait-all"}, "waits for those whom -kill-mode tree stops", leaveOne},
		{beside || forking, []string{"pdeathsig"}, "is about a child, and the program will be none", "leave it out"},
		{!forking, []string{"follow"}, "is about a program that goes to the background", "-forking"},
		{ready.Kind != plan.ReadyLog && !c.daemon, []string{"ready-file"}, "is about -ready log", "-ready log"},
		{sidecar, []string{"ready"}, "is without effect with -sidecar: the program speaks for itself", "leave it out"},
		{restart.Policy == plan.RestartNo, []string{"restart-delay", "restart-limit"},
			"is about restarts, and there are none", "-restart on-failure"},
		{config.Way == plan.Foreground && !forking && !ready.Given && noCondition, []string{"start-timeout"},
			"is about the program's readiness", "-ready CONDITION"},
		{sidecar && noFile, nil, "-sidecar is about a PID file, and there is none", giveFile},
	}, c.besideRules()...)
}

// besideRules are about a program that is not pidleash's child.
func (c *command) besideRules() []rule {
	mode, beside := "-daemon", c.config.Beside()
	if c.sidecar {
		mode = "-sidecar"
	}
	return []rule{
		{beside && c.config.KillMode == plan.KillTree, nil,
			"-kill-mode tree and " + mode + ": a watchdog beside the program does not learn of all its descendants",
			"-kill-mode mixed; in a unit, systemd knows them all"},
		{beside && c.config.SameGroup, nil, "-same-group and " + mode + ": the program is not beside pidleash", leaveOne},
	}
}

// stayOption is one for which pidleash must stay the program's parent; empty: there is none.
func (c *command) stayOption() string {
	switch config := &c.config; {
	case config.Restart.Policy != plan.RestartNo:
		return "-restart"
	case config.Restart.Signal != 0:
		return "-restart-signal"
	case len(config.While) > 0:
		return "-while"
	case len(config.WhileRunning) > 0:
		return "-while-running"
	}
	return ""
}

// sharedPath is a PID file that is meant to be something else, too; empty: there is none.
func (c *command) sharedPath() string {
	config := &c.config
	paths := []string{config.PIDFile, config.Supervisor, config.Stdout, config.Stderr}
	paths = slices.Concat(paths, config.While, config.WhileRunning)
	for i, path := range paths[:2] {
		if path != "" && slices.Contains(paths[i+1:], path) {
			return path
		}
	}
	return ""
}
