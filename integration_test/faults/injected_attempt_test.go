package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"pidleash/integration_test/bed"

	"golang.org/x/sys/unix"
)

// answer is what came of one run.
type answer struct {
	code  string // the exit code, or the signal
	text  string // standard error, with FILE, DIR and N for what differs
	left  string // files that are left over
	fault string // what is wrong; empty: nothing is
	hits  int    // how many calls have failed
	calls []string
}

// injected is one run.
type injected struct {
	*injectMode
	in         injection
	dir, other string
	file, runs string
	mark       bed.Mark
	run        *traced
	listener   net.Listener  // at PORT
	manager    *net.UnixConn // what $NOTIFY_SOCKET names
	told       chan struct{} // closed when PROGRAM is up, as the manager hears
	stdout     string
	answer
}

// attempt runs it once. Nothing of it is left afterwards.
func (m *injectMode) attempt(in injection) answer {
	a := &injected{injectMode: m, in: in}
	if err := a.prepare(); err != nil {
		return answer{fault: "the test: " + err.Error()}
	}
	defer a.clear()
	if err := a.start(); err != nil {
		return answer{fault: "the test: " + err.Error()}
	}
	if m.act == "" {
		a.command()
	} else {
		a.program()
	}
	a.look()
	return a.answer
}

func (a *injected) prepare() (err error) {
	a.mark = newMark()
	if a.dir, err = os.MkdirTemp("", "pidleash-inject-"); err == nil {
		a.other, err = os.MkdirTemp("", "pidleash-inject-")
	}
	a.file, a.runs = a.dir+"/p.pid", a.other+"/runs"
	if err != nil {
		return err
	}
	if err := os.Chmod(a.other, 0o777); err != nil { // PROGRAM may be nobody's
		return err
	}
	if err := os.WriteFile(a.other+"/cond", nil, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(a.other+"/cond.pid", fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return err
	}
	return a.listen()
}

// listen is for what pidleash asks, or tells.
func (a *injected) listen() (err error) {
	if slices.Contains(a.options, "tcp:PORT") { // the kernel accepts
		if a.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	if !a.managed {
		return nil
	}
	a.told = make(chan struct{})
	a.manager, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: a.other + "/manager", Net: "unixgram"})
	if err != nil {
		return err
	}
	go func() {
		defer close(a.told)
		for text := make([]byte, 4096); ; {
			n, err := a.manager.Read(text)
			if err != nil || slices.Contains(strings.Split(string(text[:n]), "\n"), "READY=1") {
				return
			}
		}
	}()
	return nil
}

// words are the arguments.
func (a *injected) words(options ...string) []string {
	words := []string{}
	for _, o := range options {
		words = append(words, a.path(o))
	}
	return words
}

// path puts the names of this run in the place of those of the table.
func (a *injected) path(text string) string {
	names := []string{"FILE", a.file, "DIR", a.dir, "OTHER", a.other}
	if a.listener != nil {
		names = append(names, "PORT", fmt.Sprint(a.listener.Addr().(*net.TCPAddr).Port))
	}
	return strings.NewReplacer(names...).Replace(text)
}

func (a *injected) start() error {
	stderr, err := os.OpenFile(a.other+"/stderr", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer stderr.Close()
	stdout, err := os.Create(a.other + "/stdout")
	if err != nil {
		return err
	}
	defer stdout.Close()
	words := a.words(a.options...)
	if a.act == "" {
		cmd := exec.Command(bed.Pidleash, a.words("-pidfile", "FILE", "-daemon", "-settle", "0", a.acts, "runs", a.runs)...)
		cmd.Env = append(os.Environ(), string(a.mark))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	} else {
		if a.options != nil {
			words = append(words, "-settle", "0", "-stop", "TERM/1s/KILL")
		}
		if a.inBackground() { // a keeper's messages go nowhere else
			words = append(words, "-stderr", a.other+"/stderr")
		}
		words = append(words, a.acts, a.act, a.runs)
	}
	environ := os.Environ()
	if a.manager != nil {
		environ = append(environ, "NOTIFY_SOCKET="+a.other+"/manager")
	}
	a.run, err = startTraced(a.in, a.mark, environ, a.inject, stderr, stdout, words...)
	return err
}

func (a *injected) isOver(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// wrong notes the first thing that is wrong.
func (a *injected) wrong(format string, args ...any) {
	if a.fault == "" {
		a.fault = fmt.Sprintf(format, args...)
	}
}

// inTime waits for a condition, within endLimit.
func inTime(condition func() bool) bool {
	for end := time.Now().Add(endLimit); !condition(); time.Sleep(2 * time.Millisecond) {
		if bed.Since(end) > 0 {
			return condition()
		}
	}
	return true
}

// endLimit is more than any wait of the schedule, than the time between two looks without events, and than it takes under
// the tracer to close all numbers one by one, where close_range(2) is refused.
const endLimit = time.Minute

// program starts one and ends it.
func (a *injected) program() {
	ended := func() bool { return a.isOver(a.run.ended) }
	background := strings.HasPrefix(a.name, "-daemon")
	if !inTime(func() bool { return ended() || !background && a.isUp() || a.waits() }) {
		a.wrong("it does not come up, and says nothing")
	}
	nobody := func() bool { return a.isOver(a.run.over) && len(a.mark.Bearers()) == 0 }
	if !(ended() && !background) && a.end != "" && a.state() != 125 {
		a.stopIt(nobody)
	}
	if !inTime(func() bool { return ended() && nobody() }) {
		a.wrong("somebody is left whom nobody stops: %s", describe(a.mark.Bearers()))
		a.kill()
	}
	<-a.run.ended
	a.code = codeOf(a.run.state)
}

// isUp reports that PROGRAM runs, and that a service manager knows it, or will never do.
func (a *injected) isUp() bool {
	return !bed.IsGone(a.runs) && (a.manager == nil || a.isOver(a.told) || a.hasSpoken())
}

// waits reports that it waits for a condition that it cannot look at.
func (a *injected) waits() bool { return a.isConditional() && bed.IsGone(a.runs) && a.hasSpoken() }

// hasSpoken reports that it has written to standard error.
func (a *injected) hasSpoken() bool {
	st, err := os.Stat(a.other + "/stderr")
	return err == nil && st.Size() > 0
}

// state is the exit code; -1: it still runs.
func (a *injected) state() int {
	if !a.isOver(a.run.ended) {
		return -1
	}
	return a.run.state.ExitStatus()
}

// stopIt ends what runs by the means of that mode.
func (a *injected) stopIt(nobody func() bool) {
	if a.end == "TERM" {
		_ = syscall.Kill(a.pidleash(), syscall.SIGTERM)
		return
	}
	path := a.path(a.end)
	if bed.IsGone(a.runs) { // it waits for a condition, or is on the way
		path = a.file
	}
	there := func() bool { return !bed.IsGone(a.file) && os.Remove(path) == nil }
	// In the background PROGRAM may have ended with its keeper.
	if !inTime(func() bool { return there() || nobody() }) {
		a.wrong("PROGRAM runs without a file: %s", describe(a.mark.Bearers()))
		a.kill()
	}
}

// pidleash is the process that was started.
func (a *injected) pidleash() int {
	for _, pid := range bed.ChildPIDs(a.run.cmd.Process.Pid) {
		return pid
	}
	return 1 << 30
}

// command runs one on the file of a pidleash that runs, and then ends that.
func (a *injected) command() {
	if !inTime(func() bool { return a.isOver(a.run.ended) }) {
		a.wrong("it does not end")
		_ = syscall.Kill(a.pidleash(), syscall.SIGKILL)
	}
	<-a.run.ended
	a.code = codeOf(a.run.state)
	isRunning := func() bool {
		return slices.ContainsFunc(a.mark.Bearers(), func(pid int) bool { return !bed.Ended(pid) && nameOf(pid) == "acts" })
	}
	switch {
	case a.code != "0":
	case a.name == "stop" && isRunning():
		a.wrong("it says that it has stopped it, and PROGRAM runs")
	case a.name == "signal" && !inTime(func() bool { return !isRunning() }):
		a.wrong("it says that it has sent the signal, and PROGRAM runs")
	}
	_ = os.Remove(a.file)
	if !inTime(func() bool { return len(a.mark.Bearers()) == 0 }) {
		a.wrong("the pidleash that it was about does not end")
	}
}

// look judges what is left, and what was said.
func (a *injected) look() {
	if !inTime(func() bool { return a.isOver(a.run.over) }) {
		a.kill()
		<-a.run.over
	}
	a.hits, a.calls = a.run.hits, a.run.calls
	text, _ := os.ReadFile(a.other + "/stderr")
	out, _ := os.ReadFile(a.other + "/stdout")
	a.text, a.stdout = a.plain(string(text)), a.plain(string(out))
	entries, _ := os.ReadDir(a.dir)
	for _, e := range entries {
		a.left = strings.TrimSpace(a.left + " " + hiddenNumber.ReplaceAllString(e.Name(), "-N"))
	}
	if m := goDump.FindString(string(text)); m != "" {
		a.wrong("a dump of Go's: %q", m)
	}
	a.judge(len(entries))
}

var (
	goDump       = regexp.MustCompile(`goroutine |fatal error|panic|runtime:|SIGSEGV`)
	hiddenNumber = regexp.MustCompile(`-[0-9]+-[0-9a-z]+$`)
	since        = regexp.MustCompile(`, since [^)]*\)|[0-9]{2}:[0-9]{2}:[0-9]{2}`)
	columns      = regexp.MustCompile(` {2,}`)
	stopping     = regexp.MustCompile(`(?m)^pidleash: [a-z-]+ \S+: (removed|gone|not running), stopping PID .*\n`)
	numbers      = regexp.MustCompile(`\b[0-9]{3,}\b`)
)

// plain has no names and numbers that differ from run to run.
func (a *injected) plain(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, a.file, "FILE"), a.dir, "DIR")
	text = strings.ReplaceAll(strings.ReplaceAll(text, a.other, "OTHER"), a.acts, "PROGRAM")
	text = regexp.MustCompile(`-[0-9]+-[0-9a-z]{6,}\b`).ReplaceAllString(text, "-N")
	text = columns.ReplaceAllString(since.ReplaceAllString(text, ""), " ")
	return numbers.ReplaceAllStringFunc(stopping.ReplaceAllString(text, ""), func(n string) string {
		if n == "125" || n == "120" || n == "126" || n == "127" {
			return n
		}
		return "N"
	})
}

func (a *injected) judge(left int) {
	if a.usual == "" { // the trace
		if a.text != "" || left > 0 {
			a.wrong("it says %q and leaves %q", a.text, a.left)
		}
		a.say = a.stdout
		a.injectMode.say = a.stdout
		return
	}
	lines := strings.Count(a.text, "\n")
	if a.name == "status" || a.name == "list" { // their answers are on standard output
		lines = max(1, lines)
	}
	if strings.Contains(a.text, "pidleash: while") { // a warning; what comes after that is the test's doing
		lines = 1
	}
	switch {
	case a.in.errno == syscall.EINTR && a.in.at != "" && !slices.Contains(neverInterrupted, a.in.calls[0]) &&
		(a.code != a.usual || a.text != "" || left > 0 || a.stdout != a.say):
		a.wrong("EINTR once is seen")
	case a.code != a.usual && !slices.Contains(a.failures(), a.code):
		a.wrong("a code that is not in the table")
	case a.code == "143" && a.usual == "signal 15": // as PID 1 does
	case a.code == "signal 9" && lines > 0: // the schedule went on
	case a.code != a.usual && lines != 1 && !(a.in.at == "" && a.in.calls[0] == unix.SYS_WRITE):
		a.wrong("%d lines for a failure", lines)
	case a.code == a.usual && a.stdout != a.say && a.text == "":
		a.wrong("it writes %q", a.stdout)
	case left > 0 && a.text == "":
		a.wrong("files are left without a warning: %s", a.left)
	}
	for line := range strings.Lines(a.text) {
		if !strings.HasPrefix(line, "pidleash: ") {
			a.wrong("a line that is not pidleash's")
		}
	}
}

// failures are the codes of DESIGN's table for a call that fails.
func (a *injected) failures() []string {
	if a.act == "" {
		return []string{"4", "124", "125"}
	}
	codes := []string{"125", "126", "127", "143", "signal 9"}
	if a.waits() { // until its own file was removed
		codes = append(codes, "0")
	}
	return codes
}

func (a *injected) kill() {
	for _, pid := range a.mark.Bearers() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// clear leaves nothing.
func (a *injected) clear() {
	if a.run != nil {
		a.kill()
		if !a.isOver(a.run.over) {
			_ = a.run.cmd.Process.Kill()
			<-a.run.over
		}
		a.kill()
	}
	if a.listener != nil {
		a.listener.Close()
	}
	if a.manager != nil {
		a.manager.Close()
		<-a.told
	}
	os.RemoveAll(a.dir)
	os.RemoveAll(a.other)
}

func codeOf(state syscall.WaitStatus) string {
	if state.Signaled() {
		return "signal " + fmt.Sprint(int(state.Signal()))
	}
	return fmt.Sprint(state.ExitStatus())
}

func nameOf(pid int) string {
	name, _ := os.ReadFile(bed.ProcFile(pid, "comm"))
	return strings.TrimSpace(string(name))
}

func describe(pids []int) string {
	var list []string
	for _, pid := range pids {
		words, _ := os.ReadFile(bed.ProcFile(pid, "cmdline"))
		name, _, _ := strings.Cut(string(words), "\x00")
		list = append(list, filepath.Base(name))
	}
	return strings.Join(list, ", ")
}
