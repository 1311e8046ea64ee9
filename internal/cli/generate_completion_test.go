package cli

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"pidleash/internal/plan"
)

// The words that the completions of bash, zsh and fish know. What is done with them is written by hand, beside them.

// kindOf is how a shell completes the value of an option, by what -h calls it. Each kind is a function of the
// completions, but for choices.
func kindOf(o *option) string {
	if len(o.choices) > 0 {
		return "choices"
	}
	if o.value == "SIGNAL" && strings.Contains(o.remedy, "none") {
		return "signal_or_none"
	}
	kinds := map[string]string{
		"FILE": "file", "DIR": "dir", "CMD": "command", "SIGNAL": "signal", "SIGNALS": "signals", "FROM:TO": "rewrite",
		"SCHEDULE": "schedule", "USER[:GROUP]": "user",
		"DURATION": "free", "N/WINDOW": "free", "N": "free", "CODES": "free", "MODE": "free",
	}
	kind := kinds[o.value]
	if kind == "" {
		panic("-" + o.name + " " + o.value + ": the completions do not know what that is")
	}
	return kind
}

// choiceWords are those that can be typed: of "fd:N" only the beginning.
func choiceWords(o *option) string {
	var words []string
	for _, c := range o.choices {
		end := strings.IndexAny(c.value+"[", "ABCDEFGHIJKLMNOPQRSTUVWXYZ[")
		if word := c.value[:end]; word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// signalWords are the names of all signals that have one.
func signalWords() string {
	var words []string
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if name := plan.SignalName(sig); strings.HasPrefix(name, "SIG") {
			words = append(words, strings.TrimPrefix(name, "SIG"))
		}
	}
	return strings.Join(words, " ")
}

// withHelp adds -h, which is in no table.
func withHelp(list []option) []option {
	return append(slices.Clone(list), option{name: "h", brief: "the options that matter most"})
}

func startOptions() []option {
	return append(withHelp(inOrder(options)), option{name: "version", brief: "the version, the commit and Go's version"})
}

func helpTopics() (words string) {
	words = everything
	for _, s := range subcommands {
		words += " " + s.name
	}
	return words
}

func optionNames(list []option) string {
	var names []string
	for _, o := range list {
		names = append(names, o.name)
	}
	return strings.Join(names, " ")
}

func bashWords() string {
	var b strings.Builder
	fmt.Fprintf(&b, "_pidleash_signals='%s'\n", signalWords())
	fmt.Fprintf(&b, "_pidleash_topics='%s'\n", helpTopics())
	b.WriteString("_pidleash_options() {\n\tcase $1 in\n")
	for i := range subcommands {
		fmt.Fprintf(&b, "\t%s) echo %s ;;\n", subcommands[i].name, optionNames(withHelp(subcommands[i].all())))
	}
	fmt.Fprintf(&b, "\t*) echo %s ;;\n\tesac\n}\n", optionNames(startOptions()))
	b.WriteString("# The kind of an option's value, and its choices; a switch has none.\n_pidleash_kind() {\n\tcase $1 in\n")
	for _, o := range slices.Concat(inOrder(options), commandOptions) {
		if !o.isSwitch() {
			fmt.Fprintf(&b, "\t%s) echo %s ;;\n", o.name, strings.TrimSpace(kindOf(&o)+" "+choiceWords(&o)))
		}
	}
	return b.String() + "\tesac\n}\n"
}

// quoted is a text in the quotes of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func zshWords() string {
	var b strings.Builder
	fmt.Fprintf(&b, "local -a pidleash_signals=(%s)\n", signalWords())
	fmt.Fprintf(&b, "local -a pidleash_topics=(%s)\n", helpTopics())
	b.WriteString("local -a pidleash_commands=(\n")
	for _, s := range subcommands {
		fmt.Fprintf(&b, "\t%s\n", quoted(s.name+":"+s.brief))
	}
	fmt.Fprintf(&b, "\t%s\n)\n", quoted(helpWord+":tell about pidleash or a command"))
	b.WriteString("local -A pidleash_options\n")
	for i := range subcommands {
		fmt.Fprintf(&b, "pidleash_options[%s]=%s\n", subcommands[i].name, quoted(zshSpecs(withHelp(subcommands[i].all()))))
	}
	fmt.Fprintf(&b, "pidleash_options[start]=%s\n", quoted(zshSpecs(startOptions())))
	return b.String()
}

// zshSpecs are options as _arguments has them, one a line.
func zshSpecs(list []option) string {
	var specs []string
	for _, o := range list {
		spec := "-" + o.name
		if !o.isSwitch() {
			spec += "="
		}
		spec += "[" + strings.NewReplacer("[", `\[`, "]", `\]`).Replace(o.brief) + "]"
		if o.isList {
			spec = "*" + spec
		}
		if !o.isSwitch() {
			action := "_pidleash_" + kindOf(&o)
			switch {
			case kindOf(&o) == "free":
				action = " " // only what it is to be
			case len(o.choices) > 0:
				action = "(" + strings.ReplaceAll(choiceWords(&o), ":", `\:`) + ")"
			}
			spec += ":" + strings.ReplaceAll(o.value, ":", `\:`) + ":" + action
		}
		specs = append(specs, spec)
	}
	return strings.Join(specs, "\n")
}

func fishWords() string {
	var b strings.Builder
	fmt.Fprintf(&b, "set -g __pidleash_signals %s\n", signalWords())
	var values []string
	for _, o := range slices.Concat(inOrder(options), commandOptions) {
		if !o.isSwitch() {
			values = append(values, o.name)
		}
	}
	fmt.Fprintf(&b, "set -g __pidleash_valued %s\n", strings.Join(values, " "))
	var names []string
	for _, s := range subcommands {
		names = append(names, s.name)
		fmt.Fprintf(&b, "complete -c pidleash -n __pidleash_first -f -a %s -d %s\n", s.name, fishQuoted(s.brief))
	}
	fmt.Fprintf(&b, "complete -c pidleash -n __pidleash_first -f -a %s -d 'tell about pidleash or a command'\n", helpWord)
	fmt.Fprintf(&b, "complete -c pidleash -n '__pidleash_in help; or __pidleash_helps' -f -a '%s'\n", helpTopics())
	fmt.Fprintf(&b, "set -g __pidleash_commands %s %s\n", strings.Join(names, " "), helpWord)
	for _, o := range startOptions() {
		b.WriteString(fishOption("__pidleash_starts", &o))
	}
	list, owners := ofCommands()
	for _, s := range subcommands {
		owners["h"] = append(owners["h"], s.name)
	}
	for _, o := range withHelp(list) {
		b.WriteString(fishOption("'__pidleash_in "+strings.Join(owners[o.name], " ")+"'", &o))
	}
	return b.String()
}

func fishOption(condition string, o *option) string {
	line := "complete -c pidleash -n " + condition + " -o " + o.name + " -l " + o.name
	switch {
	case o.isSwitch():
		line += " -f"
	case len(o.choices) > 0:
		line += " -x -a " + fishQuoted(choiceWords(o))
	default:
		switch kind := kindOf(o); kind {
		case "file":
			line += " -r -F"
		case "free":
			line += " -x"
		default:
			line += " -x -a '(__pidleash_" + kind + ")'"
		}
	}
	return line + " -d " + fishQuoted(o.brief) + "\n"
}

func fishQuoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
