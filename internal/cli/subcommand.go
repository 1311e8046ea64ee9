package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/internal/reserve"
	"pidleash/internal/signals"
)

// subcommand is a word that is not a program to start: a question about PID files, or an order to what they name. It
// is one only as the very first argument, so that a program of such a name is "pidleash -- status".
type subcommand struct {
	name        string
	operands    string
	brief       string   // says what it does, in a line of -h and in completions
	text        *string  // of -h
	options     []string // beside those of all commands
	takesSignal bool     // the first operand is one, and may have a dash as in kill(1)
	takesDirs   bool     // operands may be directories, and there may be none
	run         func(c *command, l *log) int
}

// subcommands is laid out by the compiler, as options is.
var subcommands = []subcommand{
	{name: "status", operands: "FILE...", text: &statusManual, run: (*command).status,
		brief: "tell whether the programs of PID files run"},
	{name: "stop", operands: "FILE...", text: &stopManual, run: (*command).stop, options: []string{"stop", "timeout"},
		brief: "stop the programs of PID files, and wait for their end"},
	{name: "signal", operands: "SIGNAL FILE...", text: &signalManual, run: (*command).sendSignal, takesSignal: true,
		brief: "send a signal to the programs of PID files"},
	{name: "wait", operands: "FILE...", text: &waitManual, run: (*command).wait, options: []string{"until", "timeout"},
		brief: "wait for the end of the programs of PID files, or until they run"},
	{name: "list", operands: "[DIR|FILE...]", text: &listManual, run: (*command).list, takesDirs: true,
		brief: "audit the PID files of a machine (default /run)"},
}

// usage is the hint of its mistakes, without a full stop.
func (s *subcommand) usage() string {
	return "pidleash " + s.name + " " + strings.TrimSuffix(s.operands, "...")
}

func setUntil(c *command, value string) error {
	return setChoice(&c.running, value, "state", map[string]bool{"gone": false, "running": true})
}

// all lists its options.
func (s *subcommand) all() (list []option) {
	names := append([]string{"json", "log-level", "log-format"}, s.options...)
	if !s.takesDirs { // $PIDFILE must not make an audit of a machine one of a file
		names = append(names, "pidfile")
	}
	for _, o := range slices.Concat(options, commandOptions) {
		if slices.Contains(names, o.name) {
			o.text = cmp.Or(o.commandText, o.text)
			list = append(list, o)
		}
	}
	return list
}

// subcommandNamed is nil for every other word.
func subcommandNamed(word string) *subcommand {
	for i := range subcommands {
		if subcommands[i].name == word {
			return &subcommands[i]
		}
	}
	return nil
}

// main is the whole program, given the words behind the subcommand's name. It returns the exit code.
func (s *subcommand) main(args []string) int {
	signals.Default()
	options := s.all()
	c := newCommand(options)
	words, operands := s.separate(c.given, args)
	err := c.parse(options, words, "pidleash "+s.name+" -h", func(more []string) error {
		return s.fill(c, append(more, operands...))
	})
	log := newLog(c.logLevel, c.logJSON)
	defer log.flush()
	switch {
	case err != nil:
		return log.fail(err)
	case c.given["help"].isOn():
		return log.print(withOptions(*s.text, options))
	}
	warnVariables(log)
	if err := reserve.Descriptors(); err != nil {
		return log.fail(err)
	}
	return s.run(c, log)
}

// separate takes the options out of the operands, among which they may stand, up to "--".
func (s *subcommand) separate(given map[string]*given, args []string) (options, operands []string) {
	for i := 0; i < len(args); i++ {
		word := args[i]
		option := given[strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-")] // nil: unknown, or with "="
		switch {
		case word == "--":
			return options, append(operands, args[i+1:]...)
		case len(word) < 2 || word[0] != '-' || s.takesSignal && isDashedSignal(word) && !isSignal(operands):
			operands = append(operands, word)
		case option != nil && !option.isSwitch && i+1 < len(args):
			i++
			options = append(options, word, args[i])
		default:
			options = append(options, word)
		}
	}
	return options, operands
}

// isDashedSignal recognises "-HUP" and "-9": options are in lower case.
func isDashedSignal(word string) bool {
	return '0' <= word[1] && word[1] <= '9' || 'A' <= word[1] && word[1] <= 'Z'
}

// isSignal reports that the first of the operands is a signal.
func isSignal(operands []string) bool {
	if len(operands) == 0 {
		return false
	}
	_, err := plan.ParseSignal(strings.TrimPrefix(operands[0], "-"))
	return err == nil
}

// fill takes the operands.
func (s *subcommand) fill(c *command, operands []string) error {
	if s.takesSignal {
		if len(operands) == 0 {
			return mistake(s.name+": no signal given", s.usage())
		}
		if err := c.takeSignal(operands); err != nil {
			return err
		}
		operands = operands[1:]
	}
	if c.given["pidfile"].IsSet() && len(operands) > 0 {
		return mistake(s.name+": -pidfile is without effect beside a FILE", "leave one of them out")
	}
	return s.takeFiles(c, operands)
}

func (c *command) takeSignal(operands []string) (err error) {
	word, hint := strings.TrimPrefix(operands[0], "-"), "a name or a number, such as HUP or 1"
	c.signal, err = plan.ParseSignal(word)
	if err == nil {
		return nil
	}
	if last := operands[len(operands)-1:]; isSignal(last) {
		hint = "the signal comes first: pidleash signal " + last[0] + " FILE"
	} else if word == "0" {
		hint = "pidleash status FILE tells whether it runs"
	}
	return mistake("signal: "+err.Error(), hint)
}

// takeFiles makes the operands absolute; without any, it is the PID file of the options.
func (s *subcommand) takeFiles(c *command, operands []string) error {
	switch {
	case len(operands) > 0:
	case s.takesDirs:
		operands = []string{defaultAudit}
	case c.config.PIDFile != "":
		operands = []string{c.config.PIDFile}
	default:
		return mistake(s.name+": no FILE given and no $PIDFILE", s.usage())
	}
	for _, operand := range operands {
		if operand == "" {
			return mistake(s.name+": the name of a FILE is empty", s.usage())
		}
		if err := addPath(&c.files, operand); err != nil {
			return mistake(fmt.Sprintf("%s: %q: %v", s.name, operand, err), fault.Hint(err))
		}
	}
	return nil
}
