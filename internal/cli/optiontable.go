package cli

import "pidleash/internal/plan"

// option is one entry of the command line. Every option can also be set by the environment, see envName; the command
// line replaces that. The texts of -h are made from it, see manual.go; the manual page, the tables of the documentation
// and the completions of shells are, too, by a test: see generate_test.go.
type option struct {
	name    string
	value   string // what -h calls the value; empty: the option is a switch and takes none
	section string // where -h has the option: a line {section} of the manual
	// set reads a value and puts it in its place.
	set         func(c *command, value string) error
	remedy      string // the hint when set fails; empty: the choices
	isList      bool   // it can be given several times, in the environment with a value a line; set is called for each
	initial     string // the default value; empty: set is not called
	unset       string // describes the default where initial is empty, for the texts only
	brief       string // says what it is, in a line of -h and in completions
	text        string // explains the option; empty: the choices say it all
	commandText string // replaces text in the commands if the option has another meaning there
	choices     []choice
}

// choice is a value that an option can have. Capitals in it, as in fd:N, stand for many values. Either all choices of
// an option have a text, or none needs one.
type choice struct{ value, text string }

func (o *option) isSwitch() bool { return o.value == "" }

const (
	switchRemedy = "true or false"
	limitRemedy  = "a number with its unit, such as 90s; 0 is for ever"
	delayRemedy  = "a number with its unit, such as 500ms"
	codeRemedy   = "a code from 0 to 255"
)

// reporting is how many options, the first ones of the table, say how mistakes in the others are reported.
const reporting = 2

// options lists every option of a start, in the order in which they are taken. Nothing here is a function call: the
// compiler lays the table out, and no start has to build it.
var options = []option{
	{name: "log-level", value: "LEVEL", section: "messages", set: setLogLevel, initial: defaultLogLevel,
		brief:   "how much pidleash says",
		text:    "warn is silent when all is well",
		choices: []choice{{"trace", ""}, {"debug", ""}, {"info", ""}, {"warn", ""}, {"error", ""}, {"off", ""}}},
	{name: "log-format", value: "FORM", section: "messages", set: setLogFormat, initial: "text",
		brief:   "the format of its messages",
		choices: []choice{{"text", ""}, {"json", ""}}},

	{name: "pidfile", value: "FILE", section: "file", set: func(c *command, value string) error { return setPath(&c.config.PIDFile, value) }, unset: "$PIDFILE",
		brief:       "where PROGRAM's PID goes (default $PIDFILE)",
		text:        "where PROGRAM's PID goes; without a PID file, pidleash is a plain init and signal forwarder",
		commandText: "used when no FILE is given"},
	{name: "supervisor-pidfile", value: "FILE", section: "file", set: func(c *command, value string) error { return setPath(&c.config.Supervisor, value) },
		brief: "where the PID of pidleash itself goes",
		text:  "where the PID of pidleash itself goes, or of its watchdog"},
	{name: "settle", value: "DURATION", section: "file", set: setSettle, remedy: delayRemedy, unset: "100ms",
		brief: "how long a removal must last before it counts",
		text:  "how long the file must be gone or be somebody else's before that counts; with 0 the first look decides; for a file that a daemon of -forking has written itself the default is 1s"},

	{name: "stop", value: "SCHEDULE", section: "stopping", set: func(c *command, value string) (err error) { c.config.Stop, err = plan.ParseSchedule(value); return err },
		remedy: "signals and waits in turn, such as " + plan.DefaultSchedule, initial: plan.DefaultSchedule,
		brief:       "what PROGRAM is sent when the file is removed",
		text:        `what PROGRAM is sent when the file is removed: signals and waits in turn, such as INT/5s/TERM/10s/KILL. A bare number is a wait in seconds, -9 a signal's number, "forever" a wait without end`,
		commandText: "for programs that no pidleash holds: signals and waits in turn, such as INT/5s/TERM/10s/KILL"},
	{name: "stop-command", value: "CMD", section: "stopping", set: func(c *command, value string) error { c.config.StopCommand = value; return nil },
		brief: "a shell command that is run first to stop PROGRAM",
		text:  `run by "sh -c" before the schedule begins, with PROGRAM's PID in $MAINPID; killed when it runs longer than the schedule's first wait`},
	{name: "pdeathsig", value: "SIGNAL", section: "stopping", set: setDeathSignal, remedy: "a signal such as TERM, or none", initial: "KILL",
		brief: "what PROGRAM is sent when pidleash is killed",
		text:  `what PROGRAM is sent when pidleash itself is killed, or "none"; the kernel clears it when PROGRAM itself changes its user, but not for -user`},
	{name: "same-group", section: "stopping", remedy: switchRemedy, set: func(c *command, value string) error { return setSwitch(&c.config.SameGroup, value) },
		brief: "leave PROGRAM in pidleash's process group",
		text:  "leave PROGRAM in pidleash's process group; without it, PROGRAM gets one of its own"},

	{name: "wait-all", section: "stopping", remedy: switchRemedy, set: func(c *command, value string) error { return setSwitch(&c.config.WaitAll, value) },
		brief: "end only when all descendants of PROGRAM have ended",
		text:  "end only when all descendants of PROGRAM have ended, too: until then the file stays and names pidleash, signals reach all of them, and a removal stops them"},

	{name: "kill-mode", value: "MODE", section: "signals", set: setKillMode, initial: "mixed",
		brief: "what signals reach: process, mixed, group or tree",
		text:  "which processes get forwarded signals and those of the schedule",
		choices: []choice{
			{"process", "PROGRAM only"},
			{"mixed", "PROGRAM only; when pidleash has stopped it, its remaining descendants get the schedule too"},
			{"group", "PROGRAM's process group"},
			{"tree", "every descendant, in other groups and sessions too; those that outlive PROGRAM get the schedule too"},
		}},
	{name: "rewrite", value: "FROM:TO", section: "signals", set: setRewrite, isList: true, remedy: "two signals such as TERM:QUIT, or WINCH:none",
		brief: "send another signal instead of one, or none",
		text:  "send TO when FROM arrives, or nothing with FROM:none"},
	{name: "drain", value: "DURATION", section: "signals", set: func(c *command, value string) error { return setDuration(&c.config.Drain, value) }, remedy: delayRemedy,
		brief: "how long a TERM is kept before it is forwarded",
		text:  "how long a TERM is kept before it is forwarded, so that a load balancer can look elsewhere; a second TERM goes on at once"},
	{name: "ignore", value: "SIGNALS", section: "signals", set: setIgnore, remedy: "signals such as PIPE,USR1, or none", unset: "as pidleash was started",
		brief: "signals that PROGRAM starts with ignored",
		text:  `PROGRAM starts with exactly these signals ignored, such as PIPE,USR1, or "none"`},

	{name: "restart", value: "POLICY", section: "restarts", set: setRestart, initial: "no",
		brief: "start PROGRAM again: no, on-failure or always",
		text:  "whether PROGRAM is started again after it has ended",
		choices: []choice{
			{"no", "never"},
			{"on-failure", "unless it ended cleanly: with 0 or a code of -success, or by HUP, INT, TERM or PIPE"},
			{"always", "in any case"},
		}},
	{name: "restart-delay", value: "DURATION", section: "restarts", set: func(c *command, value string) error { return setDuration(&c.config.Restart.Delay, value) }, remedy: delayRemedy, initial: "1s",
		brief: "how long to wait before a restart",
		text:  "how long to wait before a restart; it doubles with each restart, up to 30s, with up to a tenth added at random, and is back to this value after a run of a minute"},
	{name: "restart-limit", value: "N/WINDOW", section: "restarts", set: setRestartLimit, remedy: "a number of restarts and a time, such as 5/1m",
		brief: "how many restarts are allowed within what time",
		text:  "how many restarts are allowed within WINDOW, such as 5/1m; then pidleash ends as PROGRAM ended"},
	{name: "restart-signal", value: "SIGNAL", section: "restarts", set: setRestartSignal, remedy: "a signal such as HUP",
		brief: "a signal that restarts PROGRAM",
		text:  "restarts PROGRAM at once, even without -restart: it is stopped by the schedule, and started again"},

	{name: "while", value: "FILE", section: "conditions", remedy: "the path of a file", isList: true, set: func(c *command, value string) error { return addPath(&c.config.While, value) },
		brief: "run PROGRAM only while FILE exists",
		text:  "PROGRAM runs only while FILE exists, whatever it is: pidleash waits for it, starts PROGRAM, and stops it by the schedule when FILE is gone for as long as -settle"},
	{name: "while-running", value: "FILE", section: "conditions", remedy: "the path of a PID file", isList: true, set: func(c *command, value string) error { return addPath(&c.config.WhileRunning, value) },
		brief: "run PROGRAM only while the program of FILE runs",
		text:  "the same for the PID file of another program, which must be running: the file of a dead one counts as missing"},

	{name: "daemon", section: "background", remedy: switchRemedy, set: func(c *command, value string) error { return setSwitch(&c.daemon, value) },
		brief: "go to the background when PROGRAM is up",
		text:  "starts PROGRAM detached: in a session of its own, without a terminal, its input /dev/null, its output the journal if it was that before, else /dev/null, or -stdout and -stderr. Returns 0 when PROGRAM is up and a watchdog beside it watches the file; otherwise says why not, and leaves nothing behind"},
	{name: "sidecar", section: "background", remedy: switchRemedy, set: func(c *command, value string) error { return setSwitch(&c.sidecar, value) },
		brief: "PROGRAM keeps this PID; a watchdog runs beside it",
		text:  "PROGRAM takes over the process that was started, and a watchdog beside it watches the file: to a service manager it looks as if there were no pidleash"},
	{name: "forking", section: "background", remedy: switchRemedy, set: func(c *command, value string) error { return setSwitch(&c.config.Forking, value) },
		brief: "PROGRAM turns itself into a daemon: follow it",
		text:  "PROGRAM turns itself into a daemon: follow that daemon. Alone, pidleash stays in the foreground; with -daemon it does not. $PIDFILE is left to PROGRAM, which may write that file"},
	{name: "follow", value: "FILE", section: "background", set: func(c *command, value string) error { return setPath(&c.config.Follow, value) },
		brief: "the PID file that such a daemon writes itself",
		text:  "the daemon's own PID file, if it is not that of -pidfile; without either, the daemon is the one child that is left"},

	{name: "ready", value: "CONDITION", section: "readiness", set: func(c *command, value string) (err error) { c.config.Ready, err = plan.ParseReady(value); return err }, unset: "exec", remedy: "exec, a duration such as 2s, notify, fd:3, log, log:REGEX, tcp:PORT, or cmd:COMMAND",
		brief: "when PROGRAM is up: exec, 2s, notify, log, tcp:80",
		text:  "when PROGRAM counts as up; in the foreground the service manager is told then (Type=notify)",
		choices: []choice{
			{"exec", "when it is executed; for a daemon, when it is found"},
			{"DURATION", "when it is still alive after that time, such as 2s"},
			{"notify", "when it sends READY=1 to $NOTIFY_SOCKET"},
			{"fd:N", "when it writes a newline to descriptor N, 3 or higher"},
			{"log", "when a file of -stdout, -stderr or -ready-file has grown"},
			{"log:REGEX", "when such a file has a new line that matches"},
			{"tcp:[HOST:]PORT", "when a connection to it is accepted; HOST is an IP address or localhost"},
			{"cmd:COMMAND", "when COMMAND, run by \"sh -c\" again and again with PROGRAM's PID in $MAINPID, ends with 0"},
		}},
	{name: "ready-file", value: "FILE", section: "readiness", remedy: "the path of a log", isList: true, set: func(c *command, value string) error { return addPath(&c.config.ReadyFiles, value) },
		brief: "a log that PROGRAM writes itself, for -ready log",
		text:  "a log that PROGRAM writes itself"},
	{name: "start-timeout", value: "DURATION", section: "readiness", set: setStartTimeout, remedy: limitRemedy, unset: "30s",
		brief: "how long PROGRAM may take to be up",
		text:  "how long PROGRAM may take to be up; then it is stopped, and the code is 125; 0 is for ever. If given, it also limits the wait for the files of -while"},

	{name: "stdout", value: "FILE", section: "context", set: func(c *command, value string) error { return setPath(&c.config.Stdout, value) },
		brief: "append standard output to FILE",
		text:  "append standard output to FILE, which is created with mode 0640"},
	{name: "stderr", value: "FILE", section: "context", set: func(c *command, value string) error { return setPath(&c.config.Stderr, value) },
		brief: "append standard error to FILE",
		text:  "the same for standard error"},
	{name: "chdir", value: "DIR", section: "context", set: func(c *command, value string) error { return setPath(&c.config.Dir, value) },
		brief: "the working directory",
		text:  "the working directory"},
	{name: "umask", value: "MODE", section: "context", set: setUmask, remedy: "an octal number such as 027",
		brief: "the umask, such as 027",
		text:  "the umask, such as 027"},
	{name: "user", value: "USER[:GROUP]", section: "context", set: setUser, remedy: "USER or USER:GROUP, by name or number",
		brief: "the user that PROGRAM runs as",
		text:  "the user that PROGRAM runs as, by name or number, with the supplementary groups of USER; HOME, USER and LOGNAME are set"},
	{name: "nice", value: "N", section: "context", set: func(c *command, value string) error { return setBetween(&c.config.Nice, value, -20, 19) }, remedy: "a number from -20 to 19",
		brief: "the priority, from -20 to 19",
		text:  "the priority, from -20 to 19"},
	{name: "oom-score-adj", value: "N", section: "context", set: func(c *command, value string) error { return setBetween(&c.config.OOMScoreAdj, value, -1000, 1000) }, remedy: "a number from -1000 to 1000",
		brief: "OOM score from -1000 to 1000; 1000 is killed first",
		text:  "the OOM score adjustment, from -1000 to 1000; 1000 is killed first"},

	{name: "success", value: "CODES", section: "codes", set: setSuccess, remedy: "codes from 0 to 255, such as 3,140-150",
		brief: "exit codes that become 0, such as 3,140-150",
		text:  "codes that become 0, such as 3,140-150; a code N above 128 also stands for death by signal N-128"},
	{name: "removed-exit", value: "N", section: "codes", set: func(c *command, value string) error { return setCode(&c.config.RemovedExit, value) }, remedy: codeRemedy,
		brief: "the exit code after the file was removed",
		text:  "the code when PROGRAM was stopped because the file was removed, or one of -while; wins over everything else"},
	{name: "already-running-exit", value: "N", section: "codes", set: func(c *command, value string) error { return setCode(&c.heldExit, value) }, remedy: codeRemedy, unset: "120",
		brief: "the exit code when PROGRAM is already running",
		text:  "the code when another process holds the PID file; 0, as init scripts want it, is silent"},
}

// commandOptions lists the options that only commands have.
var commandOptions = []option{
	{name: "until", value: "STATE", section: "waiting", set: setUntil, initial: "gone",
		brief:   "what to wait for",
		choices: []choice{{"gone", ""}, {"running", ""}}},
	{name: "timeout", value: "DURATION", section: "waiting", set: func(c *command, value string) error { return setDuration(&c.timeout, value) }, remedy: limitRemedy, unset: "0",
		brief: "how long to wait",
		text:  "how long to wait, such as 30s; then nothing more is done, and the code is 124; 0 is for ever"},
	{name: "json", section: "results", remedy: switchRemedy, set: func(c *command, value string) error { return setSwitch(&c.json, value) },
		brief: "print a line of JSON for each FILE",
		text:  "print a line of JSON on standard output for each FILE instead"},
}
