package cli

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/sys"
)

// What people get wrong on a command line, and what they have meant.

// mistake is the error of a wrong command line or environment.
func mistake(problem, hint string) error { return &fault.Error{Problem: problem, Hint: hint} }

// translate says in our words what package flag has found.
func (c *command) translate(err error, hint string) error {
	text := err.Error()
	for _, unknown := range []string{"flag provided but not defined: ", "bad flag syntax: "} {
		if name, ok := strings.CutPrefix(text, unknown); ok {
			return mistake("no option "+name, cmp.Or(meant(c.given, strings.TrimLeft(name, "-=")), hint))
		}
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: "); ok {
		return mistake("option "+name+" needs a value", hint)
	}
	return mistake(text, hint)
}

// meant is a hint at the options that a word resembles; empty: none.
func meant(given map[string]*given, word string) string {
	var names []string
	for _, g := range given {
		names = append(names, g.names...)
	}
	if list := resembling(word, names); word != "" && list != nil {
		return "did you mean -" + strings.Join(list, " or -")
	}
	return ""
}

// resembling lists the names that begin with a word, if they are few, else those that are a slip or two away from it.
func resembling(word string, names []string) (list []string) {
	const few = 3
	word = strings.ReplaceAll(strings.ToLower(word), "_", "-")
	for _, name := range names {
		if strings.HasPrefix(name, word) {
			list = append(list, name)
		}
	}
	if len(list) == 0 || len(list) > few {
		list = misspelt(word, names)
	}
	slices.Sort(list)
	return list
}

// misspelt lists the names that are nearest to a word and at most two slips away from it.
func misspelt(word string, names []string) (list []string) {
	least := 2
	for _, name := range names {
		n := slips(word, name)
		switch {
		case n > least || 2*n > min(len(word), len(name)): // less than half of it is left
		case n < least:
			least, list = n, []string{name}
		default:
			list = append(list, name)
		}
	}
	return list
}

// slips counts the letters that are missing, too many, wrong, or in the place of their neighbour.
func slips(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := []int{i + 1}
		for j := range len(b) {
			wrong := 1
			if a[i] == b[j] {
				wrong = 0
			}
			n := min(last[j+1]+1, row[j]+1, last[j]+wrong)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				n = min(n, before[j-1]+1)
			}
			row = append(row, n)
		}
		before, last = last, row
	}
	return last[len(b)]
}

// warnVariables warns of variables that were probably meant to set an option. It says nothing of others: Kubernetes
// sets PIDLEASH_PORT for a service called pidleash.
func warnVariables(l *log) {
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || isOptionVariable(name) {
			continue
		}
		var names []string
		for _, o := range slices.Concat(options, commandOptions) {
			names = append(names, envName(o.name)[len(envPrefix):])
		}
		if meant := misspelt(name[len(envPrefix):], names); meant != nil {
			l.Warn("variable " + name + " sets no option; hint: did you mean " + envPrefix + meant[0])
		}
	}
}

// optionIn is the option that stands where a value should; empty: it is a value. "--" ends the options.
func (c *command) optionIn(value string) string {
	word, _, _ := strings.Cut(value, "=")
	if word == "--" || c.named(word) != nil {
		return word
	}
	return ""
}

// named is the option that a word of the command line is, without a value; nil: none.
func (c *command) named(word string) *given {
	name, ok := strings.CutPrefix(word, "-")
	name = strings.TrimPrefix(name, "-")
	for _, g := range c.given {
		if ok && slices.Contains(g.names, name) {
			return g
		}
	}
	return nil
}

// checkSwitch refuses "-same-group true PROGRAM": true is a program, too, and does nothing.
func (c *command) checkSwitch(program []string) error {
	before := len(c.config.CommandLine) - len(program) - 1
	if _, err := strconv.ParseBool(program[0]); err != nil || len(program) == 1 || before < 0 {
		return nil
	}
	word := c.config.CommandLine[before]
	if g := c.named(word); g == nil || !g.isSwitch {
		return nil
	}
	return mistake("option "+word+" takes its value behind \"=\", so that "+program[0]+" would be the program",
		word+"="+program[0]+", or "+word+" -- "+program[0]+" if it is")
}

// unexpanded is the part of a path that somebody should have expanded, and a hint at who would; empty: there is none.
func unexpanded(path string) (part, hint string) {
	dir := path[:strings.LastIndexByte(path, '/')+1]
	for i, part := range strings.Split(dir, "/") {
		switch _, specifier, found := strings.Cut(part, "%"); {
		case i == 0 && strings.HasPrefix(part, "~"):
			return part, "only a shell expands it, where a word begins; give the full path"
		case strings.Contains(part, "$"):
			return part, "nobody has expanded it; give the full path"
		case found && specifier != "":
			return part, "only systemd expands it, in a unit; give the full path"
		}
	}
	return "", ""
}

// checkExpanded refuses a path with an unexpanded part, unless there is a directory of that name.
func checkExpanded(path string) error {
	part, hint := unexpanded(path)
	if part == "" || sys.Access(path[:strings.LastIndexByte(path, '/')], unix.F_OK) != unix.ENOENT {
		return nil
	}
	return &fault.Error{Problem: "no directory " + part, Hint: hint}
}

// explain gives the error of a program that is not found a better hint, from the whole command line.
func (c *command) explain(err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Code != fault.NotFound || e.Object != c.config.Args[0] {
		return err
	}
	e.Hint = cmp.Or(c.programHint(c.config.Args), e.Hint)
	return e
}

// dashes are what a web page or an editor makes of the hyphens of an option, U+2010 to U+2015 and U+2212.
const dashes = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"

// programHint is what was probably meant by a program that is not found; empty: no idea.
func (c *command) programHint(program []string) string {
	name, before := program[0], len(c.config.CommandLine)-len(program)
	if len(program) == 1 && strings.ContainsAny(strings.TrimSpace(name), " \t\n") {
		return "it is one word: leave out the quotes around it, or run it by sh -c"
	}
	if _, hint := unexpanded(name); hint != "" {
		return hint
	}
	option, _, _ := strings.Cut(strings.TrimLeft(name, dashes), "=")
	otherDash := meant(c.given, option)
	switch {
	case before > 0 && c.config.CommandLine[before-1] == "--":
	case strings.IndexAny(name, dashes) == 0 && otherDash != "":
		return otherDash + ", with a plain hyphen"
	case before > 0 && subcommandNamed(name) != nil:
		return "a command comes before every option: pidleash " + name + " ..."
	case before > 0:
	case name == "version":
		return "pidleash -version"
	default:
		names := []string{helpWord}
		for i := range subcommands {
			names = append(names, subcommands[i].name)
		}
		if meant := misspelt(name, names); meant != nil {
			return "did you mean pidleash " + strings.Join(meant, " or pidleash ")
		}
	}
	return ""
}
