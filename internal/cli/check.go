package cli

import (
	"pidleash/internal/plan"
	"slices"
)

// check refuses what cannot mean anything together. Variables are spared where they
// would only be without effect: they may be set for many programs.
func (c *command) check(given arguments) error {
	switch {
	case c.daemon && c.sidecar:
		return mistake("-daemon and -sidecar: the program is either in the background or in this process", "leave one of them out")
	case c.sidecar && c.config.Forking:
		return mistake("-sidecar and -forking: a program that goes to the background does not stay in this process", "-daemon -forking")
	case c.daemon:
		c.config.Way = plan.Daemon
	case c.sidecar:
		c.config.Way = plan.Sidecar
	}
	if c.config.SameGroup && c.config.KillMode == plan.KillGroup {
		return mistake("-kill-mode group and -same-group: the signals would reach pidleash itself", "leave one of them out")
	}
	if c.config.Ready.Kind == plan.ReadyLog && c.config.Stdout == "" && c.config.Stderr == "" && len(c.config.ReadyFiles) == 0 {
		return mistake("-ready log: there is no log to look at", "-stdout FILE, -stderr FILE or -ready-file FILE")
	}
	if err := c.checkRestart(); err != nil {
		return err
	}
	if path := c.sharedPath(); path != "" {
		return mistake("file "+path+" is given for two purposes", "name two files")
	}
	for _, rule := range c.rules() {
		for _, name := range rule.options {
			if rule.applies && given[name].IsSet() {
				return mistake("option -"+name+" "+rule.reason, rule.hint)
			}
		}
	}
	return c.checkBeside()
}

// sharedPath is a PID file that is meant to be something else, too.
func (c *command) sharedPath() string {
	config := &c.config
	for _, path := range []string{config.PIDFile, config.Supervisor} {
		if path != "" && (path == config.Stdout || path == config.Stderr || slices.Contains(config.While, path) || slices.Contains(config.WhileRunning, path)) {
			return path
		}
	}
	if config.PIDFile == config.Supervisor {
		return config.PIDFile
	}
	return ""
}

// checkRestart is about a parent that stays.
func (c *command) checkRestart() error {
	config := &c.config
	var name string
	switch {
	case config.Restart.Policy != plan.RestartNo:
		name = "-restart"
	case config.Restart.Signal != 0:
		name = "-restart-signal"
	case len(config.While) > 0:
		name = "-while"
	case len(config.WhileRunning) > 0:
		name = "-while-running"
	default:
		return nil
	}
	if _, twice := config.Rewrite[config.Restart.Signal]; twice {
		return mistake("-rewrite and -restart-signal are about the same signal", "name two signals")
	}
	switch {
	case c.sidecar:
		return mistake(name+" and -sidecar: the program has taken over the process that would start it", "leave one of them out")
	case config.Forking:
		return mistake(name+" and -forking: the PID file would have to name pidleash while the program looks for it", "leave -forking out, and have the program stay in the foreground")
	}
	return nil
}

// checkBeside is about a watchdog beside the program.
func (c *command) checkBeside() error {
	if c.config.Way == plan.Foreground || c.config.Stays() {
		return nil
	}
	mode := "-daemon"
	if c.sidecar {
		mode = "-sidecar"
	}
	switch {
	case c.sidecar && c.config.PIDFile == "":
		return mistake("-sidecar is about a PID file, and there is none", "-pidfile FILE")
	case c.config.KillMode == plan.KillTree:
		return mistake("-kill-mode tree and "+mode+": a watchdog beside the program does not learn of all its descendants", "-kill-mode mixed; in a unit, systemd knows them all")
	case c.config.SameGroup:
		return mistake("-same-group and "+mode+": the program is not beside pidleash", "leave one of them out")
	}
	return nil
}

// rule refuses options that would have no effect.
type rule struct {
	applies      bool
	options      []string
	reason, hint string
}

func (c *command) rules() []rule {
	config := &c.config
	noGate := len(config.While) == 0 && len(config.WhileRunning) == 0
	noFile, beside := config.PIDFile == "", config.Way != plan.Foreground && !config.Stays()
	return []rule{
		{noFile && noGate, []string{"settle", "removed-exit"}, "is about the removal of the PID file, and there is none", "-pidfile FILE"},
		{noFile && noGate && config.Restart.Signal == 0, []string{"stop-command"}, "is about the removal of the PID file, and there is none", "-pidfile FILE"},
		{noFile && config.KillMode != plan.KillTree && !config.Forking && !config.Ready.Given && noGate && config.Restart.Signal == 0, []string{"stop"}, "is about the removal of the PID file, and there is none", "-pidfile FILE"},
		{noFile && beside, []string{"supervisor-pidfile"}, "is about the watchdog, and without a PID file there is none", "-pidfile FILE"},
		{beside, []string{"success", "removed-exit"}, "is about pidleash's own end, and the program is the service manager's", "SuccessExitStatus= in a unit"},
		{beside, []string{"rewrite"}, "is about forwarding, and the program gets its signals itself", "leave it out"},
		{beside || config.Forking, []string{"pdeathsig"}, "is about a child, and the program will be none", "leave it out"},
		{!config.Forking, []string{"follow"}, "is about a program that goes to the background", "-forking"},
		{config.Ready.Kind != plan.ReadyLog && !c.daemon, []string{"ready-file"}, "is about -ready log", "-ready log"},
		{c.sidecar, []string{"ready"}, "is without effect with -sidecar: the program speaks for itself", "leave it out"},
		{config.Restart.Policy == plan.RestartNo, []string{"restart-delay", "restart-limit"}, "is about restarts, and there are none", "-restart on-failure"},
		{!c.daemon && !c.sidecar && !config.Forking && !config.Ready.Given && noGate, []string{"start-timeout"}, "is about the program's readiness", "-ready CONDITION"},
	}
}
