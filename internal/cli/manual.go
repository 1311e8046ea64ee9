package cli

// manual is the text of -h: what a manual page would say, ending in examples
// that a test runs.
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
  -pidfile FILE     where PROGRAM's PID goes; $PIDFILE when not given. Without
                    either, pidleash is a plain init and signal forwarder
  -supervisor-pidfile FILE
                    where the PID of pidleash itself goes, or of its watchdog
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

STARTING AGAIN
  -restart POLICY   whether PROGRAM is started again when it has ended:
      no            never (default)
      on-failure    unless it has ended cleanly: by 0, a code of -success, or HUP,
                    INT, TERM or PIPE
      always        in any case
  -restart-delay DURATION
                    how long before that; it doubles with each restart up to 30s,
                    with up to a tenth more by chance, and is the first one again
                    after a run of a minute (default 1s)
  -restart-limit N/WINDOW
                    how many restarts there may be within WINDOW, such as 5/1m;
                    then pidleash ends as PROGRAM has ended
  -restart-signal SIGNAL
                    restarts PROGRAM at once, also without -restart: it is stopped
                    by the schedule, and started again

  Between two runs the PID file names pidleash. TERM, INT and QUIT are forwarded
  and end it for good, and so does the removal of the file.

WHILE OTHER FILES EXIST
  -while FILE       PROGRAM runs only while FILE exists, whatever it is: pidleash
                    waits for it, starts PROGRAM, and stops it by the schedule when
                    FILE is gone for as long as -settle; can be given several times
  -while-running FILE
                    the same for the PID file of another program, which must run:
                    the file of one that has died is as good as none

  They are waited for without end, unless -start-timeout is given. Meanwhile the
  PID file names pidleash. Removing that, TERM, INT, QUIT and HUP end the wait.

IN THE BACKGROUND
  -daemon           starts PROGRAM detached: in a session of its own, without a
                    terminal, its input /dev/null, its output the journal if it
                    is that, else /dev/null, or -stdout and -stderr. Returns 0
                    when PROGRAM is up and a watchdog beside it watches the file;
                    else says why not, and leaves nothing behind
  -sidecar          PROGRAM takes over the process that was started, and a watchdog
                    beside it watches the file: to a service manager it is as if
                    there were no pidleash
  -forking          PROGRAM turns itself into a daemon: follow that daemon. Alone,
                    pidleash stays in the foreground; with -daemon it does not.
                    $PIDFILE is left to PROGRAM, which may write that file
  -follow FILE      the daemon's own PID file, when it is not that of -pidfile;
                    without either, the daemon is the one child that is left

  -ready CONDITION  when PROGRAM counts as up; in the foreground a service manager
                    is told then (Type=notify):
      exec          when it is executed; a daemon, when it is found (default)
      DURATION      when it is still alive after that, such as 2s
      notify        when it sends READY=1 to $NOTIFY_SOCKET
      fd:N          when it writes a newline to descriptor N, 3 or higher
      log           when a file of -stdout, -stderr or -ready-file has grown
      log:REGEX     when such a file has a new line that matches
  -ready-file FILE  a log that PROGRAM writes itself; can be given several times
  -start-timeout DURATION
                    how long that may take; then PROGRAM is stopped, and the code
                    is 125; 0 is for ever (default 30s). If given, it is also how
                    long the files of -while may be waited for

PROGRAM'S SURROUNDINGS, by default as pidleash's own
  -stdout FILE      append standard output to FILE, made with mode 0640
  -stderr FILE      the same for standard error
  -chdir DIR        the working directory
  -umask MODE       the umask, such as 027
  -user USER[:GROUP]
                    who PROGRAM runs as, by name or number, with the supplementary
                    groups of USER; HOME, USER and LOGNAME are set
  -nice N           the priority, from -20 to 19
  -oom-score-adj N  from -1000 to 1000, where 1000 is killed first

EXIT CODE
  -success CODES    codes that become 0, such as 3,140-150; a code N above 128
                    is death by signal N-128, too
  -removed-exit N   the code when PROGRAM was stopped because the file was
                    removed, or one of -while; wins over everything else

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
                    -rewrite, -while, -while-running or -ready-file go one a
                    line. The command line wins; an empty variable counts as unset

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
