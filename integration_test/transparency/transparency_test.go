package transparency

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// facts are what the probe tells, by name.
type facts map[string]string

// A situation is one state to start in.
type situation struct {
	name string
	text string // for the document
	// prepare makes the state, and returns how to start the probe in it and hear
	// what it has seen. It lasts as long as the probing's test, so that every start
	// gets the very same files.
	prepare func(p *probing) func(w wrapping) facts
}

// A wrapping is what stands in front of the probe; the zero value is nothing.
type wrapping struct {
	binary  string   // pidleash's file; empty: none
	options []string // beside -pidfile
	behind  []string // a command behind pidleash that becomes the probe
}

func (w wrapping) words(pidFile string, probe ...string) []string {
	var words []string
	if w.binary != "" {
		words = slices.Concat([]string{w.binary, "-pidfile", pidFile}, w.options, []string{"--"})
	}
	return slices.Concat(words, w.behind, probe)
}

// A probing is what every situation needs.
type probing struct {
	*testing.T
	dir     string // every user's
	probe   string
	systemd *bed.Systemd
	podman  *bed.Podman
}

// Two builds of pidleash, by their names in probing.dir.
const (
	released     = "pidleash"
	withoutEntry = "without-entry"
)

func (p *probing) binary(build string) string { return filepath.Join(p.dir, build) }

// in is the same for another test.
func (p *probing) in(t *testing.T) *probing {
	here := *p
	here.T = t
	return &here
}

func TestTransparency(t *testing.T) {
	bed.NeedEntry(t)
	if os.Geteuid() != 0 {
		bed.Missing(t, "needs root")
	}
	p := newProbing(t)
	t.Run("document", compareDocument)
	t.Run("process", func(t *testing.T) { p.in(t).examine(processSituations) })
	t.Run("service", func(t *testing.T) {
		here := p.in(t)
		here.bootServices()
		here.examine(serviceSituations)
	})
	t.Run("container", func(t *testing.T) {
		here := p.in(t)
		here.podman = bed.NewPodman(t)
		here.examine(containerSituations)
	})
	t.Run("each signal", func(t *testing.T) { p.in(t).examineEachSignal() })
	t.Run("alarm", func(t *testing.T) { p.in(t).expectAlarm() })
}

func newProbing(t *testing.T) *probing {
	if _, err := exec.LookPath("gcc"); err != nil {
		bed.Missing(t, "%v", err)
	}
	p := &probing{T: t, dir: bed.OpenDir(t)}
	p.probe = filepath.Join(p.dir, "transparency")
	mustRun(t, "cp", bed.CompileC(t, "transparency.c"), p.probe)
	mustRun(t, "cp", bed.Pidleash, p.binary(released))
	mustRun(t, "make", "-s", "-C", bed.ModuleFile(), "build", "ENTRY=", "RUNTIME=", "OUT="+p.binary(withoutEntry))
	return p
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// examine compares both builds with the bare program in every situation, and
// tries the remedies.
func (p *probing) examine(list []situation) {
	for _, s := range list {
		p.Run(s.name, func(t *testing.T) {
			look := s.prepare(p.in(t))
			direct := look(wrapping{})
			for _, build := range []string{released, withoutEntry} {
				compareFacts(t, s.name, build, direct, look(wrapping{binary: p.binary(build)}))
			}
		})
	}
	for i := range table {
		for n, c := range table[i].cures {
			if s := situationNamed(list, c.in); s != nil {
				p.Run(fmt.Sprintf("remedy/%s/%d", table[i].title, n), func(t *testing.T) { p.in(t).expectCure(list, &table[i], c) })
			}
		}
	}
}

func situationNamed(list []situation, name string) *situation {
	for i := range list {
		if list[i].name == name {
			return &list[i]
		}
	}
	return nil
}

// compareFacts fails the test unless the rows that may differ here do, and no
// other.
func compareFacts(t *testing.T, situation, build string, direct, wrapped facts) {
	t.Helper()
	found := differences(t, direct, wrapped)
	for i := range table {
		r := &table[i]
		what, differs := found[r]
		switch expected := r.differsIn(situation, build); {
		case differs && !expected:
			t.Errorf("%s: %s: differs:%s", build, r.title, what)
		case expected && !differs:
			t.Errorf("%s: %s: is the same, but the table says that it differs", build, r.title)
		}
	}
}

// differences tells by row what differs.
func differences(t *testing.T, direct, wrapped facts) map[*tableRow]string {
	t.Helper()
	all := maps.Clone(direct)
	maps.Copy(all, wrapped)
	found := map[*tableRow]string{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		a, inA := direct[key]
		b, inB := wrapped[key]
		if r := rowAbout(t, key); a != b || inA != inB {
			found[r] += fmt.Sprintf("\n  %s: directly %q, wrapped %q", key, a, b)
		}
	}
	return found
}

func rowAbout(t *testing.T, key string) *tableRow {
	t.Helper()
	for i := range table {
		for _, k := range table[i].keys {
			if key == k || strings.HasSuffix(k, ".") && strings.HasPrefix(key, k) {
				return &table[i]
			}
		}
	}
	t.Fatalf("no row of the table is about the fact %q", key)
	return nil
}

// expectCure fails the test unless the remedy makes the row the same.
func (p *probing) expectCure(list []situation, r *tableRow, c cure) {
	in, from := situationNamed(list, c.in), situationNamed(list, c.in)
	if c.from != "" {
		from = situationNamed(list, c.from)
	}
	build := released
	if c.withoutEntry {
		build = withoutEntry
	}
	look := in.prepare(p)
	direct, lookWrapped := look(wrapping{}), look
	if from != in {
		lookWrapped = from.prepare(p)
	}
	behind := slices.Clone(c.behind)
	for i, word := range behind {
		behind[i] = strings.ReplaceAll(word, "PROBE", p.probe)
	}
	wrapped := lookWrapped(wrapping{p.binary(build), c.options, behind})
	if wrapped["starts"] != "yes" {
		p.Fatalf("does not start: %s", wrapped["starts"])
	}
	// With other rows c is not concerned.
	if what, differs := differences(p.T, direct, wrapped)[r]; differs {
		p.Errorf("%v %v does not help:%s", c.options, c.behind, what)
	}
}

// parseFacts reads a report of the probe.
func parseFacts(text string) facts {
	f := facts{"starts": "yes"}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		f[key] = value
	}
	return f
}

// settle puts words in the place of numbers that differ between any two starts:
// those of processes, and what the mask says. starter is the PID of what the test
// has started.
func (f facts) settle(starter int, mask map[*regexp.Regexp]string) facts {
	f.sortEnvironment()
	own, group := f["pid"], f["group"]
	for _, key := range []string{"session", "group"} {
		f[key] = f.whose(f[key], own, starter)
	}
	switch f["foreground"] {
	case group:
		f["foreground"] = "its own group"
	default:
		f["foreground"] = f.whose(f["foreground"], own, starter)
	}
	f["pid"] = f.whose(own, "1", starter)
	if f["pid"] == own {
		f["pid"] = "some number"
	}
	for key, value := range f {
		for pattern, word := range mask {
			value = pattern.ReplaceAllString(value, word)
		}
		f[key] = value
	}
	return f
}

func (facts) whose(pid, own string, starter int) string {
	switch pid {
	case own:
		return "its own"
	case strconv.Itoa(starter):
		return "that of the process that was started"
	}
	return pid
}

// sortEnvironment takes the variables that have a row of their own out of the
// environment, and leaves all others in their order.
func (f facts) sortEnvironment() {
	var list []string
	for i := 0; ; i++ {
		key := fmt.Sprintf("env.%03d", i)
		entry, ok := f[key]
		if !ok {
			break
		}
		delete(f, key)
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "PIDLEASH_LOG_") || name == "PIDFILE" && filepath.Base(value) == pidFileInUse:
			f["consumed."+name] = value
			continue // no trace is to be left of it
		case name == "_" || name == "NOTIFY_SOCKET":
			f["variable."+name] = value
			entry = name + "=(another row)"
		case slices.Contains([]string{"LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"}, name) && value == f["pid"]:
			entry = name + "=its own"
		}
		list = append(list, entry)
	}
	f["environment"] = strings.Join(list, "\n")
}

// pidFileInUse is the base name of every PID file of these tests.
const pidFileInUse = "in-use.pid"

// A scene is the state of a process that starts the probe.
type scene struct {
	p      *probing
	dir    string     // the working directory
	files  []*os.File // descriptors 0 and up
	env    []string
	attr   *syscall.SysProcAttr
	before []string // words in front of the command line
	log    string   // the file with standard error
	// name is how the probe is called.
	name string
	args []string // for the probe
	mask map[*regexp.Regexp]string
	// renew is called before each start.
	renew func()
	// streams: the probe reads its standard input and writes to its standard output,
	// too.
	streams bool
	// starts: nothing is of interest but whether the probe starts.
	starts bool
}

// newScene is a process like most: pipes and a file.
func newScene(p *probing) *scene {
	stdin, theirs := bed.NewPipe(p)
	ours, stdout := bed.NewPipe(p)
	s := &scene{
		p:       p,
		dir:     filepath.Join(p.dir, "work"),
		name:    p.probe,
		args:    []string{"", "-pidfile", "--", "two words", "\xff\n"},
		env:     []string{"PATH=" + p.dir + ":/usr/bin:/bin", "HOME=/nowhere", "B=2", "A=1"},
		streams: true,
	}
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		p.Fatal(err)
	}
	if err := os.Chmod(s.dir, 0o777); err != nil {
		p.Fatal(err)
	}
	stderr := s.create("stderr")
	s.log = stderr.Name()
	s.files = []*os.File{stdin, stdout, stderr}
	s.closeAtEnd(stdin, theirs, ours, stdout)
	return s
}

// create makes a file in the working directory.
func (s *scene) create(name string) *os.File {
	s.p.Helper()
	f, err := os.Create(filepath.Join(s.dir, name))
	if err != nil {
		s.p.Fatal(err)
	}
	s.closeAtEnd(f)
	return f
}

func (s *scene) closeAtEnd(files ...*os.File) {
	s.p.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
}

// look is the whole examination.
func (s *scene) look(w wrapping) facts {
	s.p.Helper()
	if s.starts {
		f, _ := s.start(w, "signals", s.files) // which needs nothing
		return facts{"starts": f["starts"]}
	}
	f, status := s.start(w, "look", s.files)
	if f["starts"] != "yes" {
		s.p.Fatalf("%v: %s: %s", w, bed.Describe(status), s.stderr())
	}
	// pidleash is silent when all is well.
	if text := s.stderr(); text != "" {
		s.p.Errorf("%v: standard error has %q", w, text)
	}
	if s.streams {
		s.lookAtInput(w, f)
		s.lookAtOutput(w, f)
	}
	return f
}

func (s *scene) stderr() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// lookAtInput has the probe read a pipe to its end.
func (s *scene) lookAtInput(w wrapping, f facts) {
	s.p.Helper()
	stdin, theirs := bed.NewPipe(s.p)
	defer stdin.Close()
	if _, err := theirs.WriteString("first\nlast without a newline"); err != nil {
		s.p.Fatal(err)
	}
	theirs.Close()
	heard, status := s.start(w, "read", slices.Concat([]*os.File{stdin}, s.files[1:]))
	f["stream.input"] = heard["input"] + ", " + bed.Describe(status)
}

// lookAtOutput has the probe write to a pipe that nobody reads.
func (s *scene) lookAtOutput(w wrapping, f facts) {
	s.p.Helper()
	ours, stdout := bed.NewPipe(s.p)
	defer stdout.Close()
	ours.Close()
	heard, status := s.start(w, "write", slices.Concat([]*os.File{s.files[0], stdout}, s.files[2:]))
	f["stream.output"] = heard["output"] + ", " + bed.Describe(status)
}

// start starts the probe in one of its modes.
func (s *scene) start(w wrapping, mode string, files []*os.File) (facts, syscall.WaitStatus) {
	s.p.Helper()
	if s.renew != nil {
		s.renew()
		files = s.files
	}
	out := filepath.Join(s.p.dir, "out")
	words := slices.Concat(s.before, w.words(filepath.Join(s.p.dir, pidFileInUse), slices.Concat([]string{s.name, mode, out}, s.args)...))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.dir, s.env, s.attr
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = files[0], files[1], files[2], files[3:]
	if err := cmd.Start(); err != nil {
		s.p.Fatal(err)
	}
	watchdog := time.AfterFunc(bed.Patience, func() { cmd.Process.Kill() })
	cmd.Wait() // its error is in the status
	watchdog.Stop()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	text, err := os.ReadFile(out)
	os.Remove(out)
	if err != nil {
		return facts{"starts": "no"}, status
	}
	if _, err := os.Lstat(filepath.Join(s.p.dir, pidFileInUse)); err == nil {
		s.p.Errorf("%v: the PID file is still there", w)
	}
	f := parseFacts(string(text))
	if mode == "look" {
		f.settle(cmd.Process.Pid, s.mask)
	}
	return f, status
}

// examineEachSignal starts the probe with each signal ignored, and with each
// blocked.
func (p *probing) examineEachSignal() {
	for _, how := range []struct{ step, fact string }{{"ignore", "SigIgn"}, {"block", "SigBlk"}} {
		lost := map[string][]string{}
		for sig := 1; sig <= 64; sig++ {
			s := newScene(p)
			s.before = []string{p.probe, "start", fmt.Sprintf("%s=%d", how.step, sig), "--"}
			direct, _ := s.start(wrapping{}, "signals", s.files)
			for _, build := range []string{released, withoutEntry} {
				wrapped, _ := s.start(wrapping{binary: p.binary(build)}, "signals", s.files)
				if wrapped[how.fact] != direct[how.fact] {
					lost[build] = append(lost[build], strconv.Itoa(sig))
				}
			}
		}
		if list := lost[released]; list != nil {
			p.Errorf("%s: the program does not get these as they were: %v", how.step, list)
		}
		if have, want := strings.Join(lost[withoutEntry], " "), lostWithoutEntry[how.step]; have != want {
			p.Errorf("%s: without the entry code these are lost:\n%s\nthe table says:\n%s", how.step, have, want)
		}
	}
}

// expectAlarm fails the test unless a program that was started with an alarm set
// is ended by it: pidleash has the timer, and forwards the signal.
func (p *probing) expectAlarm() {
	for _, w := range []wrapping{{}, {binary: p.binary(released)}} {
		s := newScene(p)
		s.before = []string{p.probe, "start", "alarm=300", "--"}
		s.args = nil
		if _, status := s.start(w, "pause", s.files); !status.Signaled() || status.Signal() != syscall.SIGALRM {
			p.Errorf("%v: ended by %s, want SIGALRM", w.binary, bed.Describe(status))
		}
	}
}

// Services.

const serviceDir = "/run/lab/transparency"

func (p *probing) bootServices() {
	p.systemd = bed.BootSystemd(p.T, nil)
	for _, args := range [][]string{{"mkdir", serviceDir}, {"chmod", "1777", serviceDir}} {
		if out, code := p.systemd.Run(p, args...); code != 0 {
			p.Fatalf("%v: %s", args, out)
		}
	}
	for _, file := range []string{p.probe, p.binary(released), p.binary(withoutEntry)} {
		mustRun(p.T, "cp", file, p.systemd.Path(serviceDir))
	}
}

func (p *probing) lookAtService(w wrapping, lines, socket string) facts {
	in := func(name string) string { return filepath.Join(serviceDir, name) }
	words := w.words(in(pidFileInUse), in("transparency"), "look", in("out"))
	unit := p.systemd.Unit(p, "look.service", "[Service]\nType=oneshot\nExecStart="+strings.Join(words, " ")+"\n"+lines)
	if socket != "" {
		p.systemd.Unit(p, "look.socket", "[Socket]\n"+socket).Must("start")
	}
	unit.Must("start")
	f := parseFacts(p.systemd.Read(p, in("out")))
	p.systemd.Remove(p, in("out"))
	for key, value := range f {
		// A unit's own namespaces are new at each start.
		if kind, ok := strings.CutPrefix(key, "namespace."); ok && value != p.managersNamespace(kind) {
			f[key] = "the unit's"
		}
	}
	return f.settle(1, map[*regexp.Regexp]string{
		regexp.MustCompile(`^socket:\[\d+\]$`):             "a socket",
		regexp.MustCompile(`INVOCATION_ID=[0-9a-f]{32}`):   "INVOCATION_ID=(new)",
		regexp.MustCompile(`JOURNAL_STREAM=[0-9]+:[0-9]+`): "JOURNAL_STREAM=(another row)",
	})
}

func (p *probing) managersNamespace(kind string) string {
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.systemd.Pid, kind))
	if err != nil {
		p.Fatal(err)
	}
	return link
}
