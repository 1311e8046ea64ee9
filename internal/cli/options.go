package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

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
	// initial is the value when nobody gives one; empty: set is not called.
	initial string
}

// options lists every option of a start, in the manual's order. An option that
// tells how to report mistakes comes first.
func options() []option {
	return []option{
		{name: "log-level", set: setLogLevel, remedy: "trace, debug, info, warn, error or off", initial: defaultLogLevel},
		{name: "log-format", set: setLogFormat, remedy: "text or json", initial: "text"},
		{name: "pidfile", set: setPIDFile},
		{name: "settle", set: setSettle, remedy: "a number with its unit, such as 500ms", initial: "100ms"},
		{name: "stop", set: setStop, remedy: "signals and waits in turn, such as " + wrapper.DefaultSchedule, initial: wrapper.DefaultSchedule},
		{name: "success", set: setSuccess, remedy: "codes from 0 to 255, such as 3,140-150"},
		{name: "removed-exit", set: setRemovedExit, remedy: "a code from 0 to 255"},
		{name: "pdeathsig", set: setDeathSignal, remedy: "a signal such as TERM, or none", initial: "KILL"},
		{name: "same-group", set: setSameGroup, remedy: "true or false", isSwitch: true},
	}
}

// flags is the same for the parser.
func flags() []cli.Flag {
	list := []cli.Flag{
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}},
		&cli.BoolFlag{Name: "version"},
	}
	for _, o := range options() {
		if o.isSwitch {
			list = append(list, &cli.BoolFlag{Name: o.name})
		} else {
			list = append(list, &cli.StringFlag{Name: o.name})
		}
	}
	return list
}

// envName is PIDLEASH_LOG_LEVEL for log-level.
func envName(option string) string {
	return "PIDLEASH_" + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// fill takes every option from the command line, else from the environment,
// else its initial value, and then the program.
func (c *command) fill(ctx *cli.Context) error {
	if c.help, c.version = ctx.Bool("help"), ctx.Bool("version"); c.help || c.version {
		return nil
	}
	for _, o := range options() {
		value, source := o.find(ctx)
		if value == "" && !ctx.IsSet(o.name) {
			continue
		}
		if err := o.set(c, value); err != nil {
			return &usageError{fmt.Sprintf("%s %q: %v", source, value, err), o.remedy}
		}
	}
	if !ctx.Args().Present() {
		return &usageError{"no program given", "pidleash [OPTION...] [--] PROGRAM [ARG...]"}
	}
	c.config.Args = ctx.Args().Slice()
	c.config.Env = programEnv(os.Environ(), c.config.PIDFile)
	return nil
}

// find returns an option's value and what to call its source in a message. An
// empty variable counts as unset.
func (o *option) find(ctx *cli.Context) (value, source string) {
	if ctx.IsSet(o.name) {
		return fmt.Sprint(ctx.Value(o.name)), "option -" + o.name
	}
	for _, name := range o.variables() {
		if value := os.Getenv(name); value != "" {
			return value, "variable " + name
		}
	}
	return o.initial, "option -" + o.name
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

// setPIDFile makes the path absolute without cleaning it: "x/../y" leads
// elsewhere where x is a symbolic link.
func setPIDFile(c *command, value string) error {
	if value == "" {
		return nil
	}
	path, err := absolute(value)
	c.config.PIDFile = path
	return err
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

func setSettle(c *command, value string) error {
	settle, err := time.ParseDuration(value)
	if err == nil && settle < 0 {
		err = errors.New("is negative")
	}
	if err != nil {
		return errors.New("no duration")
	}
	c.config.Settle = settle
	return nil
}

func setStop(c *command, value string) (err error) {
	c.config.Stop, err = wrapper.ParseSchedule(value)
	return err
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
			return fmt.Errorf("%q is no code and no range", item)
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
	sig, err := wrapper.ParseSignal(value)
	c.config.DeathSignal = sig
	return err
}

func setSameGroup(c *command, value string) error {
	on, err := strconv.ParseBool(value)
	if err != nil {
		return errors.New("neither true nor false")
	}
	c.config.SameGroup = on
	return nil
}

// programEnv is the environment without what pidleash has consumed: its own
// options, and a PIDFILE that names the file in use. A program that honours
// PIDFILE would become a second writer of that file.
func programEnv(env []string, pidFile string) []string {
	consumed := map[string]bool{}
	for _, o := range options() {
		consumed[envName(o.name)] = true
	}
	kept := make([]string, 0, len(env))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if consumed[name] || name == "PIDFILE" && namesFile(value, pidFile) {
			continue
		}
		kept = append(kept, entry)
	}
	return kept
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
