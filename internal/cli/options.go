package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"pidleash/internal/atstart"
	"pidleash/internal/plan"
	"pidleash/wrapper"
)

// option is one entry of the command line. Every option can also be set by the
// environment, see envName; the command line replaces that.
type option struct {
	name string
	// set reads a value and puts it in its place. A nil set: the option is of the
	// command line only.
	set func(c *command, value string) error
	// remedy is shown as the hint when set fails.
	remedy string
	// isSwitch: the option takes no value.
	isSwitch bool
	// isList: the option can be given several times, in the environment with one
	// value a line; set is called for each.
	isList bool
	// initial is the value when nobody gives one; empty: set is not called.
	initial string
}

// options lists every option of a start, in the manual's order.
func options() []option {
	return append(messageOptions(), []option{
		pidfileOption(),
		{name: "supervisor-pidfile", set: pathOption(func(c *command) *string { return &c.config.Supervisor })},
		{name: "settle", set: setSettle, remedy: "a number with its unit, such as 500ms", initial: "100ms"},
		stopOption(),
		{name: "stop-command", set: setStopCommand},
		{name: "kill-mode", set: setKillMode, remedy: "process, mixed, group or tree", initial: "mixed"},
		{name: "rewrite", set: setRewrite, remedy: "two signals such as TERM:QUIT, or WINCH:none", isList: true},
		{name: "ignore", set: setIgnore, remedy: "signals such as PIPE,USR1, or none"},
		{name: "success", set: setSuccess, remedy: "codes from 0 to 255, such as 3,140-150"},
		{name: "removed-exit", set: setRemovedExit, remedy: "a code from 0 to 255"},
		{name: "pdeathsig", set: setDeathSignal, remedy: "a signal such as TERM, or none", initial: "KILL"},
		{name: "same-group", set: switchOption(func(c *command) *bool { return &c.config.SameGroup }), remedy: switchRemedy, isSwitch: true},
		{name: "restart", set: setRestart, remedy: "no, on-failure or always", initial: "no"},
		{name: "restart-delay", set: setRestartDelay, remedy: "a number with its unit, such as 500ms", initial: "1s"},
		{name: "restart-limit", set: setRestartLimit, remedy: "a number of restarts and a time, such as 5/1m"},
		{name: "restart-signal", set: setRestartSignal, remedy: "a signal such as HUP"},
		{name: "while", set: pathsOption(func(c *command) *[]string { return &c.config.While }), remedy: "the path of a file", isList: true},
		{name: "while-running", set: pathsOption(func(c *command) *[]string { return &c.config.WhileRunning }), remedy: "the path of a PID file", isList: true},
		{name: "daemon", set: switchOption(func(c *command) *bool { return &c.daemon }), remedy: switchRemedy, isSwitch: true},
		{name: "sidecar", set: switchOption(func(c *command) *bool { return &c.sidecar }), remedy: switchRemedy, isSwitch: true},
		{name: "forking", set: switchOption(func(c *command) *bool { return &c.config.Forking }), remedy: switchRemedy, isSwitch: true},
		{name: "follow", set: pathOption(func(c *command) *string { return &c.config.Follow })},
		{name: "ready", set: setReady, remedy: "exec, a duration such as 2s, notify, fd:3, log, or log:REGEX"},
		{name: "ready-file", set: pathsOption(func(c *command) *[]string { return &c.config.ReadyFiles }), isList: true},
		{name: "start-timeout", set: setStartTimeout, remedy: limitRemedy},
		{name: "stdout", set: pathOption(func(c *command) *string { return &c.config.Stdout })},
		{name: "stderr", set: pathOption(func(c *command) *string { return &c.config.Stderr })},
		{name: "chdir", set: pathOption(func(c *command) *string { return &c.config.Dir })},
		{name: "umask", set: setUmask, remedy: "an octal number such as 027"},
		{name: "user", set: setUser, remedy: "USER or USER:GROUP, by name or number"},
		{name: "nice", set: setNice, remedy: "a number from -20 to 19"},
		{name: "oom-score-adj", set: setOOMScoreAdj, remedy: "a number from -1000 to 1000"},
	}...)
}

// messageOptions come first, wherever they are: they tell how to report mistakes.
func messageOptions() []option {
	return []option{
		{name: "log-level", set: setLogLevel, remedy: "trace, debug, info, warn, error or off", initial: defaultLogLevel},
		{name: "log-format", set: setLogFormat, remedy: "text or json", initial: "text"},
	}
}

func pidfileOption() option {
	return option{name: "pidfile", set: pathOption(func(c *command) *string { return &c.config.PIDFile })}
}

func stopOption() option {
	return option{name: "stop", set: setStop, remedy: "signals and waits in turn, such as " + plan.DefaultSchedule, initial: plan.DefaultSchedule}
}

const (
	switchRemedy = "true or false"
	limitRemedy  = "a number with its unit, such as 90s; 0 is for ever"
)

// given is what the command line says of one option. It is a flag of the parser:
// the library's own types look each name up with a regular expression, several
// times for each option, which is half a millisecond for twenty of them.
type given struct {
	names  []string
	values []string
	// isSwitch: the option takes no value; isList: a further value adds to the
	// ones before, else it replaces them.
	isSwitch, isList bool
}

// Apply, Names and IsSet make it a cli.Flag.
func (g *given) Apply(set *flag.FlagSet) error {
	for _, name := range g.names {
		set.Var(g, name, "")
	}
	return nil
}
func (g *given) Names() []string { return g.names }
func (g *given) IsSet() bool     { return len(g.values) > 0 }

// String, Set and IsBoolFlag make it a flag.Value.
func (g *given) String() string { return "" }
func (g *given) Set(value string) error {
	if !g.isList {
		g.values = nil
	}
	g.values = append(g.values, value)
	return nil
}
func (g *given) IsBoolFlag() bool { return g.isSwitch }

// arguments has what was given for each option, by name.
type arguments map[string]*given

func newArguments(options []option) arguments {
	a := arguments{"help": newSwitch("help", "h")}
	for _, o := range options {
		a[o.name] = &given{names: []string{o.name}, isSwitch: o.isSwitch, isList: o.isList}
	}
	return a
}

func newSwitch(names ...string) *given { return &given{names: names, isSwitch: true} }

// flags is the same for the parser.
func (a arguments) flags() []cli.Flag {
	list := make([]cli.Flag, 0, len(a))
	for _, g := range a {
		list = append(list, g)
	}
	return list
}

const envPrefix = "PIDLEASH_"

// envName is PIDLEASH_LOG_LEVEL for log-level.
func envName(option string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// fill takes the options of a start, and then the program.
func (c *command) fill(given arguments, program []string) error {
	if c.help, c.version = given["help"].IsSet(), given["version"].IsSet(); c.help || c.version {
		return nil
	}
	if err := c.take(options(), given); err != nil {
		return err
	}
	if err := c.check(given); err != nil {
		return err
	}
	if len(program) == 0 {
		return mistake("no program given", "pidleash [OPTION...] [--] PROGRAM [ARG...]")
	}
	c.config.Args = program
	c.config.Env = c.programEnv(atstart.Environ())
	return nil
}

// take gets every option from the command line, else from the environment, else
// its initial value.
func (c *command) take(options []option, given arguments) error {
	for _, o := range options {
		values, source := o.find(given[o.name])
		for _, value := range values {
			if err := o.set(c, value); err != nil {
				return mistake(fmt.Sprintf("%s %q: %v", source, value, err), o.remedy)
			}
		}
	}
	return nil
}

// find returns an option's values and what to call their source in a message. An
// empty variable counts as unset.
func (o *option) find(given *given) (values []string, source string) {
	source = "option -" + o.name
	if given.IsSet() {
		return given.values, source
	}
	for _, name := range o.variables() {
		value := os.Getenv(name)
		switch {
		case value == "":
		case o.isList:
			return strings.Split(strings.TrimSuffix(value, "\n"), "\n"), "variable " + name
		default:
			return []string{value}, "variable " + name
		}
	}
	if o.initial == "" {
		return nil, source
	}
	return []string{o.initial}, source
}

// variables lists the environment variables that set the option, the strongest
// first. systemd exports PIDFILE to units with PIDFile=, systemd.exec(5).
func (o *option) variables() []string {
	if o.name == "pidfile" {
		return []string{envName(o.name), "PIDFILE"}
	}
	return []string{envName(o.name)}
}

func setLogLevel(c *command, value string) error {
	if !validLogLevel(value) {
		return errors.New("no such level")
	}
	c.logLevel = value
	return nil
}

func setLogFormat(c *command, value string) error {
	c.logJSON = value == "json"
	if value != "json" && value != "text" {
		return errors.New("no such format")
	}
	return nil
}

// pathOption is for the path of a file or a directory; empty counts as not given.
// It becomes absolute without being cleaned: "x/../y" leads elsewhere where x is a
// symbolic link.
func pathOption(place func(*command) *string) func(*command, string) error {
	return func(c *command, value string) error {
		if value == "" {
			return nil
		}
		path, err := absolute(value)
		*place(c) = path
		return err
	}
}

func switchOption(place func(*command) *bool) func(*command, string) error {
	return func(c *command, value string) error {
		on, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("neither true nor false")
		}
		*place(c) = on
		return nil
	}
}

func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("cannot tell the current directory: %w", err)
	}
	return strings.TrimSuffix(dir, "/") + "/" + strings.TrimPrefix(path, "./"), nil
}

func setSettle(c *command, value string) (err error) {
	c.config.Settle, err = parseDuration(value)
	return err
}

func setRestart(c *command, value string) error {
	switch value {
	case "no":
		c.config.Restart.Policy = plan.RestartNo
	case "on-failure":
		c.config.Restart.Policy = plan.RestartOnFailure
	case "always":
		c.config.Restart.Policy = plan.RestartAlways
	default:
		return errors.New("no such policy")
	}
	return nil
}

func setRestartDelay(c *command, value string) (err error) {
	c.config.Restart.Delay, err = parseDuration(value)
	return err
}

// setRestartLimit reads "5/1m".
func setRestartLimit(c *command, value string) error {
	left, right, ok := strings.Cut(value, "/")
	if !ok {
		return errors.New("no N/WINDOW")
	}
	limit, err := strconv.Atoi(left)
	if err != nil || limit < 1 {
		return fmt.Errorf("%q is not a number above 0", left)
	}
	window, err := parseDuration(right)
	if err != nil || window == 0 {
		return fmt.Errorf("%q is not a duration above 0", right)
	}
	c.config.Restart.Limit, c.config.Restart.Window = limit, window
	return nil
}

func setRestartSignal(c *command, value string) error {
	sig, err := plan.ParseSignal(value)
	if err != nil {
		return err
	}
	if !wrapper.Forwarded(sig) {
		return fmt.Errorf("%s does not reach pidleash", plan.SignalName(sig))
	}
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		return fmt.Errorf("%s ends the program for good", plan.SignalName(sig))
	}
	c.config.Restart.Signal = sig
	return nil
}

// pathsOption is for an option that can be given several times.
func pathsOption(place func(*command) *[]string) func(*command, string) error {
	return func(c *command, value string) error {
		if value == "" {
			return errors.New("no file")
		}
		path, err := absolute(value)
		*place(c) = append(*place(c), path)
		return err
	}
}

// parseDuration refuses what is negative.
func parseDuration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, errors.New("invalid duration")
	}
	return d, nil
}

func setStop(c *command, value string) (err error) {
	c.config.Stop, err = plan.ParseSchedule(value)
	return err
}

func setStopCommand(c *command, value string) error {
	c.config.StopCommand = value
	return nil
}

func setKillMode(c *command, value string) error {
	switch value {
	case "process":
		c.config.KillMode = plan.KillProcess
	case "mixed":
		c.config.KillMode = plan.KillMixed
	case "group":
		c.config.KillMode = plan.KillGroup
	case "tree":
		c.config.KillMode = plan.KillTree
	default:
		return errors.New("no such mode")
	}
	return nil
}

// setRewrite reads "FROM:TO".
func setRewrite(c *command, value string) error {
	left, right, ok := strings.Cut(value, ":")
	if !ok {
		return errors.New("no FROM:TO")
	}
	from, err := plan.ParseSignal(left)
	if err != nil {
		return err
	}
	if !wrapper.Forwarded(from) {
		return fmt.Errorf("%s is not forwarded", plan.SignalName(from))
	}
	var to syscall.Signal
	if !strings.EqualFold(right, "none") {
		if to, err = plan.ParseSignal(right); err != nil {
			return err
		}
	}
	if _, twice := c.config.Rewrite[from]; twice {
		return fmt.Errorf("%s is rewritten twice", plan.SignalName(from))
	}
	if c.config.Rewrite == nil {
		c.config.Rewrite = map[syscall.Signal]syscall.Signal{}
	}
	c.config.Rewrite[from] = to
	return nil
}

// setIgnore reads "PIPE,USR1".
func setIgnore(c *command, value string) error {
	c.config.Ignored = []syscall.Signal{}
	if strings.EqualFold(value, "none") {
		return nil
	}
	for _, item := range strings.Split(value, ",") {
		sig, err := plan.ParseSignal(item)
		if err != nil {
			return err
		}
		if sig == syscall.SIGKILL || sig == syscall.SIGSTOP {
			return fmt.Errorf("%s cannot be ignored", plan.SignalName(sig))
		}
		c.config.Ignored = append(c.config.Ignored, sig)
	}
	return nil
}

// setSuccess reads "3,140-150".
func setSuccess(c *command, value string) error {
	for _, item := range strings.Split(value, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		from, err1 := parseCode(first)
		to, err2 := parseCode(last)
		if err := errors.Join(err1, err2); err != nil || from > to {
			return fmt.Errorf("%q is neither a code nor a range", item)
		}
		for code := from; code <= to; code++ {
			c.config.Success[code] = true
		}
	}
	return nil
}

func parseCode(text string) (int, error) {
	code, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return 0, errors.New("no exit code")
	}
	return int(code), nil
}

func setRemovedExit(c *command, value string) error {
	code, err := parseCode(value)
	c.config.RemovedExit = &code
	return err
}

func setDeathSignal(c *command, value string) error {
	if value == "none" {
		return nil
	}
	sig, err := plan.ParseSignal(value)
	c.config.DeathSignal = sig
	return err
}

func setReady(c *command, value string) (err error) {
	c.config.Ready, err = plan.ParseReady(value)
	return err
}

// setStartTimeout is for the readiness, and for the -while files only when somebody
// gives it.
func setStartTimeout(c *command, value string) (err error) {
	c.config.StartLimit, err = parseDuration(value)
	c.config.WhileLimit = c.config.StartLimit
	return err
}

func setUmask(c *command, value string) error {
	mask, err := strconv.ParseUint(value, 8, 32)
	if err != nil || mask > 0o777 {
		return errors.New("no umask")
	}
	bits := uint32(mask)
	c.config.Umask = &bits
	return nil
}

func setNice(c *command, value string) (err error) {
	c.config.Nice, err = parseBetween(value, -20, 19)
	return err
}

func setOOMScoreAdj(c *command, value string) (err error) {
	c.config.OOMScoreAdj, err = parseBetween(value, -1000, 1000)
	return err
}

func parseBetween(value string, least, most int) (*int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return nil, errors.New("no such number")
	}
	return &n, nil
}

// programEnv is the environment without what pidleash has consumed: its own
// options, and a PIDFILE that names the file in use. A program that honours
// PIDFILE would become a second writer of that file; but one that turns itself into
// a daemon is welcome to write it. Another user has another home.
func (c *command) programEnv(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if isOptionVariable(name) || name == "PIDFILE" && !c.config.Forking && c.usesFile(value) || c.userEnv[name] != "" {
			continue
		}
		kept = append(kept, entry)
	}
	for _, name := range userVariables {
		if value := c.userEnv[name]; value != "" {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// isOptionVariable reports a variable that sets an option, of a start or of a command.
// The tables are asked only about names that can be one: most starts have none.
func isOptionVariable(name string) bool {
	return strings.HasPrefix(name, envPrefix) &&
		slices.ContainsFunc(slices.Concat(options(), subcommandOptions()), func(o option) bool { return envName(o.name) == name })
}

// usesFile reports that a value of PIDFILE leads to a PID file of this start.
func (c *command) usesFile(value string) bool {
	return namesFile(value, c.config.PIDFile) || namesFile(value, c.config.Supervisor)
}

// namesFile reports that a value of PIDFILE leads to the PID file in use, by
// whatever name of its directory.
func namesFile(value, pidFile string) bool {
	if value == "" || pidFile == "" {
		return false
	}
	path, err := absolute(value)
	if err != nil || filepath.Base(path) != filepath.Base(pidFile) {
		return false
	}
	if path == pidFile {
		return true
	}
	a, err1 := os.Stat(filepath.Dir(path))
	b, err2 := os.Stat(filepath.Dir(pidFile))
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}
