package cli

import (
	"cmp"
	"strings"
)

// columns is how wide the texts of options are, and margin where they begin.
const columns, margin = 80, 20

// withOptions puts the options into a text of -h: those of a section where a line has its name in braces.
func withOptions(text string, options []option) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		section, isSection := strings.CutPrefix(line, "{")
		if !isSection {
			b.WriteString(line)
			continue
		}
		for _, o := range options {
			if section == o.section+"}\n" {
				o.explain(&b)
			}
		}
	}
	return b.String()
}

// explain writes the option's lines of -h.
func (o *option) explain(b *strings.Builder) {
	entry(b, strings.TrimSuffix("  -"+o.name+" "+o.value, " "), o.meaning())
	for _, c := range o.choices {
		text := c.text
		if c.value == o.fallback() {
			text += " (default)"
		}
		entry(b, "      "+c.value, text)
	}
}

// meaning is the option's text without its choices.
func (o *option) meaning() string {
	text := o.text
	if o.isList {
		text += "; can be given several times"
	}
	switch value := o.fallback(); {
	case len(o.choices) > 0:
		text += ":"
	case value != "":
		text += " (default " + value + ")"
	}
	return text
}

// fallback is the default as the texts have it, or empty.
func (o *option) fallback() string { return cmp.Or(o.initial, o.unset) }

// entry writes a text beside a name, or below a long one.
func entry(b *strings.Builder, name, text string) {
	if len(name) >= margin {
		b.WriteString(name + "\n")
		name = ""
	}
	line := name + strings.Repeat(" ", margin-1-len(name))
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > columns {
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", margin-1)
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// manual is the text of -h: what a manual page would say, ending in examples that a test runs.
const manual = `pidleash - run a program on the leash of its PID file

USAGE
  pidleash [OPTION...] [--] PROGRAM [ARG...]
  pidleash status | stop | signal | wait | list [-h] ...

  Starts PROGRAM as a child, writes its PID to a file, forwards signals to it,
  stops it when the file is removed, removes the file when it has ended, and
  then ends as PROGRAM ended: with its exit code, or by the same signal.

  Options end at the first word that is none; the rest belongs to PROGRAM.
  -x and --x are the same. PROGRAM is found as the shell finds it.

THE PID FILE
{file}

STOPPING
{stopping}

SIGNALS
  All that can be caught are forwarded to PROGRAM.

{signals}

STARTING AGAIN
{restarts}

  Between two runs the PID file names pidleash. TERM, INT and QUIT are forwarded
  and end it for good, and so does the removal of the file.

WHILE OTHER FILES EXIST
{conditions}

  They are waited for without end, unless -start-timeout is given. Meanwhile the
  PID file names pidleash. Removing that, TERM, INT, QUIT and HUP end the wait.

IN THE BACKGROUND
{background}

{readiness}

PROGRAM'S SURROUNDINGS, by default as pidleash's own
{context}

EXIT CODE
{codes}

  120               another process holds the PID file
  125               pidleash itself failed: usage, PID file, fork, or PROGRAM was
                    not up in time
  126, 127          PROGRAM cannot be executed; is not found
  128+N             as PID 1, which no signal can end: PROGRAM died by signal N
  any other         PROGRAM's own

COMMANDS, as the very first word; each has a text of its own, pidleash stop -h. All
but list take $PIDFILE when no FILE is given, read FILE without trusting it, and
never signal a process that has taken the PID since
  status FILE...    tell whether the programs run: 0, 1, 3 or 4 as the Linux Standard
                    Base has it
  stop FILE...      stop them, and wait for their end
  signal SIG FILE...
                    send them a signal
  wait FILE...      wait for their end, or until they run
  list [DIR|FILE...]
                    audit the PID files of a machine (default /run)

MESSAGES, on standard error
{messages}

  -h, -help         this text
  -version          the version

ENVIRONMENT
  PIDFILE           the PID file when -pidfile is not given. systemd sets it for
                    units with PIDFile=
  PIDLEASH_...      every option with a value or a switch, such as
                    PIDLEASH_LOG_LEVEL=info or PIDLEASH_SAME_GROUP=true; several
                    values of one option go one a line. The command line wins; an
                    empty variable counts as unset

  PROGRAM does not get these variables, nor a PIDFILE that names the file in
  use, unless it is to write that itself (-forking).

EXAMPLES
  Run a server; rm /run/app.pid stops it:
    pidleash -pidfile /run/app.pid -- /usr/sbin/app -f

  Interrupt it first, and give it a minute before it is killed:
    pidleash -pidfile /run/app.pid -stop INT/60s/KILL -- /usr/sbin/app -f

  Start it in the background, and come back when it has run for a second:
    pidleash -daemon -pidfile /run/app.pid -ready 1s -- /usr/sbin/app -f

  Stop it, and come back when it has ended:
    pidleash stop /run/app.pid

  Be the init of a container:
    pidleash sh -c 'echo "I am not PID 1"'
`
