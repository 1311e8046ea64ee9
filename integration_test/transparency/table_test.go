package transparency

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

func documentFile() string { return bed.ModuleFile("docs", "transparency.md") }

// compareDocument fails the test unless the document is that of the table.
func compareDocument(t *testing.T) {
	text := document()
	if *update {
		if err := os.WriteFile(documentFile(), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have := bed.ReadFile(t, documentFile())
	for i, line := range strings.Split(text, "\n") {
		if theirs := strings.Split(have, "\n"); i >= len(theirs) || theirs[i] != line {
			t.Fatalf("%s: line %d is not the table's:\n%s\nhint: go test -run TestTransparency ./integration_test/transparency -update", documentFile(), i+1, line)
		}
	}
	if have != text {
		t.Errorf("%s: has more than the table", documentFile())
	}
}

// A tableRow is one thing that a program can look at.
type tableRow struct {
	title string
	// keys are the facts' names; one that ends in "." stands for all that begin so.
	keys []string
	// differs has the names of the situations in which it does; "everywhere" is all.
	differs []string
	// withoutEntry has those in which it differs only in a binary without the entry
	// code.
	withoutEntry []string
	why          string
	remedy       string // what to do about it
	cures        []cure // the remedies that a test can try
	// entryRemedy is what to do about withoutEntry.
	entryRemedy string
}

// A cure makes a row the same as for the bare program in a situation.
type cure struct {
	in           string
	from         string // where pidleash starts, if that is another situation
	withoutEntry bool   // of the binary without the entry code
	options      []string
	behind       []string
}

func (r *tableRow) differsIn(situation, build string) bool {
	if slices.Contains(r.differs, "everywhere") {
		return !slices.Contains(cannotStart, situation)
	}
	return slices.Contains(r.differs, situation) || build == withoutEntry && slices.Contains(r.withoutEntry, situation)
}

// cannotStart are the situations in which nothing but the start is looked at.
var cannotStart = []string{"little address space", "few processes", "files of no size"}

// lostWithoutEntry are the signals that a program without the entry code does
// not hand on ignored, or blocked.
var lostWithoutEntry = map[string]string{
	"ignore": "3 4 5 6 7 8 10 11 12 13 14 15 16 17 23 24 25 26 27 28 29 30 31 33 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 " +
		"51 52 53 54 55 56 57 58 59 60 61 62 63 64",
	"block": "1 2 3 4 5 6 7 8 11 15 16 17 23 27 31 32 33 34",
}

// signalNames makes names of numbers where there are names.
func signalNames(numbers string) string {
	words := strings.Fields(numbers)
	for i, word := range words {
		if n, err := strconv.Atoi(word); err == nil && unix.SignalName(syscall.Signal(n)) != "" {
			words[i] = strings.TrimPrefix(unix.SignalName(syscall.Signal(n)), "SIG")
		}
	}
	return strings.Join(words, ", ")
}

// others lists the signals that can be ignored and are not in the list.
func others(numbers string) string {
	var list []string
	for sig := 1; sig <= 64; sig++ {
		word := strconv.Itoa(sig)
		if sig != int(syscall.SIGKILL) && sig != int(syscall.SIGSTOP) && !slices.Contains(strings.Fields(numbers), word) {
			list = append(list, word)
		}
	}
	return strings.Join(list, " ")
}

// inOwnGroup are the situations in which PROGRAM leads a process group only behind
// pidleash.
var inOwnGroup = []string{
	"process", "shell script", "nohup", "background job", "closed input", "closed output", "closed error", "all closed",
	"40 descriptors", "soft limit", "all limits", "priorities", "another user", "odd environment", "empty environment",
	"own variables", "other PIDFILE", "ignored signals", "blocked signals", "one blocked signal", "pending signals",
	"lost directory", "after other work", "terminal, pipeline",
}

var everywhere = []string{"everywhere"}

// table is in the order of the document.
var table = []tableRow{
	{title: "arguments, `argv[0]` included", keys: []string{"argument."}},
	{title: "its file: `AT_EXECFN`, `/proc/self/exe`, process name", keys: []string{"file", "exe", "name"}},
	{title: "environment: every entry, byte for byte, in order", keys: []string{"environment"},
		why: "`LISTEN_PID`, `WATCHDOG_PID` and `SYSTEMD_EXEC_PID` name PROGRAM where they would have named pidleash"},
	{title: "`PIDLEASH_…` options; `PIDFILE` when it names the file in use", keys: []string{"consumed."},
		differs: []string{"own variables"},
		why:     "they are meant for pidleash; a program that honours `PIDFILE` would become a second writer of the file",
		remedy:  "give PROGRAM the path by an option or a variable of its own"},
	{title: "`NOTIFY_SOCKET`", keys: []string{"variable.NOTIFY_SOCKET"},
		differs: []string{"activated service"},
		why:     "it is set to another address: pidleash passes on what PROGRAM says, because systemd listens to the unit's main process only",
		remedy:  "nothing; [systemd.md](systemd.md)"},
	{title: "`_`", keys: []string{"variable._"},
		differs: []string{"shell script", "terminal, foreground", "terminal, background", "terminal, redirected"},
		why:     "bash sets it to the file that it starts itself: pidleash's",
		remedy:  "put `env` behind pidleash's options if anything reads it: `pidleash … -- env _=/path PROGRAM`",
		cures:   []cure{{in: "shell script", behind: []string{"env", "_=PROBE"}}}},
	{title: "working and root directory", keys: []string{"directory", "directory.inode", "root"}},
	{title: "umask", keys: []string{"Umask"}},
	{title: "resource limits, all 16, soft and hard", keys: []string{"limit."},
		why: "`RLIMIT_NOFILE` too, which Go raises for itself"},
	{title: "that it can start at all", keys: []string{"starts"},
		differs: cannotStart,
		why: "pidleash itself needs 1.3 GB of address space (`ulimit -v`; of memory it uses a few MB), 50 MB of `ulimit -d`, 21 descriptors " +
			"(`ulimit -Hn`) and a dozen threads (`ulimit -u`), and with `-pidfile` a file of 8 bytes (`ulimit -f`). With less it ends with a message",
		remedy: "set that limit behind pidleash: `pidleash … -- sh -c 'ulimit -v 262144; exec PROGRAM'`, or by `prlimit`",
		cures: []cure{
			{in: "little address space", from: "process", behind: []string{"sh", "-c", `ulimit -v 262144; exec "$@"`, "sh"}},
			{in: "files of no size", from: "process", behind: []string{"prlimit", "--fsize=0:"}},
		}},
	{title: "niceness, scheduling policy and priority, CPU and memory affinity, I/O priority, timer slack",
		keys: []string{"nice", "policy", "ioprio", "timerslack", "Cpus_allowed", "Mems_allowed"}},
	{title: "`SCHED_RESET_ON_FORK`", keys: []string{"reset-on-fork"},
		differs: []string{"after other work"},
		why:     "it does what its name says when pidleash forks, and the policy and niceness that it protects are reset with it",
		remedy:  "`chrt -R` or `CPUSchedulingResetOnFork=` belong behind pidleash: `pidleash … -- chrt -R … PROGRAM`",
		cures:   []cure{{in: "after other work", behind: []string{"chrt", "-R", "-b", "0"}}}},
	{title: "OOM score adjustment", keys: []string{"oom"}},
	{title: "users, groups, login user", keys: []string{"Uid", "Gid", "Groups", "loginuid"}},
	{title: "capabilities, all five sets; securebits, keep-caps, no-new-privileges, `AT_SECURE`",
		keys: []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "securebits", "keepcaps", "NoNewPrivs", "secure"}},
	{title: "seccomp filters, speculation controls, security label",
		keys: []string{"Seccomp", "Seccomp_filters", "Speculation_Store_Bypass", "SpeculationIndirectBranch", "label"}},
	{title: "personality, dumpable, core filter, huge pages, machine check policy",
		keys: []string{"personality", "dumpable", "coredump", "thp", "THP_enabled", "mce"}},
	{title: "cgroup and all namespaces", keys: []string{"cgroup", "namespace."}},
	{title: "open descriptors: number, target, flags, close-on-exec, offset", keys: []string{"descriptor.", "flags.", "cloexec.", "offset."},
		withoutEntry: []string{"closed input", "closed output", "closed error", "all closed"},
		why:          "none more, none less; closed ones are closed",
		entryRemedy:  "Go opens `/dev/null` where 0, 1 or 2 was closed. Close it behind pidleash: `pidleash … -- sh -c 'exec PROGRAM <&-'`",
		cures: []cure{
			{in: "closed input", withoutEntry: true, behind: []string{"sh", "-c", `exec "$@" <&-`, "sh"}},
			{in: "all closed", withoutEntry: true, behind: []string{"sh", "-c", `exec "$@" <&- >&- 2>&-`, "sh"}},
		}},
	{title: "standard input: bytes and end", keys: []string{"stream.input"},
		withoutEntry: []string{"closed input", "all closed"},
		entryRemedy:  "as for the descriptors",
		cures:        []cure{{in: "closed input", withoutEntry: true, behind: []string{"sh", "-c", `exec "$@" <&-`, "sh"}}}},
	{title: "standard output when its reader has gone: death by SIGPIPE, or EPIPE", keys: []string{"stream.output"},
		withoutEntry: []string{"closed output", "all closed", "ignored signals"},
		why:          "pidleash then ends by SIGPIPE as well",
		entryRemedy:  "as for the descriptors and the ignored signals",
		cures:        []cure{{in: "ignored signals", withoutEntry: true, options: []string{"-ignore", "PIPE"}}}},
	{title: "`JOURNAL_STREAM` names standard error", keys: []string{"journal"}},
	{title: "blocked signals", keys: []string{"SigBlk"},
		withoutEntry: []string{"blocked signals", "one blocked signal"},
		entryRemedy: "lost are " + signalNames(lostWithoutEntry["block"]) + ", whichever was blocked. Block it behind pidleash: " +
			"`pidleash … -- env --block-signal=TERM PROGRAM`",
		cures: []cure{{in: "one blocked signal", withoutEntry: true, behind: []string{"env", "--block-signal=TERM"}}}},
	{title: "ignored signals", keys: []string{"SigIgn"},
		withoutEntry: []string{"background job", "ignored signals", "confined service"},
		why:          "those of `nohup`, of background jobs and systemd's SIGPIPE included; `-ignore` decides otherwise",
		entryRemedy: "kept are " + signalNames(others(lostWithoutEntry["ignore"])) + "; PIPE is taken as ignored when systemd has started pidleash. " +
			"For others `-ignore`: a background job wants `-ignore INT,QUIT`, a unit with `IgnoreSIGPIPE=no` wants `-ignore none`",
		cures: []cure{
			{in: "background job", withoutEntry: true, options: []string{"-ignore", "INT,QUIT"}},
			{in: "confined service", withoutEntry: true, options: []string{"-ignore", "none"}},
		}},
	{title: "caught signals (none)", keys: []string{"SigCgt"}},
	{title: "pending signals", keys: []string{"SigPnd", "ShdPnd"},
		why: "pidleash takes those that it was started with and sends them on once PROGRAM runs"},
	{title: "a timer set by `alarm(2)` or `setitimer(2)`", keys: []string{"alarm"},
		differs: []string{"after other work"},
		why:     "a timer stays with its process, which becomes pidleash. The SIGALRM is forwarded, so PROGRAM is ended by it all the same",
		remedy:  "nothing; set it behind pidleash if PROGRAM asks for the time left"},
	{title: "record locks of `fcntl(F_SETLK)`", keys: []string{"lock."},
		differs: []string{"after other work"},
		why:     "such a lock belongs to a process, which becomes pidleash: held as long as PROGRAM runs, but PROGRAM cannot take it again",
		remedy:  "use `flock(1)`: those locks go with the descriptor"},
	{title: "children from before", keys: []string{"children"},
		differs: []string{"after other work"},
		why:     "`job & exec PROGRAM` makes the job PROGRAM's child; behind pidleash it is pidleash's, which waits for it",
		remedy:  "start the job behind pidleash: `pidleash … -- sh -c 'job & exec PROGRAM'`"},
	{title: "subreaper attribute", keys: []string{"subreaper"},
		differs: []string{"after other work"},
		why:     "`PR_SET_CHILD_SUBREAPER` is not inherited; pidleash is the subreaper",
		remedy:  "a program that needs it sets it itself, which works"},
	{title: "who adopts orphans among its descendants", keys: []string{"adopter"},
		differs: everywhere,
		why:     "pidleash does and waits for them, so that no zombie stays and `-kill-mode` reaches them all. Without it PID 1 does, or the next subreaper; in a container PROGRAM, being PID 1",
		remedy:  "nothing: do not take a parent with PID 1 as a sign of a finished daemon"},
	{title: "own PID and parent", keys: []string{"pid", "parent"},
		differs: everywhere,
		why:     "pidleash stands between: the PID that the starter knows (`$!`, `$MAINPID`) is pidleash's, and in a container PROGRAM is not PID 1",
		remedy:  "the PID file has PROGRAM's; signals to pidleash reach it"},
	{title: "parent-death signal", keys: []string{"pdeathsig"},
		differs: everywhere,
		why: "KILL, so that PROGRAM does not outlive a pidleash that was killed. One that was set before is pidleash's, and forwarded. " +
			"The kernel clears it when PROGRAM changes its user itself (`setpriv`, `memcached -u`, a set-user-ID file): such a PROGRAM outlives it",
		remedy: "`-pdeathsig none`; where PROGRAM would change its user, `-user`, which comes before the signal is set",
		cures: []cure{
			{in: "process", options: []string{"-pdeathsig", "none"}}, {in: "nohup", options: []string{"-pdeathsig", "none"}},
			{in: "process", behind: []string{"setpriv", "--reuid=65534", "--clear-groups"}}, // cleared
		}},
	{title: "process group; whether `setsid(2)` works", keys: []string{"group", "setsid"},
		differs: inOwnGroup,
		why:     "PROGRAM leads a group of its own, so that signals to the caller's group come once. A leader cannot `setsid(2)`",
		remedy:  "`-same-group`, or PROGRAM forks first, as daemons do",
		cures:   []cure{{in: "process", options: []string{"-same-group"}}, {in: "background job", options: []string{"-same-group"}}}},
	{title: "session", keys: []string{"session"},
		differs: []string{"session leader", "terminal of its own", "service", "confined service", "activated service",
			"container", "confined container", "container with terminal"},
		why:    "the same one; but where the bare program would lead it, pidleash does",
		remedy: "`pidleash -same-group … -- setsid PROGRAM`, if PROGRAM insists and has no terminal",
		cures:  []cure{{in: "session leader", options: []string{"-same-group"}, behind: []string{"setsid"}}}},
	{title: "controlling terminal", keys: []string{"terminal"}},
	{title: "whether its process group is in the terminal's foreground", keys: []string{"foreground"},
		differs: []string{"terminal, pipeline", "terminal, redirected"},
		why: "with the terminal on standard input and output it is exactly when pidleash is. Other programs may share the terminal " +
			"with the rest of a pipeline or script: they get it when they read from it or set it up, and `^C` reaches them once either way",
		remedy: "nothing, or `-same-group` if PROGRAM asks by `tcgetpgrp(3)`",
		cures:  []cure{{in: "terminal, pipeline", options: []string{"-same-group"}}, {in: "terminal, redirected", options: []string{"-same-group"}}}},
}

var processSituations = []situation{
	process("process", "fork and exec by any program", nil),
	process("shell script", "a command in a bash script, found in PATH", func(s *scene) {
		s.name = "transparency"
	}, "bash", "-c", `"$@"; exit $?`, "bash"),
	process("nohup", "`nohup`", nil, "nohup"),
	process("background job", "`command &` in a script", nil, "sh", "-c", `"$@" & wait $!`, "sh"),
	process("closed input", "`<&-`", nil, "PROBE", "start", "close=0", "--"),
	process("closed output", "`>&-`", nil, "PROBE", "start", "close=1", "--"),
	process("closed error", "`2>&-`", nil, "PROBE", "start", "close=2", "--"),
	process("all closed", "`<&- >&- 2>&-`", nil, "PROBE", "start", "close=0", "close=1", "close=2", "--"),
	process("40 descriptors", "files at offsets, append mode, pipes, sockets, one at number 200", fortyMore, "PROBE", "start", "dup=200", "--"),
	process("soft limit", "`ulimit -Sn 256`", nil, "prlimit", "--nofile=256:"),
	process("all limits", "every limit lowered", nil, "prlimit", "--cpu=1000:2000", "--fsize=1000000:2000000",
		"--data=1000000000:2000000000", "--stack=4000000:6000000", "--core=0:0", "--rss=100000000:200000000", "--nproc=4000:5000",
		"--nofile=256:512", "--memlock=10000:20000", "--as=4000000000:5000000000", "--locks=10:20", "--sigpending=10:20",
		"--msgqueue=1000:2000", "--rttime=100000:200000"),
	process("priorities", "nice, ionice, batch class, one CPU, OOM score, timer slack, no address randomisation, umask, core filter", nil,
		"nice", "-n", "5", "ionice", "-c", "3", "chrt", "-b", "0", "taskset", "1", "choom", "-n", "500", "--", "setarch", "-R",
		"sh", "-c", `umask 027; echo 7 >/proc/self/coredump_filter; exec "$@"`, "sh", "PROBE", "start", "slack=123456", "--"),
	process("another user", "setpriv: groups, capabilities, ambient ones, securebits, no new privileges", nil,
		"setpriv", "--reuid=65534", "--regid=65534", "--groups=1,2", "--bounding-set=-all,+net_bind_service,+kill",
		"--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service", "--securebits=+no_setuid_fixup", "--no-new-privs"),
	process("odd environment", "names given twice, no equals sign, empty entries, any bytes", nil, "PROBE", "start", "environment", "--"),
	process("empty environment", "`env -i`", nil, "PROBE", "start", "no-environment", "--"),
	process("own variables", "PIDLEASH_ variables, PIDFILE naming the file in use", func(s *scene) {
		s.env = append(s.env, "PIDLEASH_LOG_LEVEL=warn", "PIDFILE="+s.p.dir+"/"+pidFileInUse, "C=3", "PIDLEASH_LOG_FORMAT=text",
			"PIDLEASH_UNKNOWN=kept", "PIDLEASH_LOG_LEVEL=info")
	}),
	process("other PIDFILE", "PIDFILE naming another file", func(s *scene) {
		s.env = append(s.env, "PIDFILE=/run/other.pid")
	}),
	process("ignored signals", "all that can be", nil, "PROBE", "start", "ignore=all", "--"),
	process("blocked signals", "all that can be", nil, "PROBE", "start", "block=all", "--"),
	process("one blocked signal", "`env --block-signal=TERM`", nil, "env", "--block-signal=TERM"),
	process("pending signals", "USR1 and a real-time signal, sent while they are blocked", func(s *scene) {
		s.args = []string{"pending=40"}
	}, "PROBE", "start", "block=10", "block=40", "raise=10", "raise=40", "--"),
	process("lost directory", "the working directory has been removed", inLostDirectory),
	process("session leader", "`setsid`", func(s *scene) { s.attr = &syscall.SysProcAttr{Setsid: true} }),
	process("after other work", "a process that has set a timer, locked a file, started a child, made itself a subreaper, "+
		"set a parent-death signal and SCHED_RESET_ON_FORK becomes the program",
		func(s *scene) { s.files = append(s.files, s.create("locked")) }, "PROBE", "start", "past", "--"),
	process("little address space", "`ulimit -v 262144`", func(s *scene) { s.starts = true }, "prlimit", "--as=268435456"),
	process("few processes", "`ulimit -u 1` of an ordinary user", func(s *scene) { s.starts = true },
		"setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", "prlimit", "--nproc=1:1"),
	process("files of no size", "`ulimit -Sf 0`", func(s *scene) { s.starts = true }, "prlimit", "--fsize=0:"),
	process("terminal, foreground", "a command of an interactive shell", onTerminal, "bash", "-m", "-c", `"$@"; exit $?`, "bash"),
	process("terminal, background", "`command &` of an interactive shell", onTerminal, "bash", "-m", "-c", `"$@" & wait $!`, "bash"),
	process("terminal, pipeline", "the last command of a pipeline", onTerminal, "bash", "-m", "-c", `cat /dev/null | "$@"; exit $?`, "bash",
		"PROBE", "start", "foreground", "--"),
	process("terminal, redirected", "`command >file` of an interactive shell", onTerminal,
		"bash", "-m", "-c", `"$@" >/dev/null; exit $?`, "bash"),
	process("terminal of its own", "`xterm -e`, `ssh -t`", onTerminal),
}

var serviceSituations = []situation{
	service("service", "a plain unit", "", ""),
	service("confined service", "User=, limits, priorities, capabilities, a system call filter, namespaces, IgnoreSIGPIPE=no", `User=nobody
Group=nogroup
SupplementaryGroups=adm
WorkingDirectory=/tmp
UMask=0027
Nice=5
OOMScoreAdjust=500
CPUAffinity=0
CPUSchedulingPolicy=batch
IOSchedulingClass=idle
TimerSlackNSec=123456
CoredumpFilter=private-anonymous
LimitNOFILE=256:512
LimitSTACK=4M
Personality=x86-64
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_KILL
AmbientCapabilities=CAP_NET_BIND_SERVICE
SecureBits=no-setuid-fixup
SystemCallFilter=@system-service
PrivateNetwork=yes
PrivateIPC=yes
IgnoreSIGPIPE=no
`, ""),
	service("activated service", "Sockets=, NotifyAccess=main, WatchdogSec=", "NotifyAccess=main\nWatchdogSec=60\n",
		"ListenStream="+serviceDir+"/stream\nListenDatagram="+serviceDir+"/datagram\nFileDescriptorName=two\n"),
}

var containerSituations = []situation{
	container("container", "the entrypoint, PID 1"),
	container("confined container", "user, no capabilities, no new privileges, read-only, a limit",
		"--user=1000:1000", "--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--ulimit=nofile=256:512", "--ulimit=nproc=1024:1024"),
	container("container with terminal", "`podman run -t`", "--tty"),
}

// document is docs/transparency.md.
func document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	b.WriteString("| what PROGRAM sees | behind pidleash | why | what to do |\n|---|---|---|---|\n")
	for i := range table {
		r := &table[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.title, verdict(r.differs), r.why, r.remedy)
	}
	b.WriteString(documentBackground)
	b.WriteString("| what PROGRAM sees | with `-daemon` | why | what to do |\n|---|---|---|---|\n")
	for i := range backgroundTable {
		r := &backgroundTable[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.title, r.is, r.why, r.remedy)
	}
	b.WriteString(documentWithoutEntry)
	b.WriteString("| what PROGRAM sees | differs in | what to do |\n|---|---|---|\n")
	for i := range table {
		if r := &table[i]; len(r.withoutEntry) > 0 {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.title, strings.Join(r.withoutEntry, "; "), r.entryRemedy)
		}
	}
	b.WriteString(documentSituations)
	b.WriteString("| name | what it is |\n|---|---|\n")
	for _, s := range slices.Concat(processSituations, serviceSituations, containerSituations) {
		fmt.Fprintf(&b, "| %s | %s |\n", s.name, s.text)
	}
	return b.String()
}

// verdict names the situations in which a row differs, or the others if these are
// fewer.
func verdict(differs []string) string {
	var others []string
	for _, s := range slices.Concat(processSituations, serviceSituations, containerSituations) {
		if !slices.Contains(differs, s.name) && !slices.Contains(cannotStart, s.name) {
			others = append(others, s.name)
		}
	}
	switch {
	case len(differs) == 0:
		return "same"
	case slices.Equal(differs, everywhere):
		return "**differs**"
	case len(others) < len(differs):
		return "**differs**; same in: " + strings.Join(others, "; ")
	}
	return "same; **differs** in: " + strings.Join(differs, "; ")
}

const documentHead = `# How a program can tell that it is wrapped

<!-- Made by: go test -run TestTransparency ./integration_test/transparency -update -->

"Prefix it, and everything that worked still works." This page is the measurement. A static program that looks at everything
a process can see of how it was started ran twice in each of the situations at the end of this page, directly and behind
pidleash, and the two reports were compared. ` + "`TestTransparency`" + ` does so at every change; it fails when a row here is not true,
when the program sees something that no row is about, and when a remedy that can be tried does not help.

The table is about the released binary on amd64. What differs does so because there is one more process, or because somebody would
miss it otherwise; each such row says what to do.

`

const documentBackground = `
Beyond the table: pidleash counts as one process with up to a dozen threads against ` + "`pids.max` and `ulimit -u`" + `, and strace and
gdb that start pidleash have to follow its child.

## In the background

With ` + "`-daemon`" + ` PROGRAM is detached from whoever started it. ` + "`TestBackground`" + ` checks these rows; with ` + "`-sidecar`" + ` none of them applies.

`

const documentWithoutEntry = `
## Built in another way

The released binary is built by ` + "`make`" + `, which links it to enter through a few instructions of its own: they note
the signals and descriptors before Go's runtime changes them. ` + "`go run`, `go install`, a plain `go build`" + ` and other architectures
than amd64 lack that. Then PROGRAM finds unchanged only what Go leaves alone, and with ` + "`-same-group`" + ` it has ` + "`^C`" + ` twice; in
a pipeline its children do not have it.
All rows above hold, except:

`

const documentSituations = `
## The situations

`

// What a program can tell of being wrapped. One probe is started twice from the
// same state, directly and behind pidleash, and tells everything that a process
// can see of how it was started (testdata/transparency.c). The table in
// transparency_table_test.go says what may differ, where, and what to do about it;
// docs/transparency.md is made of it.
//
// The test fails when a fact differs that no row allows, when one is the same
// that a row says differs, when a remedy does not help, when the probe tells
// something that no row is about, and when the document is not that of the table:
//
//	go test -run TestTransparency ./integration_test/transparency -update

var update = flag.Bool("update", false, "write docs/transparency.md anew")

// process is a situation of ordinary processes. PROBE in the words that stand in
// front of the command line is the probe's file.
func process(name, text string, set func(s *scene), before ...string) situation {
	return situation{name, text, func(p *probing) func(w wrapping) facts {
		s := newScene(p)
		for _, word := range before {
			s.before = append(s.before, strings.ReplaceAll(word, "PROBE", p.probe))
		}
		if set != nil {
			set(s)
		}
		return s.look
	}}
}

// onTerminal gives every start a new pseudoterminal, the controlling one of a
// session whose leader is the first of the words.
func onTerminal(s *scene) {
	s.attr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.streams = false
	s.renew = func() {
		_, end := openTerminal(s)
		var st unix.Stat_t
		if err := unix.Fstat(int(end.Fd()), &st); err != nil {
			s.p.Fatal(err)
		}
		s.files = []*os.File{end, end, end}
		// Each gets a number of its own, tty_nr of proc(5).
		number := unix.Major(st.Rdev)<<8 | unix.Minor(st.Rdev)&0xff | unix.Minor(st.Rdev)&0xfff00<<12
		s.mask = map[*regexp.Regexp]string{
			regexp.MustCompile("^" + regexp.QuoteMeta(end.Name()) + "$"): "the terminal",
			regexp.MustCompile(fmt.Sprintf("^%d$", number)):              "the terminal",
			regexp.MustCompile(`^pipe:\[\d+\]$`):                         "a pipe",
		}
	}
}

// openTerminal returns both sides of a new pseudoterminal, pts(4).
func openTerminal(s *scene) (near, end *os.File) {
	s.p.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		bed.Missing(s.p.T, "%v", err)
	}
	s.closeAtEnd(near)
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		s.p.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		s.p.Fatal(err)
	}
	end, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		s.p.Fatal(err)
	}
	s.closeAtEnd(end)
	return near, end
}

// inLostDirectory reaches a directory that has no name any more through a
// descriptor, proc(5).
func inLostDirectory(s *scene) {
	path := filepath.Join(s.dir, "lost")
	if err := os.Mkdir(path, 0o777); err != nil {
		s.p.Fatal(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		s.p.Fatal(err)
	}
	s.closeAtEnd(dir)
	if err := os.Remove(path); err != nil {
		s.p.Fatal(err)
	}
	s.dir = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), dir.Fd())
}

// fortyMore are files with offsets, pipes and sockets from descriptor 3 on.
func fortyMore(s *scene) {
	for i := range 20 {
		f := s.create(fmt.Sprintf("extra-%d", i))
		if _, err := f.WriteString("some bytes to stand behind"); err != nil {
			s.p.Fatal(err)
		}
		if _, err := f.Seek(int64(i), 0); err != nil {
			s.p.Fatal(err)
		}
		s.files = append(s.files, f)
	}
	appended, err := os.OpenFile(filepath.Join(s.dir, "extra-0"), os.O_WRONLY|os.O_APPEND|syscall.O_NOATIME, 0)
	if err != nil {
		s.p.Fatal(err)
	}
	s.closeAtEnd(appended)
	s.files = append(s.files, appended)
	for range 5 {
		r, w := bed.NewPipe(s.p)
		s.closeAtEnd(r, w)
		s.files = append(s.files, r, w)
	}
	for range 4 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			s.p.Fatal(err)
		}
		a, b := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
		s.closeAtEnd(a, b)
		s.files = append(s.files, a, b)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		s.p.Fatal(err)
	}
	f := os.NewFile(uintptr(epoll), "epoll")
	s.closeAtEnd(f)
	s.files = append(s.files, f)
}

// service is a situation of a unit with these lines in its [Service], and with a
// socket unit of these lines, if any.
func service(name, text, lines, socket string) situation {
	return situation{name, text, func(p *probing) func(w wrapping) facts {
		return func(w wrapping) (f facts) {
			kind := "directly"
			if w.binary != "" {
				kind = filepath.Base(w.binary)
				w.binary = filepath.Join(serviceDir, kind)
			}
			// The unit goes with its test, and the next one has the same name.
			p.Run(kind, func(t *testing.T) { f = p.in(t).lookAtService(w, lines, socket) })
			return f
		}
	}}
}

// container is a situation of a container's first process.
func container(name, text string, options ...string) situation {
	return situation{name, text, func(p *probing) func(w wrapping) facts {
		return func(w wrapping) facts {
			p.Helper()
			in := func(name string) string { return filepath.Join("/lab", name) }
			if w.binary != "" {
				w.binary = in(filepath.Base(w.binary))
			}
			words := w.words(in(pidFileInUse), in("transparency"), "look", in("out"), "", "two words")
			c := p.podman.Start(p.T, slices.Concat([]string{"--volume=" + p.dir + ":/lab", "--hostname=lab"}, options), words...)
			if code := c.Exit(); code != 0 {
				p.Fatalf("exit code %d: %s", code, c.Stderr())
			}
			f := parseFacts(bed.ReadFile(p, filepath.Join(p.dir, "out")))
			if err := os.Remove(filepath.Join(p.dir, "out")); err != nil {
				p.Error(err)
			}
			delete(f, "directory.inode") // of a new file system
			f = f.settle(1, map[*regexp.Regexp]string{
				regexp.MustCompile(`:\[\d+\]$`):    " of the container",
				regexp.MustCompile(`[0-9a-f]{64}`): "(container)",
			})
			// podman gives the variables in another order each time.
			list := strings.Split(f["environment"], "\n")
			slices.Sort(list)
			f["environment"] = strings.Join(list, "\n")
			return f
		}
	}}
}
