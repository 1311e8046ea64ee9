package faults

import (
	"slices"
	"strings"
)

// injectMode is a way to use pidleash, from the start to the end.
type injectMode struct {
	name    string
	options []string // FILE is the PID file, DIR its directory, OTHER another one, PORT where somebody accepts
	act     string   // PROGRAM's, of acts.c; empty: it is a command on the file of a pidleash that runs
	end     string   // how it is ended: "TERM", "": by itself; else the path of a file that is removed
	managed bool     // a service manager listens, and hears when PROGRAM is up
	usual   string   // how it ends when no call fails
	say     string   // what a command then writes to standard output

	inject, acts string // the programs
}

var injectModes = []*injectMode{
	{name: "no file", act: "runs", end: "TERM"},
	{name: "foreground", options: []string{"-pidfile", "FILE"}, act: "runs", end: "FILE"},
	{name: "its own end", options: []string{"-pidfile", "FILE"}, act: "ends"},
	{name: "-restart", act: "again", end: "FILE",
		options: []string{"-pidfile", "FILE", "-restart", "always", "-restart-delay", "0"}},
	{name: "-forking", options: []string{"-pidfile", "FILE", "-forking", "-start-timeout", "5s"}, act: "daemon", end: "FILE"},
	{name: "-daemon", options: []string{"-pidfile", "FILE", "-daemon"}, act: "runs", end: "FILE"},
	{name: "-daemon -restart", act: "runs", end: "FILE",
		options: []string{"-pidfile", "FILE", "-daemon", "-restart", "always", "-restart-delay", "0"}},
	{name: "-sidecar", options: []string{"-pidfile", "FILE", "-sidecar"}, act: "runs", end: "FILE"},
	{name: "-daemon -forking", options: []string{"-pidfile", "FILE", "-daemon", "-forking", "-start-timeout", "5s"}, act: "daemon", end: "FILE"},
	{name: "-while", act: "runs", end: "OTHER/cond",
		options: []string{"-pidfile", "FILE", "-while", "OTHER/cond"}},
	{name: "-while-running", act: "runs", end: "OTHER/cond.pid",
		options: []string{"-pidfile", "FILE", "-while-running", "OTHER/cond.pid"}},
	{name: "-daemon -while", act: "runs", end: "OTHER/cond",
		options: []string{"-pidfile", "FILE", "-daemon", "-while", "OTHER/cond"}},
	{name: "-supervisor-pidfile", act: "runs", end: "FILE",
		options: []string{"-pidfile", "FILE", "-supervisor-pidfile", "DIR/s.pid"}},
	{name: "-daemon -supervisor-pidfile", act: "runs", end: "FILE",
		options: []string{"-pidfile", "FILE", "-daemon", "-supervisor-pidfile", "DIR/s.pid"}},
	{name: "-forking -follow", act: "follow", end: "FILE",
		options: []string{"-pidfile", "FILE", "-forking", "-follow", "OTHER/runs.pid", "-start-timeout", "5s"}},
	{name: "-user", options: []string{"-pidfile", "FILE", "-user", "nobody"}, act: "runs", end: "FILE"},
	{name: "-stdout -stderr -chdir", act: "runs", end: "FILE",
		options: []string{"-pidfile", "FILE", "-stdout", "OTHER/out", "-stderr", "OTHER/err", "-chdir", "OTHER"}},
	{name: "-umask -nice -oom-score-adj", act: "runs", end: "FILE",
		options: []string{"-pidfile", "FILE", "-umask", "027", "-nice", "1", "-oom-score-adj", "1"}},
	{name: "-stop-command", act: "runs", end: "FILE",
		options: []string{"-pidfile", "FILE", "-stop-command", "kill $MAINPID"}},
	{name: "-daemon -ready tcp:", act: "runs", end: "FILE",
		options: []string{"-pidfile", "FILE", "-daemon", "-ready", "tcp:PORT", "-start-timeout", "5s"}},
	{name: "-ready cmd:", act: "runs", end: "FILE", managed: true,
		options: []string{"-pidfile", "FILE", "-ready", "cmd:exit 0", "-start-timeout", "5s"}},
	{name: "-ready notify", act: "tells", end: "FILE", managed: true,
		options: []string{"-pidfile", "FILE", "-ready", "notify", "-start-timeout", "5s"}},
	{name: "status", options: []string{"status", "FILE"}},
	{name: "stop", options: []string{"stop", "FILE"}},
	{name: "signal", options: []string{"signal", "TERM", "FILE"}},
	{name: "wait", options: []string{"wait", "-until", "running", "FILE"}},
	{name: "list", options: []string{"list", "DIR"}},
}

func (m *injectMode) isConditional() bool { return strings.HasPrefix(m.end, "OTHER/cond") }

func (m *injectMode) inBackground() bool {
	return slices.Contains(m.options, "-daemon") || slices.Contains(m.options, "-sidecar")
}
