package cli

// The texts of "pidleash COMMAND -h". What all commands share stands in each of
// them: nobody should have to look in two places.

const optionsManual = `
OPTIONS
{stopping}
{commands}
{file}
{results}
{messages}
  -h, -help         this text

  Options may also stand behind a FILE; "--" ends them. PIDLEASH_JSON=true and so on
  set them by environment.
`

const resultManual = optionsManual + `
  A line of JSON has file, code, and error and hint if it has failed.
` + codesManual

const reportManual = optionsManual + `
  A line of JSON has file, code, state (held, running, stale, recycled, empty, missing,
  unreadable, untrusted), and as far as they are known pid, program, since, holder,
  reason.
`

const codesManual = "\nEXIT CODE, of several files the highest\n"

const statusManual = `pidleash status - tell whether the programs of PID files run

USAGE
  pidleash status [OPTION...] FILE...

  One line for each FILE: the PID, the program, since when it runs and for how long,
  which pidleash holds it, and if it does not run, why not. A zombie does not run; a
  PID that is another program's by now is not taken for the one that was meant. Every
  user may ask, about files of other programs, too. "Held by itself" is a file that
  names its pidleash, which has no program at the moment, or a -supervisor-pidfile.

  As root a file says nothing that its writers could not do themselves: it is
  untrusted when group or others may write it, and when its owner is not the user of
  the process that it names.
` + reportManual + codesManual + `  0                 running
  1                 dead: there is a file, and its program does not run
  3                 not running: there is no file
  4                 unknown: the file cannot be read, or not be trusted
  125               a mistake on the command line

EXAMPLE
  pidleash status /run/app.pid && echo "it runs"
`

const stopManual = `pidleash stop - stop the programs of PID files, and wait for their end

USAGE
  pidleash stop [OPTION...] FILE...

  A program on the leash of a pidleash is stopped by that one, by its own schedule:
  the file is removed. Any other gets the schedule of -stop itself, and its file is
  left to it. Returns when the program and its pidleash are gone, so that a start
  right after it is alone. All FILEs are stopped at the same time.
` + resultManual + `  0                 stopped, or nothing ran
  4                 not permitted; the file cannot be read, or not be trusted
  124               still running when -timeout was over
  125               a mistake on the command line

EXAMPLES
  pidleash stop /run/app.pid && pidleash -pidfile /run/app.pid -- /usr/sbin/app -f

  In a unit with PIDFile=:
    ExecStop=/usr/local/bin/pidleash stop
`

const signalManual = `pidleash signal - send a signal to the programs of PID files

USAGE
  pidleash signal [OPTION...] SIGNAL FILE...

  SIGNAL is a name or a number, with or without SIG, as HUP, -HUP, 1 or RTMIN+3. It
  reaches the process that FILE names, or nobody: never one that has taken its PID
  since.
` + resultManual + `  0                 sent
  1                 no such process: the file is stale
  3                 no such file
  4                 not permitted; the file cannot be read, or not be trusted
  125               a mistake on the command line, such as an invalid signal

EXAMPLE
  pidleash signal HUP /run/app.pid
`

const waitManual = `pidleash wait - wait for the programs of PID files

USAGE
  pidleash wait [OPTION...] FILE...

  Returns when all programs, and each pidleash that holds one, have ended; or, with
  -until running, when all run. Nothing is asked again and again.
` + resultManual + `  0                 it has come about
  1                 no such process: the file is stale (-until gone)
  3                 no such file (-until gone)
  4                 not permitted; the file cannot be read, or not be trusted
  124               it has not come about when -timeout was over
  125               a mistake on the command line

EXAMPLE
  pidleash wait -until running -timeout 30s /run/db.pid && exec app
`

const listManual = `pidleash list - audit the PID files of a machine

USAGE
  pidleash list [OPTION...] [DIR|FILE...]

  A row for each FILE, and for each PID file below each DIR (default /run): names that
  end in .pid or .pidfile, and "pid" and "pidfile". Symbolic links are not followed,
  but a DIR may be one. Mounts below are entered when they are in memory (tmpfs) or
  of the same kind as the file system around them: -log-level info tells of others.
  What cannot be read has a row, too.

STATES
  running           the process runs, and no pidleash holds it
  held              the same, and a pidleash does
  stale             it has ended, or there is no PID in the file
  recycled PID      the PID is another program's by now
  empty             the file has no content
  not running       there is no such FILE
  unreadable        it cannot be read, or is no regular file
  untrusted         to root: others could have written it
` + reportManual + `
  A terminal gets colours, unless NO_COLOR is set or TERM is dumb, and its own width.
` + codesManual + `  0                 all run, or there are no PID files
  1                 one is stale, empty, or its PID is recycled
  3                 a FILE does not exist
  4                 something cannot be read, or not be trusted
  125               a mistake on the command line

EXAMPLE
  pidleash list /run /var/lib
`
