package faults

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

var (
	killRowName = flag.String("kill-row", "", "TestKilledAtEveryStep: rows with this in their name only, all of their steps")
	killStep    = flag.Int("kill-step", 0, "with -kill-row: this step only, ten times")
)

const (
	mostFaults  = 6  // of one row: more say nothing new
	killsAtOnce = 12 // most of the time they wait
	// How many steps of a row the short form takes.
	killSample, otherSample = 3, 1
)

// TestKilledAtEveryStep strikes pidleash at every system call of start and end, in every mode, and looks at what is left.
// These are the calls of all processes of pidleash, and of their children until execve.
func TestKilledAtEveryStep(t *testing.T) {
	m := &matrix{t: t, killer: bed.CompileC(t, "killer.c"), random: bed.Random(t), seen: map[string]map[finding]int{}, faults: map[string]int{}}
	m.count()
	for _, job := range m.jobs() {
		m.start(job)
	}
	m.wait.Wait()
	m.report()
}

// census is asked by all fields at once.
var census bed.Census

// matrix is the test's state.
type matrix struct {
	t      *testing.T
	killer string
	random *rand.Rand
	rows   []*killRow

	wait  sync.WaitGroup
	slots [killsAtOnce]sync.Mutex
	next  int

	mu     sync.Mutex
	steps  map[killRow]stepRange
	seen   map[string]map[finding]int // by row
	faults map[string]int
}

// stepRange is where a row's steps begin, and how many there are.
type stepRange struct{ first, count int }

// strikeAt is one field of the matrix.
type strikeAt struct {
	row     *killRow
	step    int
	earlier bool
}

// count runs every mode and moment without a strike, which is a test, too, and counts the steps.
func (m *matrix) count() {
	m.steps = map[killRow]stepRange{}
	for _, r := range allKillRows() {
		if strings.Contains(r.String(), *killRowName) {
			m.rows = append(m.rows, r)
		}
	}
	counted := map[killRow]bool{}
	for _, r := range m.rows {
		whole := r.whole()
		if !counted[whole] {
			counted[whole] = true
			m.start(strikeAt{row: &whole})
		}
	}
	m.wait.Wait()
}

// whole is the run without a strike in which a row's steps are counted. What changes something depends on the strike;
// for a sample that hardly matters.
func (r *killRow) whole() killRow {
	whole := killRow{mode: r.mode, whom: "caller", strike: r.strike, moment: r.moment, finding: held}
	if !bed.Long() {
		whole.strike = kill
	}
	if r.mode.inFront() {
		whole.whom = "pidleash"
	}
	if r.moment != atStart && !(r.moment == atEnd && r.mode.again) {
		whole.finding = none
	}
	return whole
}

// jobs are the fields that are looked at, in the order of chance.
func (m *matrix) jobs() (jobs []strikeAt) {
	for _, r := range m.rows {
		counted := m.steps[r.whole()]
		first, count := 1, counted.count
		if r.whom == "keeper" || r.whom == "starter" {
			first = max(counted.first, 1)
		}
		steps := m.random.Perm(max(count-first+2, 1)) // one more: struck when it is quiet
		if n := sampleOf(r); !bed.Long() && *killRowName == "" {
			steps = steps[:min(n, len(steps))]
		}
		if *killStep > 0 {
			steps = slices.Repeat([]int{*killStep - first}, 10)
		}
		for _, step := range steps {
			jobs = append(jobs, strikeAt{r, first + step, m.random.IntN(2) == 0})
		}
	}
	m.random.Shuffle(len(jobs), func(i, k int) { jobs[i], jobs[k] = jobs[k], jobs[i] })
	return jobs
}

func sampleOf(r *killRow) int {
	if r.strike == kill {
		return killSample
	}
	return otherSample
}

// start looks at one field, beside others.
func (m *matrix) start(at strikeAt) {
	slot := &m.slots[m.next%killsAtOnce]
	m.next++
	slot.Lock()
	name := at.row.String()
	m.mu.Lock()
	tooMany := m.faults[name] >= mostFaults
	m.mu.Unlock()
	if tooMany {
		slot.Unlock()
		return
	}
	m.wait.Go(func() {
		defer slot.Unlock()
		a, err := newStruck(m, at)
		if err == nil {
			err = a.run()
		}
		defer os.RemoveAll(a.other) // its log is read below
		m.mu.Lock()
		defer m.mu.Unlock()
		if err != nil {
			m.faults[name]++
			m.t.Errorf("-kill-row %q, step %d, earlier child %v: PID %d struck at system call %d of PID %d: %v\n%s",
				name, at.step, at.earlier, a.struck, a.call, a.by, err, a.stderr())
			return
		}
		if at.step == 0 {
			m.steps[*at.row] = stepRange{a.forkedAt, a.calls}
			return
		}
		if m.seen[name] == nil {
			m.seen[name] = map[finding]int{}
		}
		m.seen[name][a.found]++
	})
}

// report says what was seen. The long form sees every answer of the table at least once.
func (m *matrix) report() {
	total := 0
	for _, r := range m.rows {
		seen := m.seen[r.String()]
		var words []string
		for _, found := range slices.Sorted(maps.Keys(seen)) {
			words = append(words, fmt.Sprintf("%v: %d", found, seen[found]))
			total += seen[found]
		}
		if bed.Long() {
			m.t.Logf("%v: %d steps; %s", r, m.steps[r.whole()].count, strings.Join(words, "; "))
		}
	}
	m.t.Logf("%d strikes in %d rows", total, len(m.rows))
	for _, k := range killRows {
		for at, allowed := range k.findings {
			var seen finding
			for _, mode := range k.modes {
				for found := range m.seen[(&killRow{mode: &killMode{name: mode}, whom: k.whom, strike: kill, moment: moment(at)}).String()] {
					seen |= found
				}
			}
			if missing := allowed &^ seen; bed.Long() && *killRowName == "" && missing != 0 {
				m.t.Errorf("%s killed, %s: never seen: %v", k.whom, momentNames[at], missing)
			}
		}
	}
}

// struck is a pidleash, one of whose processes is struck.
type struck struct {
	strikeAt
	killer string
	dir    string // of the PID file, and nothing else
	other  string
	file   string
	mark   bed.Mark
	cmd    *exec.Cmd
	done   chan struct{}
	log    *os.File
	reader *os.File // of what pidleash writes, when it is to be closed

	job      int // PID of the process that was started
	before   int // PID of the child from before pidleash; 0: none
	calls    int // system calls that were counted
	forkedAt int // the first one with a second start
	struck   int // PID
	by       int // who made the last of the calls
	call     int // its number

	found finding
}

func newStruck(m *matrix, at strikeAt) (*struck, error) {
	a := &struck{strikeAt: at, killer: m.killer, mark: bed.NewMark(m.t), done: make(chan struct{})}
	var err error
	if a.dir, err = os.MkdirTemp("", "pidleash-killed-"); err != nil {
		return a, err
	}
	if a.other, err = os.MkdirTemp("", "pidleash-killed-other-"); err != nil {
		return a, err
	}
	a.file = a.dir + "/p.pid"
	if a.log, err = os.Create(a.other + "/log"); err != nil {
		return a, err
	}
	return a, os.WriteFile(a.other+"/cond", nil, 0o600)
}

func (a *struck) stderr() string {
	text, _ := os.ReadFile(a.other + "/log")
	return string(text)
}

// run is the whole of it.
func (a *struck) run() error {
	defer os.RemoveAll(a.dir)
	defer a.log.Close()
	err := a.launch()
	if a.cmd != nil {
		defer a.clear()
	}
	if err == nil && a.row.moment != atStart {
		err = a.strikeAfter()
	}
	if err == nil {
		err = a.judge()
	}
	return err
}

// launch starts pidleash. In a row of the start it is struck meanwhile.
func (a *struck) launch() error {
	step := a.step
	if a.row.moment != atStart {
		step = -1
	}
	words := []string{"start", string(a.mark), a.row.whom, strconv.Itoa(step), strconv.Itoa(int(a.row.strike.signal)), "0", bed.Pidleash, "-pidfile", a.file}
	if a.earlier {
		words[5] = "1"
	}
	for _, option := range a.row.mode.options {
		words = append(words, strings.NewReplacer("OTHER", a.other, "DIR", a.dir).Replace(option))
	}
	out := a.log
	if a.row.strike.signal == 0 {
		read, write, err := os.Pipe()
		if err != nil {
			return err
		}
		defer write.Close()
		a.reader, out = read, write
		words = append(words, "-log-level", "trace") // there is something to write
	}
	if a.row.mode.forks {
		words = append(words, a.killer, "daemon")
	}
	words = append(words, "sleep", "600")
	a.cmd = exec.Command(a.killer, words...)
	a.cmd.Stdout, a.cmd.Stderr, a.cmd.SysProcAttr = out, out, &syscall.SysProcAttr{Setsid: true}
	if err := a.trace(a.cmd, a.row.moment == atStart); err != nil {
		return err
	}
	return nil
}

// trace starts the killer and reads what it reports; the tracer has ended then. It gets the reader, if that is
// to be closed by it.
func (a *struck) trace(cmd *exec.Cmd, closes bool) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd.ExtraFiles = []*os.File{write}
	if closes && a.reader != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, a.reader)
		defer a.reader.Close()
	}
	err = cmd.Start()
	write.Close()
	if err != nil {
		a.cmd = nil
		return err
	}
	if closes && a.reader != nil {
		a.reader.Close()
	}
	if cmd == a.cmd {
		go func() {
			_ = cmd.Wait() // the state says it
			close(a.done)
		}()
	} else {
		defer cmd.Wait()
	}
	_ = read.SetReadDeadline(time.Now().Add(bed.Patience)) // the tracer gives up much earlier
	text, err := io.ReadAll(read)
	earlier := 0
	if _, scan := fmt.Sscan(string(text), &a.job, &earlier, &a.calls, &a.forkedAt, &a.struck, &a.by, &a.call); scan != nil {
		return fmt.Errorf("the tracer says %q: %w", text, errors.Join(scan, err))
	}
	a.before = max(a.before, earlier)
	return nil
}

// strikeAfter waits until PROGRAM is up, has it stopped or end, and strikes meanwhile.
func (a *struck) strikeAfter() error {
	if !bed.Poll(func() bool { return a.isHeld(a.look()) }) {
		return fmt.Errorf("it does not come up: %s", a.look())
	}
	job, now := a.job, a.look()
	program, _ := a.named()
	words := []string{"after", strconv.Itoa(now.keeper), strconv.Itoa(a.step), strconv.Itoa(int(a.row.strike.signal))}
	switch a.row.moment {
	case atRemoval:
		words = append(words, "rm", a.file)
	case atTerm:
		words = append(words, strconv.Itoa(int(syscall.SIGTERM)), strconv.Itoa(now.keeper))
		if a.row.mode.beside { // as a service manager does
			words = append(words, strconv.Itoa(program))
		}
	case atEnd:
		words = append(words, strconv.Itoa(int(syscall.SIGUSR1)), strconv.Itoa(program))
	}
	err := a.trace(exec.Command(a.killer, words...), true)
	a.job = job
	return err
}

// clear ends all that is left.
func (a *struck) clear() {
	for _, pid := range append(census.Bearers(a.mark), a.before, a.job) {
		if pid != 0 && (pid != a.job || !a.isDone()) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	<-a.done
}

func (a *struck) isDone() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// scene is who lives.
type scene struct {
	pidleash []int // all processes of pidleash's
	keeper   int   // the one of them that is it, as far as its name tells
	others   []int // PROGRAM, and what is on the way to it
	text     string
}

func (s scene) String() string { return s.text }

func (s scene) isEmpty() bool { return len(s.pidleash)+len(s.others) == 0 }

// look sees who lives now.
func (a *struck) look() (s scene) {
	var text strings.Builder
	for _, pid := range census.Bearers(a.mark) {
		words, _ := os.ReadFile(bed.ProcFile(pid, "cmdline"))
		fmt.Fprintf(&text, "PID %d, %q, in state %s; ", pid, words, bed.ProcessState(pid))
		switch name, _, _ := strings.Cut(string(words), "\x00"); {
		case bed.Ended(pid):
		case strings.HasPrefix(name, "pidleash-") && !strings.HasPrefix(name, "pidleash-starter"), name == bed.Pidleash && a.row.mode.inFront() && pid == a.job:
			s.keeper = pid
			s.pidleash = append(s.pidleash, pid)
		case strings.HasPrefix(name, "pidleash-"), name == bed.Pidleash, name == "":
			s.pidleash = append(s.pidleash, pid)
		default:
			s.others = append(s.others, pid)
		}
	}
	content, err := os.ReadFile(a.file)
	fmt.Fprintf(&text, "the PID file has %q, %v", content, err)
	s.text = text.String()
	return s
}

// isHeld reports that PROGRAM is up, and that nobody is left who has still something to do: the caller has ended well
// or has become PROGRAM, and the keeper has left it.
func (a *struck) isHeld(s scene) bool {
	pid, ok := a.named()
	if !ok || s.keeper == 0 || len(s.others) != 1 || s.others[0] != pid || bed.ProcessState(pid) != "S" {
		return false
	}
	if comm, _ := os.ReadFile(bed.ProcFile(pid, "comm")); string(comm) != "sleep\n" {
		return false
	}
	if a.row.mode.inFront() {
		return true
	}
	link, _ := os.Readlink(bed.ProcFile(s.keeper, "fd/3")) // the first that is free
	return len(s.pidleash) == 1 && !strings.HasPrefix(link, "socket:")
}

// isAlone reports that PROGRAM lives, no pidleash does, and no signal is on its way: one that is killed has sent all that
// it will, the parent-death signal included.
func (a *struck) isAlone(s scene) bool {
	if len(s.pidleash) != 0 || len(s.others) == 0 || !a.row.mode.inFront() && !a.isDone() && a.row.mode.options[0] != "-sidecar" {
		return false
	}
	for _, pid := range s.others {
		if bed.ProcessState(pid) != "S" || hasPending(pid) {
			return false
		}
	}
	return true
}

// hasPending reports that a signal waits for a process.
func hasPending(pid int) bool {
	text, _ := os.ReadFile(bed.ProcFile(pid, "status"))
	for _, field := range []string{"\nSigPnd:\t", "\nShdPnd:\t"} {
		_, rest, _ := strings.Cut(string(text), field)
		if mask, _, _ := strings.Cut(rest, "\n"); strings.Trim(mask, "0") != "" {
			return true
		}
	}
	return false
}

// judge waits until all is quiet, and looks whether that is as it is to be.
func (a *struck) judge() error {
	want := a.row.finding
	if a.struck == 0 {
		whole := a.row.whole()
		want = whole.finding
	} else if a.row.strike.stops {
		if err := a.goOn(); err != nil {
			return err
		}
	}
	a.found = 0
	var last scene
	if !bed.Poll(func() bool { last = a.look(); a.found = a.quiet(last, want); return a.found != 0 }) {
		return fmt.Errorf("want %v, but there is no rest: %s", want, last)
	}
	if a.found&want == 0 {
		return fmt.Errorf("%v, want %v: %s", a.found, want, last)
	}
	if err := a.judgeEnd(last); err != nil {
		return err
	}
	if a.before != 0 && bed.Ended(a.before) {
		return errors.New("the earlier child has ended")
	}
	return nil
}

// quiet is the finding, if all is quiet. What will end is not quiet: it is not held.
func (a *struck) quiet(s scene, want finding) finding {
	_, err := os.Lstat(a.file)
	switch {
	case a.row.strike == kill && a.struck != 0 && !bed.Gone(a.struck):
		return 0 // a thread of it may still have the lock
	case s.isEmpty() && a.look().isEmpty():
		// One in the middle of its execve(2) has no environment, and so no mark.
		if pid, ok := a.named(); ok && !bed.Ended(pid) {
			return 0
		}
		if err == nil {
			return stale
		}
		return none
	case want&held != 0 && a.isHeld(s):
		return held
	case a.isAlone(s) && a.isAlone(a.look()):
		if pid, ok := a.named(); ok && slices.Contains(s.others, pid) {
			return alone
		}
		return unnamed
	}
	return 0
}

// goOn waits until the process has stopped, or PROGRAM in its place, and continues it.
func (a *struck) goOn() error {
	var last scene
	if !bed.Poll(func() bool {
		last = a.look()
		if !slices.Contains(append(last.pidleash, last.others...), a.job) {
			return true
		}
		for _, pid := range append(last.others, a.job) {
			if bed.ProcessState(pid) == "T" {
				return true
			}
		}
		return !a.row.mode.inFront() && a.isHeld(last)
	}) {
		return fmt.Errorf("nothing stops: %s", last)
	}
	if pid, ok := a.named(); ok && slices.Contains(last.others, pid) {
		if out, code := command("status", a.file); code != 0 {
			return fmt.Errorf("stopped: %s, but status says %d: %s", last, code, out)
		}
	}
	if slices.Contains(append(last.pidleash, last.others...), a.job) {
		_ = syscall.Kill(a.job, syscall.SIGCONT)
	}
	return nil
}

// judgeEnd has the commands and the next start tell the same as was found, and clean up.
func (a *struck) judgeEnd(s scene) error {
	if text := a.stderr(); strings.Contains(text, "goroutine ") {
		return errors.New("Go's runtime speaks")
	}
	var err error
	switch a.found {
	case none, stale:
		<-a.done
		err = a.judgeNobody()
	case held:
		err = a.judgeUp(fmt.Sprintf("held by pidleash PID %d", s.keeper))
	case alone:
		err = a.judgeUp("held by nobody")
	case unnamed:
		err = a.expectStatus(3, "not running", a.file)
		a.end(s)
	}
	if err != nil {
		return fmt.Errorf("%w; %s", err, s)
	}
	return a.nextStart()
}

// expectStatus: pidleash status tells the truth.
func (a *struck) expectStatus(want int, text, file string) error {
	if out, code := command("status", file); code != want || !strings.Contains(out, text) {
		return fmt.Errorf("status says %d: %s; want %d: %s", code, out, want, text)
	}
	return nil
}

// judgeNobody: the start has left nothing, or what the next one removes.
func (a *struck) judgeNobody() error {
	status := a.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Exited() && status.ExitStatus() == 0 && a.row.moment == atStart && a.row.whom != "keeper" && a.row.strike != kill {
		return errors.New("nobody is left, and the start was a success")
	}
	if status.Signaled() && status.Signal() == syscall.SIGKILL && a.row.strike != kill {
		return errors.New("it was killed")
	}
	for _, entry := range a.names() {
		if err := a.expectNotRunning(filepath.Join(a.dir, entry)); err != nil && entry[0] != '.' {
			return err
		}
	}
	if a.found == none {
		return a.expectStatus(3, "not running", a.file)
	}
	return nil
}

func (a *struck) expectNotRunning(file string) error { return a.expectStatus(1, ": ", file) }

// nextStart works, and leaves nothing.
func (a *struck) nextStart() error {
	words := []string{"-pidfile", a.file}
	if strings.Contains(a.row.mode.name, "-supervisor-pidfile") {
		words = append(words, "-supervisor-pidfile", a.dir+"/s.pid")
	}
	if out, code := command(append(words, "true")...); code != 0 {
		return fmt.Errorf("the next start ends with %d: %s", code, out)
	}
	if !bed.IsEmpty(a.dir) {
		return fmt.Errorf("the next start leaves %q", a.names())
	}
	return nil
}

func (a *struck) names() (names []string) {
	entries, _ := os.ReadDir(a.dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// judgeUp: the PID file names one who lives, all commands say so, and it ends as it should.
func (a *struck) judgeUp(holder string) error {
	if err := a.expectStatus(0, holder, a.file); err != nil {
		return err
	}
	if out, code := command("-pidfile", a.file, "true"); code != 120 {
		return fmt.Errorf("the next start ends with %d: %s", code, out)
	}
	if a.found == held {
		if err := os.Remove(a.file); err != nil {
			return err
		}
	} else if out, code := command("stop", a.file); code != 0 || out != "" {
		return fmt.Errorf("stop ends with %d: %s", code, out)
	}
	var last scene
	if !bed.Poll(func() bool { last = a.look(); return last.isEmpty() }) {
		return fmt.Errorf("it does not end: %s", last)
	}
	if a.found == held && !bed.IsEmpty(a.dir) {
		return fmt.Errorf("the keeper has left %q", a.names())
	}
	if a.found == alone {
		return a.expectStatus(1, "stale", a.file)
	}
	return nil
}

// end kills PROGRAM.
func (a *struck) end(s scene) {
	for _, pid := range s.others {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	bed.Poll(func() bool { return a.look().isEmpty() })
}

// named is whom the PID file names.
func (a *struck) named() (pid int, ok bool) {
	content, _ := os.ReadFile(a.file)
	_, err := fmt.Sscan(string(content), &pid)
	return pid, err == nil
}

// command runs pidleash and returns what it says, and its exit code.
func command(words ...string) (out string, code int) {
	cmd := exec.Command(bed.Pidleash, words...)
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}
