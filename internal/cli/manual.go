package cli

// manual is the text of -h: what a manual page would say, ending in examples
// that a test runs.
const manual = `pidleash - run a program on the leash of its PID file

USAGE
  pidleash [OPTION...] [--] PROGRAM [ARG...]

  Starts PROGRAM as a child, writes its PID to a file, forwards signals to it,
  stops it when the file is removed, removes the file when it has ended, and
  then ends as PROGRAM ended: with its exit code, or by the same signal.

  Options end at the first word that is none; the rest belongs to PROGRAM.
  -x and --x are the same. PROGRAM is found as the shell finds it.

THE PID FILE
  -pidfile FILE     where PROGRAM's PID goes; $PIDFILE when not given. Without
                    either, pidleash is a plain init and signal forwarder
  -settle DURATION  how long the file must be gone or be somebody else's before
                    that counts; 0 decides at the first look (default 100ms)

STOPPING
  -stop SCHEDULE    what PROGRAM is sent when the file is removed: signals and
                    waits in turn, such as INT/5s/TERM/10s/KILL. A bare number
                    is a wait in seconds, -9 a signal's number, "forever" a wait
                    without end (default TERM/10s/KILL)
  -stop-command CMD run by "sh -c" before the schedule begins, with PROGRAM's PID
                    in $MAINPID; killed when it runs longer than the schedule's
                    first wait
  -pdeathsig SIGNAL what PROGRAM is sent when pidleash itself is killed, or
                    "none" (default KILL)
  -same-group       leave PROGRAM in pidleash's process group; without it,
                    PROGRAM gets one of its own

SIGNALS
  All that can be caught are forwarded to PROGRAM.

  -kill-mode MODE   whom forwarded signals and those of the schedule reach:
      process       PROGRAM only
      mixed         PROGRAM only; when pidleash has stopped it, what is left of
                    its descendants gets the schedule too (default)
      group         PROGRAM's process group
      tree          every descendant, also in other groups and sessions; what is
                    left after PROGRAM's own end gets the schedule too
  -rewrite FROM:TO  send TO when FROM arrives, or with FROM:none nothing; can be
                    given several times
  -ignore SIGNALS   PROGRAM starts with exactly these ignored, such as PIPE,USR1,
                    or "none" (default as pidleash was started)

EXIT CODE
  -success CODES    codes that become 0, such as 3,140-150; a code N above 128
                    is death by signal N-128, too
  -removed-exit N   the code when PROGRAM was stopped because the file was
                    removed; wins over everything else

  120               another process holds the PID file
  125               pidleash itself failed: usage, PID file, fork
  126, 127          PROGRAM cannot be executed; is not found
  128+N             as PID 1, which no signal can end: PROGRAM died by signal N
  any other         PROGRAM's own

MESSAGES, on standard error
  -log-level LEVEL  trace, debug, info, warn, error or off (default warn: silent
                    when all is well)
  -log-format FORM  text or json (default text)

  -h, -help         this text
  -version          the version

ENVIRONMENT
  PIDFILE           the PID file when -pidfile is not given. systemd sets it for
                    units with PIDFile=
  PIDLEASH_...      every option with a value or a switch, such as
                    PIDLEASH_LOG_LEVEL=info or PIDLEASH_SAME_GROUP=true; several
                    -rewrite go one a line. The command line wins; an empty
                    variable counts as unset

  PROGRAM does not get these variables, nor a PIDFILE that names the file in
  use.

EXAMPLES
  Run a server; rm /run/app.pid stops it:
    pidleash -pidfile /run/app.pid -- /usr/sbin/app -f

  Interrupt it first, and give it a minute before it is killed:
    pidleash -pidfile /run/app.pid -stop INT/60s/KILL -- /usr/sbin/app -f

  Be the init of a container:
    pidleash sh -c 'echo "I am not PID 1"'
`
