package docs

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// room is a package of the program: what it may import of the others, and why.
type room struct {
	name    string
	imports map[string]string
}

// rooms has them from the top to the bottom. Imports go down: a room may import only what
// stands below it here. A new room is a new line, a new import a new reason.
var rooms = []room{
	{"", map[string]string{
		"internal/cli": "main calls the command line, and exits with its code",
	}},
	{"internal/cli", map[string]string{
		"wrapper":           "Run and Keep: a plan is carried out",
		"internal/control":  "the commands stop, signal and wait",
		"internal/plan":     "arguments and environment become a plan",
		"internal/fault":    "an error becomes one line and an exit code",
		"internal/signals":  "they are caught first of all; the process ends by the program's signal",
		"internal/pidfile":  "status and list print what Inspect finds",
		"internal/sdnotify": "IsJournal: the journal wants <N> in front of a message",
		"internal/atstart":  "the program gets the environment byte for byte as it was",
		"internal/safeopen": "list walks directories that may be anybody's",
		"internal/reserve":  "a command, too, needs descriptors before it acts",
		"internal/sys":      "a call that was interrupted is made again",
	}},
	{"wrapper", map[string]string{
		"internal/machine":   "it decides what the loop does",
		"internal/plan":      "what to run, and how",
		"internal/launch":    "from fork to exec",
		"internal/signals":   "what is to be forwarded",
		"internal/process":   "the program is held, its family swept, children reaped",
		"internal/daemon":    "-forking: which process the program has become",
		"internal/pidfile":   "the file is claimed, looked at and removed",
		"watch":              "hints that the file may have changed",
		"internal/condition": "-while and -while-running",
		"internal/ready":     "when the program is up",
		"internal/terminal":  "it is lent to the program",
		"internal/link":      "a keeper and its caller talk over it",
		"internal/sdnotify":  "the program's messages are relayed to the service manager",
		"internal/atstart":   "a keeper gets the environment byte for byte as it was",
		"internal/fault":     "why a program could not be started",
		"internal/reserve":   "threads and descriptors exist before the program can take them",
		"internal/sys":       "a call that was interrupted is made again",
	}},
	{"internal/control", map[string]string{
		"internal/pidfile": "Take: whom the file names, checked and held",
		"internal/process": "who is signalled is held by a pidfd",
		"internal/plan":    "stop goes through a schedule; the name of a watchdog",
		"watch":            "wait looks again when the file may have changed",
		"internal/fault":   "an error has the command's exit code",
	}},
	{"internal/launch", map[string]string{
		"internal/plan":     "Context: what the program finds itself in",
		"internal/pidfile":  "the child publishes a claim before execve",
		"internal/atstart":  "limits and dispositions are the program's as they were at start",
		"internal/sdnotify": "IsJournal: a program in the background keeps an output that is the journal",
		"internal/fault":    "what has failed, and 126 or 127",
		"internal/safeopen": "root follows nobody to where -stdout is",
		"internal/sys":      "a call that was interrupted is made again",
	}},
	{"internal/machine", map[string]string{
		"internal/plan": "what was asked for decides",
	}},
	{"internal/daemon", map[string]string{
		"internal/fault":   "an error with a hint",
		"internal/pidfile": "Named: whom the daemon's own file names",
		"internal/process": "who came of the program",
		"internal/plan":    "which file is the daemon's; how one that was lost has ended",
		"internal/sys":     "a call that was interrupted is made again",
	}},
	{"internal/condition", map[string]string{
		"watch":             "hints that a file may have come or gone",
		"internal/pidfile":  "-while-running: whom the file names, checked and held",
		"internal/process":  "the end of a held process is a hint, too",
		"internal/safeopen": "-while: whether a path leads to anything",
	}},
	{"internal/ready", map[string]string{
		"internal/plan":     "what -ready asks for",
		"internal/fault":    "why the program is not up",
		"internal/safeopen": "root reads nobody else's file as the program's log",
		"internal/sys":      "a call that was interrupted is made again",
	}},
	{"internal/terminal", map[string]string{
		"internal/atstart": "how an architecture stores a set of signals",
		"internal/process": "whether the group that has the terminal has other members",
		"internal/sys":     "a call that was interrupted is made again",
	}},
	{"internal/pidfile", map[string]string{
		"internal/process":  "whether whom a file names runs, and since when",
		"internal/fault":    "an error names the file, and the remedy",
		"internal/safeopen": "root follows nobody to another PID file",
		"internal/sys":      "a call that was interrupted is made again",
	}},
	{"internal/signals", map[string]string{
		"internal/atstart": "what was ignored and blocked at start",
		"internal/reserve": "whether Go's poller can wait for the signalfd",
		"internal/sys":     "a call that was interrupted is made again",
	}},
	{"internal/reserve", map[string]string{
		"internal/fault": "what is missing, and where it is allowed",
		"internal/sys":   "a call that was interrupted is made again",
	}},
	{"watch", map[string]string{
		"internal/process": "Path: a look each second that allocates nothing, with unsafe where it is already",
		"internal/sys":     "a call that was interrupted is made again",
	}},
	{"internal/process", map[string]string{
		"internal/sys": "a call that was interrupted is made again",
	}},
	{"internal/safeopen", map[string]string{
		"internal/fault": "why a file is refused, and the remedy",
		"internal/sys":   "a call that was interrupted is made again",
	}},
	{"internal/plan", nil},
	{"internal/link", map[string]string{
		"internal/sys": "a call that was interrupted is made again",
	}},
	{"internal/sdnotify", map[string]string{
		"internal/fault": "Visible: what pidleash says itself is one line",
		"internal/sys":   "a call that was interrupted is made again",
	}},
	{"internal/fault", nil},
	{"internal/sys", nil},
	{"internal/atstart", nil},
}

// onlyImports has the rooms that are closed to other people's packages, too.
var onlyImports = []struct {
	room     string
	packages []string
	reason   string
}{
	{"internal/atstart", []string{"unsafe"}, "any other import is initialised before it, and package syscall's initialisation raises RLIMIT_NOFILE"},
	{"internal/machine", []string{module + "/internal/plan", "syscall", "time"}, "it decides, and touches neither processes nor files nor clocks"},
}

// keptOut are packages that the program does not have, through whatever library.
var keptOut = map[string]string{
	"net": "its initialisation, and what it brings with it, would be paid for at every start of every program",
}

func TestImports(t *testing.T) {
	t.Run("table", testImportsTable)
	t.Run("downwards", testImportsGoDown)
	t.Run("control", testControlKnowsNoWrapper)
	t.Run("closed", testClosedRooms)
	t.Run("kept out", testKeptOut)
}

// imported has what each room imports, for whatever system.
func imported(t *testing.T) map[string][]string {
	all := map[string][]string{}
	for _, s := range sources(t) {
		list := all[s.room]
		for _, i := range s.file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, path)
		}
		all[s.room] = list
	}
	for name, list := range all {
		slices.Sort(list)
		all[name] = slices.Compact(list)
	}
	return all
}

func testImportsTable(t *testing.T) {
	all := imported(t)
	for _, r := range rooms {
		unused := maps.Clone(r.imports)
		for _, path := range all[r.name] {
			to, ours := strings.CutPrefix(path, module+"/")
			if ours && r.imports[to] == "" {
				t.Errorf("%s imports %s: say in rooms why it may", roomName(r.name), to)
			}
			delete(unused, to)
		}
		for to := range unused {
			t.Errorf("%s does not import %s any more: take it out of rooms", roomName(r.name), to)
		}
		if _, known := all[r.name]; !known {
			t.Errorf("%s is in rooms, and is no package", roomName(r.name))
		}
		delete(all, r.name)
	}
	for name := range all {
		t.Errorf("%s is not in rooms: say there what it may import, and why", name)
	}
}

// Go refuses a circle. Order is more: it says which room is to be read, and written, first.
func testImportsGoDown(t *testing.T) {
	above := map[string]bool{}
	for _, r := range rooms {
		above[r.name] = true
		for to := range r.imports {
			if above[to] {
				t.Errorf("%s may import %s, which stands above it in rooms", roomName(r.name), to)
			}
		}
	}
}

// The commands work on anybody's files, so nothing in them may rest on how pidleash runs programs.
func testControlKnowsNoWrapper(t *testing.T) {
	reached, next := map[string]bool{}, []string{"internal/control"}
	for len(next) > 0 {
		name := next[0]
		next = next[1:]
		for _, r := range rooms {
			if r.name == name && !reached[name] {
				reached[name] = true
				next = slices.AppendSeq(next, maps.Keys(r.imports))
			}
		}
	}
	for _, name := range []string{"wrapper", "internal/machine", "internal/launch"} {
		if reached[name] {
			t.Errorf("internal/control reaches %s", name)
		}
	}
}

func testClosedRooms(t *testing.T) {
	all := imported(t)
	for _, c := range onlyImports {
		if !slices.Equal(all[c.room], c.packages) {
			t.Errorf("%s imports %v, want %v: %s", c.room, all[c.room], c.packages, c.reason)
		}
	}
}

// testKeptOut asks Go for all that is linked, as it is built.
func testKeptOut(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-tags", "urfave_cli_no_docs,entry", ".")
	list.Dir, list.Env = bed.ModuleFile("."), append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, module+"/wrapper") {
		t.Fatalf("what is linked has no wrapper: %q", linked)
	}
	for name, reason := range keptOut {
		if slices.Contains(linked, name) {
			t.Errorf("package %s is linked: %s", name, reason)
		}
	}
}
