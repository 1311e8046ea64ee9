package cli

import (
	"cmp"
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

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/atstart"
	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/internal/signals"
)

// given is what the command line has for one option. It is a flag of the parser: the library's own types look each
// name up with a regular expression, several times for each option, which is half a millisecond for twenty of them.
type given struct {
	names    []string
	values   []string
	isSwitch bool // it takes no value
}

// Apply, Names and IsSet make it a cli.Flag.
func (g *given) Apply(set *flag.FlagSet) error {
	for _, name := range g.names {
		set.Var(g, name, "")
	}
	return nil
}
func (g *given) Names() []string { return g.names }
func (g *given) IsSet() bool     { return g != nil && len(g.values) > 0 }

// isOn reports whether a switch is given, and is not switched off by "=false". The library sets a switch that has two
// names twice.
func (g *given) isOn() bool {
	if !g.IsSet() {
		return false
	}
	on, err := strconv.ParseBool(g.values[0])
	return on || err != nil
}

// String, Set and IsBoolFlag make it a flag.Value.
func (g *given) String() string { return "" }
func (g *given) Set(value string) error {
	g.values = append(g.values, value)
	return nil
}
func (g *given) IsBoolFlag() bool { return g.isSwitch }

const envPrefix = "PIDLEASH_"

// envName is PIDLEASH_LOG_LEVEL for log-level.
func envName(option string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// fill checks the options of a start, and takes the program.
func (c *command) fill(program []string) error {
	if err := c.check(); err != nil {
		return err
	}
	if len(program) == 0 {
		return mistake("no program given", "pidleash [OPTION...] [--] PROGRAM [ARG...]")
	}
	if err := c.checkSwitch(program); err != nil {
		return err
	}
	c.config.Args = program
	c.config.Env = c.programEnv(atstart.Environ())
	return nil
}

// take gets every option from the command line, else from the environment, else its initial value.
func (c *command) take(options []option) error {
	for _, o := range options {
		given := c.given[o.name]
		for _, value := range given.values {
			if next := c.optionIn(value); next != "" {
				return mistake("option -"+o.name+" needs a value in front of "+next, "-"+o.name+" "+o.value)
			}
		}
		values, source := o.find(given)
		if len(values) == 0 && given.IsSet() {
			return mistake(source+" \"\": no value, and none in a variable", cmp.Or(o.hint(), "-"+o.name+" "+o.value+", or leave it out"))
		}
		for _, value := range values {
			if err := o.set(c, value); err != nil {
				return mistake(fmt.Sprintf("%s %q: %v", source, value, err), cmp.Or(fault.Hint(err), o.hint()))
			}
		}
	}
	return nil
}

// find returns an option's values and what to call their source in a message. An empty value counts as unset; an
// option that is given without any value has none.
func (o *option) find(given *given) (values []string, source string) {
	option := "option -" + o.name
	switch {
	case given.IsSet() && o.isList:
		return given.values, option
	case given.IsSet() && given.values[len(given.values)-1] != "":
		return given.values[len(given.values)-1:], option
	}
	variables := []string{envName(o.name)}
	if o.name == "pidfile" { // systemd exports PIDFILE to units with PIDFile=, systemd.exec(5)
		variables = append(variables, "PIDFILE")
	}
	for _, name := range variables {
		switch value := os.Getenv(name); {
		case value == "":
		case o.isList:
			return strings.Split(strings.TrimSuffix(value, "\n"), "\n"), "variable " + name
		default:
			return []string{value}, "variable " + name
		}
	}
	if o.initial == "" || given.IsSet() {
		return nil, option
	}
	return []string{o.initial}, option
}

func setSettle(c *command, value string) error {
	err := setDuration(&c.config.Settle, value)
	c.config.OwnSettle = c.config.Settle
	return err
}

func setLogLevel(c *command, value string) error {
	if hclog.LevelFromString(value) == hclog.NoLevel {
		return errors.New("no such level")
	}
	c.logLevel = value
	return nil
}

// setChoice puts in its place what a value stands for.
func setChoice[T any](place *T, value, kind string, choices map[string]T) error {
	choice, known := choices[value]
	if !known {
		return errors.New("no such " + kind)
	}
	*place = choice
	return nil
}

func setLogFormat(c *command, value string) error {
	return setChoice(&c.logJSON, value, "format", map[string]bool{"text": false, "json": true})
}

// setPath is for the path of a file or a directory. It becomes absolute without being cleaned: "x/../y" leads
// elsewhere where x is a symbolic link.
func setPath(place *string, value string) (err error) {
	if err := checkExpanded(value); err != nil {
		return err
	}
	*place, err = absolute(value)
	return err
}

// addPath is for an option that can be given several times.
func addPath(place *[]string, value string) error {
	if value == "" {
		return errors.New("no file")
	}
	var path string
	err := setPath(&path, value)
	*place = append(*place, path)
	return err
}

func setSwitch(place *bool, value string) (err error) {
	if *place, err = strconv.ParseBool(value); err != nil {
		return errors.New("neither true nor false")
	}
	return nil
}

func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("cannot find the current directory: %w", err)
	}
	return strings.TrimSuffix(dir, "/") + "/" + strings.TrimPrefix(path, "./"), nil
}

func setRestart(c *command, value string) error {
	return setChoice(&c.config.Restart.Policy, value, "policy", map[string]plan.RestartPolicy{
		"no": plan.RestartNo, "on-failure": plan.RestartOnFailure, "always": plan.RestartAlways,
	})
}

// setRestartLimit reads "5/1m".
func setRestartLimit(c *command, value string) (err error) {
	restart := &c.config.Restart
	left, right, ok := strings.Cut(value, "/")
	if !ok {
		return errors.New("no N/WINDOW")
	}
	if restart.Limit, err = strconv.Atoi(left); err != nil || restart.Limit < 1 {
		return fmt.Errorf("%q is not a number above 0", left)
	}
	if err := setDuration(&restart.Window, right); err != nil || restart.Window == 0 {
		return fmt.Errorf("%q is not a duration above 0", right)
	}
	return nil
}

func setRestartSignal(c *command, value string) error {
	sig, err := plan.ParseSignal(value)
	switch {
	case err != nil:
		return err
	case !signals.Forwarded(sig):
		return fmt.Errorf("%s does not reach pidleash", plan.SignalName(sig))
	case plan.TellsToEnd(sig):
		return fmt.Errorf("%s ends the program for good", plan.SignalName(sig))
	}
	c.config.Restart.Signal = sig
	return nil
}

func setDuration(place *time.Duration, value string) (err error) {
	if *place, err = time.ParseDuration(value); err != nil || *place < 0 {
		return errors.New("invalid duration")
	}
	return nil
}

func setKillMode(c *command, value string) error {
	return setChoice(&c.config.KillMode, value, "mode", map[string]plan.KillMode{
		"process": plan.KillProcess, "mixed": plan.KillMixed, "group": plan.KillGroup, "tree": plan.KillTree,
	})
}

// setRewrite reads "FROM:TO".
func setRewrite(c *command, value string) error {
	left, right, ok := strings.Cut(value, ":")
	from, err := plan.ParseSignal(left)
	switch {
	case !ok:
		return errors.New("no FROM:TO")
	case err != nil:
		return err
	case !signals.Forwarded(from):
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
	for item := range strings.SplitSeq(value, ",") {
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
	for item := range strings.SplitSeq(value, ",") {
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
		err = errors.New("invalid exit code")
	}
	return int(code), err
}

func setCode(place **int, value string) error {
	code, err := parseCode(value)
	*place = &code
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

// setStartTimeout is for the readiness, and for the -while files only when somebody gives it.
func setStartTimeout(c *command, value string) error {
	err := setDuration(&c.config.StartLimit, value)
	c.config.WhileLimit = c.config.StartLimit
	return err
}

func setUmask(c *command, value string) error {
	mask, err := strconv.ParseUint(value, 8, 32)
	if err != nil || mask > 0o777 {
		return errors.New("invalid umask")
	}
	c.config.Umask = new(uint32(mask))
	return nil
}

func setBetween(place **int, value string, least, most int) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return errors.New("invalid number")
	}
	*place = &n
	return nil
}

// programEnv is the environment without what pidleash has consumed: its own options, and a PIDFILE that names the
// file in use. A program that honours PIDFILE would become a second writer of that file; but one that turns itself
// into a daemon is welcome to write it. Another user has another home.
func (c *command) programEnv(env []string) []string {
	env = slices.DeleteFunc(env, func(entry string) bool {
		name, value, _ := strings.Cut(entry, "=")
		return isOptionVariable(name) || c.userEnv[name] != "" ||
			name == "PIDFILE" && !c.config.Forking && c.usesFile(value)
	})
	for _, name := range []string{"HOME", "LOGNAME", "USER"} {
		if value := c.userEnv[name]; value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// isOptionVariable reports a variable that sets an option, of a start or of a command. The tables are asked only
// about names that can be one: most starts have none.
func isOptionVariable(name string) bool {
	sets := func(o option) bool { return envName(o.name) == name }
	return strings.HasPrefix(name, envPrefix) && (slices.ContainsFunc(options, sets) || slices.ContainsFunc(commandOptions, sets))
}

// usesFile reports whether a value of PIDFILE is a path of this start's PID file. Several paths may lead to it.
func (c *command) usesFile(value string) bool {
	path, err := absolute(value)
	if err != nil || value == "" {
		return false
	}
	dir, name := filepath.Split(path)
	return slices.ContainsFunc([]string{c.config.PIDFile, c.config.Supervisor}, func(used string) bool {
		return used == path || used != "" && filepath.Base(used) == name && isSameFile(filepath.Dir(used), dir)
	})
}

func isSameFile(one, other string) bool {
	a, err1 := os.Stat(one)
	b, err2 := os.Stat(other)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}
