// Package cli turns arguments and environment into a plan, and whatever happens into messages and an exit code.
//
// Nothing here exits the process: Main returns the code, or does not return because the process ends by the program's
// signal.
package cli

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/internal/signals"
	"pidleash/wrapper"
)

// Main is the whole program, given its arguments. It returns the exit code.
func Main(args []string) int {
	if len(args) > 1 {
		if args[1] == helpWord {
			return help(args[2:])
		}
		if sub := subcommandNamed(args[1]); sub != nil {
			return sub.main(args[2:])
		}
	}
	source := signals.Catch()
	cmd, err := parse(args[1:])
	log := newLog(cmd.logLevel, cmd.logJSON)
	defer log.flush()
	switch {
	case err != nil:
		return log.fail(err)
	case cmd.given["help"].isOn():
		return log.print(topic(cmd.files))
	case cmd.given["version"].isOn():
		return log.print(version())
	}
	outcome, err := run(args[0], &cmd.config, source, log)
	if err != nil {
		return cmd.fail(log, err)
	}
	log.flush()
	if outcome.Signal != 0 {
		signals.Die(outcome.Signal) // it returns in process 1
	}
	return outcome.Code
}

// run carries out the plan. Argument 0 of a second start of the binary has its part and the descriptor of its link.
func run(name string, p *plan.Plan, source *signals.Source, log *log) (plan.Outcome, error) {
	part, number, _ := strings.Cut(name, ":")
	if fd, err := strconv.Atoi(number); err == nil {
		switch part {
		case plan.WatchdogName, plan.SupervisorName:
			return wrapper.Keep(p, source, log, fd)
		case plan.StarterName:
			return plan.Outcome{}, wrapper.StandBy(p, source, log, fd)
		}
	}
	warnVariables(log)
	return wrapper.Run(p, source, log)
}

// Version and commit as the Makefile has them, which sets these by -X; empty: it knows nothing.
var builtVersion, builtCommit string

// version is the line of -version. What the Makefile does not know the Go command may: it asks git, too.
func version() string {
	version, commit := builtVersion, builtCommit
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(version, strings.Trim(info.Main.Version, "()")) // (devel)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = cmp.Or(commit, s.Value)
			}
		}
	}
	return "pidleash " + cmp.Or(version, "devel") + " (commit " + cmp.Or(commit, "unknown") + ", " + runtime.Version() + ")\n"
}

// print writes what was asked for to standard output: no program runs.
func (l *log) print(text string) int {
	if _, err := os.Stdout.WriteString(text); err != nil {
		return l.fail(err)
	}
	return 0
}

// fail reports in one line why pidleash ends, and returns the exit code.
func (l *log) fail(err error) int {
	l.Error(withHint(err))
	return fault.Code(err)
}

func withHint(err error) string {
	if hint := fault.Hint(err); hint != "" {
		return err.Error() + "; hint: " + hint
	}
	return err.Error()
}

// fail reports why the program was not started, or did not come up, and returns the exit code. With
// -already-running-exit 0 a program that already runs is no error.
func (c *command) fail(l *log, err error) int {
	switch err = c.explain(err); {
	case c.heldExit == nil || !fault.IsHeld(err):
		return l.fail(err)
	case *c.heldExit == 0:
		l.Info(withHint(err))
	default:
		l.Error(withHint(err))
	}
	return *c.heldExit
}

// The defaults of -start-timeout and -settle, and of the latter for a file that a daemon has written itself.
const (
	defaultStartLimit = 30 * time.Second
	defaultSettle     = 100 * time.Millisecond
	defaultOwnSettle  = time.Second
)

// command is what was asked for.
type command struct {
	given           map[string]*given // by the option's name
	daemon, sidecar bool
	userEnv         map[string]string // of -user, by name
	heldExit        *int              // the code when another process holds the PID file; nil: fault.Held
	logLevel        string
	logJSON         bool
	config          plan.Plan

	// Of the subcommands.
	files   []string // beside -h: what it is to be about
	signal  syscall.Signal
	json    bool
	running bool          // the state of -until
	timeout time.Duration // 0: none
}

// parse reads the command line and the environment of a start.
func parse(args []string) (*command, error) {
	c := newCommand(options)
	c.config.CommandLine = args
	c.given["version"] = &given{names: []string{"version"}, isSwitch: true}
	return c, c.parse(options, args, "pidleash -h all", c.fill)
}

func newCommand(options []option) *command {
	help := &given{names: []string{"help", "h"}, isSwitch: true}
	c := &command{given: map[string]*given{"help": help}, logLevel: defaultLogLevel}
	c.config.StartLimit, c.config.Settle, c.config.OwnSettle = defaultStartLimit, defaultSettle, defaultOwnSettle
	for _, o := range options {
		c.given[o.name] = &given{names: []string{o.name}, isSwitch: o.isSwitch()}
	}
	return c
}

// parse takes the options in front and those of the environment, and then does something with the other words. After an
// error, too, the command has the options that say how to report it.
func (c *command) parse(options []option, args []string, hint string, action func(words []string) error) error {
	cli.HelpFlag = nil // or -h prints the library's text instead of the manual
	app := &cli.App{
		Name:            "pidleash",
		HideHelp:        true,
		HideHelpCommand: true,
		HideVersion:     true,
		Compiled:        time.Unix(0, 0), // or the library asks the file system
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			_ = c.take(options[:reporting]) // as far as the words before the mistake tell
			return c.translate(err, hint)
		},
		ExitErrHandler: func(*cli.Context, error) {}, // the default exits
		Action: func(ctx *cli.Context) error {
			if c.given["help"].isOn() || c.given["version"].isOn() {
				c.files = ctx.Args().Slice()
				return nil
			}
			if err := c.take(options); err != nil {
				return err
			}
			return action(ctx.Args().Slice())
		},
	}
	for _, g := range c.given {
		app.Flags = append(app.Flags, g)
	}
	return app.Run(append([]string{"pidleash"}, args...))
}
