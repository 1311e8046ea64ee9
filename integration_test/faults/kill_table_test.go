package faults

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// finding is what may be found when all is quiet after a strike; several are a set.
type finding uint8

const (
	none    finding = 1 << iota // PROGRAM does not run, and there is no file
	stale                       // PROGRAM does not run; the file is there, and status says so
	held                        // PROGRAM runs, and pidleash holds it
	alone                       // PROGRAM runs, and the file names it, which nobody holds
	unnamed                     // PROGRAM runs, and there is no file
)

// findingNames are the words of the page.
var findingNames = []struct {
	finding finding
	text    string
}{
	{none, "ended, no file"},
	{stale, "ended, stale file"},
	{held, "runs, held"},
	{alone, "runs, held by nobody"},
	{unnamed, "runs, no file"},
}

func (a finding) String() string {
	var words []string
	for _, n := range findingNames {
		if a&n.finding != 0 {
			words = append(words, n.text)
		}
	}
	return strings.Join(words, "; or ")
}

// moment is from when on pidleash is struck.
type moment int

const (
	atStart moment = iota // until PROGRAM is up
	atRemoval
	atTerm
	atEnd
	moments
)

var momentNames = [moments]string{"start", "removal", "TERM", "end"}

// findings has those of each moment; 0: the process is not there then.
type findings [moments]finding

// killMode is a way to hold a program.
type killMode struct {
	name    string
	options []string // OTHER is a directory with a file called cond, DIR that of the PID file
	forks   bool     // PROGRAM turns itself into a daemon
	beside  bool     // PROGRAM is not the keeper's child
	again   bool     // PROGRAM's own end is no end
}

func (m *killMode) inFront() bool { return m.options[0] != "-daemon" && m.options[0] != "-sidecar" }

// killModes are all of them. What can be combined without changing whose child PROGRAM is stands together.
var killModes = []*killMode{
	{name: "foreground", options: []string{"-settle", "20ms"}},
	{name: "-restart", options: []string{"-restart", "always", "-restart-delay", "10ms"}, again: true},
	{name: "-while", options: []string{"-while", "OTHER/cond"}},
	{name: "-supervisor-pidfile", options: []string{"-supervisor-pidfile", "DIR/s.pid"}},
	{name: "-forking", options: []string{"-forking"}, forks: true},
	{name: "-daemon", options: []string{"-daemon"}, beside: true},
	{name: "-daemon -supervisor-pidfile", options: []string{"-daemon", "-supervisor-pidfile", "DIR/s.pid"}, beside: true},
	{name: "-daemon -forking", options: []string{"-daemon", "-forking"}, forks: true, beside: true},
	{name: "-sidecar", options: []string{"-sidecar"}, beside: true},
	{name: "-daemon -restart", options: []string{"-daemon", "-restart", "always", "-restart-delay", "10ms"}, again: true},
	{name: "-daemon -while", options: []string{"-daemon", "-while", "OTHER/cond"}},
}

// killRows are the documented answers to a SIGKILL.
var killRows = []struct {
	whom  string
	modes []string
	findings
}{
	{"pidleash", []string{"foreground", "-restart", "-while", "-supervisor-pidfile"},
		findings{none | stale, none, none | stale, none | stale}},
	{"pidleash", []string{"-forking"},
		findings{none | alone | unnamed, none | unnamed, none | stale | alone, none | stale}},
	{"caller", []string{"-daemon", "-daemon -supervisor-pidfile", "-daemon -forking", "-daemon -restart", "-daemon -while"},
		findings{none | held}},
	{"caller", []string{"-sidecar"}, findings{none}},
	{"starter", []string{"-daemon -forking"}, findings{none | held}},
	{"keeper", []string{"-daemon", "-daemon -supervisor-pidfile", "-daemon -forking", "-sidecar"},
		findings{none | alone, none | unnamed, none | stale, none | stale}},
	{"keeper", []string{"-daemon -restart", "-daemon -while"}, findings{none | stale, none, none | stale, none | stale}},
}

// strike is what is done to pidleash.
type strike struct {
	name   string
	signal syscall.Signal // 0: the reader of its standard output and error goes away
	stops  bool           // CONT follows
	ends   bool           // it means the end
}

var kill = &strike{name: "KILL", signal: syscall.SIGKILL}

// otherStrikes come from the terminal of whoever has started pidleash, and reach the process that was started.
var otherStrikes = []*strike{
	{name: "INT", signal: syscall.SIGINT, ends: true},
	{name: "QUIT", signal: syscall.SIGQUIT, ends: true},
	{name: "TSTP, then CONT", signal: syscall.SIGTSTP, stops: true},
	{name: "STOP, then CONT", signal: syscall.SIGSTOP, stops: true},
	{name: "closed pipe"},
}

// answers to a strike that is not KILL.
func (s *strike) findings(m *killMode) findings {
	switch {
	case m.inFront() && s.ends:
		return findings{none, none, none, none}
	case m.inFront() && m.again && s.signal == syscall.SIGTSTP:
		return findings{held, none, none} // it may come while there is no PROGRAM, and nothing stops
	case m.inFront() && m.again:
		return findings{held, none, none, held}
	case m.inFront():
		return findings{held, none, none, none}
	case s.ends:
		return findings{none | held}
	}
	return findings{held}
}

// killRow is one row of the whole table: somebody is struck in one mode, at every step from one moment on.
type killRow struct {
	mode    *killMode
	whom    string
	strike  *strike
	moment  moment
	finding finding
}

func (r *killRow) String() string {
	return fmt.Sprintf("%s, %s, %s, %s", r.mode.name, r.whom, momentNames[r.moment], r.strike.name)
}

// allKillRows is the whole table.
func allKillRows() (rows []*killRow) {
	add := func(m *killMode, whom string, s *strike, a findings) {
		for at, f := range a {
			if f != 0 {
				rows = append(rows, &killRow{m, whom, s, moment(at), f})
			}
		}
	}
	for _, m := range killModes {
		for _, k := range killRows {
			if slices.Contains(k.modes, m.name) {
				add(m, k.whom, kill, k.findings)
			}
		}
		whom := "caller"
		if m.inFront() {
			whom = "pidleash"
		}
		for _, s := range otherStrikes {
			add(m, whom, s, s.findings(m))
		}
	}
	return rows
}

// TestKilledPage: its section of docs/faults.md is made from the table, so that it cannot be wrong.
func TestKilledPage(t *testing.T) {
	var text strings.Builder
	text.WriteString(`The test that made this page strikes pidleash at every system call of its start, and of its end: from the removal of the
file, from a TERM, and from PROGRAM's own end. Each row has everything that may be found then. ` + "`pidleash status`" + `
tells the truth in each case, two PROGRAMs never run where the file names one, and the next start removes whatever
is left: a stale file, hidden names, the path lock. Where PROGRAM runs and nobody holds it, the next start ends with
120, and ` + "`pidleash stop`" + ` stops PROGRAM.

SIGKILL:

| killed is | mode | at the start | after the removal of the file | after TERM | after PROGRAM's own end |
|---|---|---|---|---|---|
`)
	for _, r := range killRows {
		fmt.Fprintf(&text, "| %s | %s |%s\n", r.whom, strings.Join(r.modes, ", "), r.findings.cells())
	}
	text.WriteString(`
A PROGRAM that is pidleash's child dies with it, by ` + "`-pdeathsig KILL`" + `, with the exceptions that the README names. With
` + "`-daemon`, `-sidecar` and `-forking`" + ` it is no child, and goes on; but as long as it is not up, the survivor of caller and
keeper stops it and removes the files. In the foreground there is no such pair: a daemon of ` + "`-forking`" + ` that is not known
yet then runs without a file, and the next start begins another one. After a removal, PROGRAM runs without a file if
the keeper was killed before it had sent TERM.

What comes from the terminal from which pidleash was started, to the process that was started:

| strike | mode | at the start | after the removal of the file | after TERM | after PROGRAM's own end |
|---|---|---|---|---|---|
`)
	for _, s := range otherStrikes {
		for _, m := range []*killMode{killModes[0], killModes[1], killModes[5]} {
			names := map[*killMode]string{killModes[0]: "foreground", killModes[1]: "foreground, `-restart always`", killModes[5]: "background"}
			if m == killModes[1] && s.findings(m) == s.findings(killModes[0]) {
				continue
			}
			fmt.Fprintf(&text, "| %s | %s |%s\n", s.name, names[m], s.findings(m).cells())
		}
	}
	text.WriteString(`
No QUIT is so early that Go's runtime prints its goroutines: [early-signals.md](decisions/early-signals.md). In a build
without the entry code one may be: [transparency.md](transparency.md), "Built in another way".
`)
	text.WriteString("\nThe tables and their test are in integration_test/faults/kill_table_test.go and kill_matrix_test.go.\n")
	expectSection(t, "When pidleash is killed", text.String())
}

func (a findings) cells() string {
	var cells strings.Builder
	for _, f := range a {
		if f == 0 {
			cells.WriteString(" – |")
		} else {
			fmt.Fprintf(&cells, " %v |", f)
		}
	}
	return cells.String()
}
