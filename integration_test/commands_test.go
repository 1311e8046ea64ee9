package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// A plant is a PID file, honest or not, as a command finds it.
type plant struct {
	name string
	// make makes it and returns the PID in it, 0 for none.
	make func(t *testing.T, file string) int
	// state is what list says, code what status ends with.
	state string
	code  int
	// line is a pattern of what status says behind the file's name; PID stands for the
	// number.
	line string
	root bool // it takes root to make it, and only to root it is so
}

var plants = []plant{
	{name: "honest", state: "running", line: `running, PID PID \(first\), since SINCE \(\d+s\), held by nobody`,
		make: func(t *testing.T, file string) int { return plantPID(t, file, plainProgram(t)) }},
	{name: "held", state: "held", line: `running, PID PID \(first\), since SINCE \(\d+s\), held by pidleash PID \d+`,
		make: plantHeld},
	{name: "several lines", state: "running", line: `running, PID PID \(first\), .*`,
		make: func(t *testing.T, file string) int {
			pid := plainProgram(t)
			writeFile(t, file, fmt.Sprintf(" %d\n/var/lib/postgresql/data\n1780000000\n5432\n", pid), 0o644)
			return pid
		}},
	{name: "dead", state: "stale", code: 1, line: `stale: PID PID does not run; held by nobody`,
		make: func(t *testing.T, file string) int { return plantPID(t, file, deadPID) }},
	{name: "zombie", state: "stale", code: 1, line: `stale: PID PID \(true\) has ended; held by nobody`,
		make: func(t *testing.T, file string) int { return plantPID(t, file, zombie(t)) }},
	{name: "recycled", state: "recycled", code: 1, line: `recycled PID: PID PID \(first\) started after the file was written; held by nobody`,
		make: func(t *testing.T, file string) int {
			return plantPIDAt(t, file, plainProgram(t), time.Now().Add(-time.Minute))
		}},
	{name: "thread", state: "recycled", code: 1, line: `recycled PID: PID PID \(.*\) is a thread; held by nobody`,
		make: func(t *testing.T, file string) int { return plantPID(t, file, thread(t)) }},
	{name: "older than the boot", state: "recycled", code: 1, line: `recycled PID: it is older than the boot: PID PID \(first\) started after .*; held by nobody`,
		make: func(t *testing.T, file string) int {
			return plantPIDAt(t, file, plainProgram(t), time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))
		}},
	{name: "empty", state: "empty", code: 1, line: `empty; held by nobody`, make: content("")},
	{name: "zeros", state: "empty", code: 1, line: `empty; held by nobody`, make: content("\x00\x00\x00\x00\x00\x00")},
	{name: "garbage", state: "stale", code: 1, line: `stale: it names no PID; held by nobody`, make: content("\x7fELF\x1b[31m\xff\xfe\n\x00")},
	{name: "negative", state: "stale", code: 1, line: `stale: it names no PID; held by nobody`, make: content("-1\n")},
	{name: "no PID file", state: "stale", code: 1, line: `stale: it names no PID; held by nobody`,
		make: content(strings.Repeat("root:x:0:0:root:/root:/bin/bash\n", 1<<15))},
	{name: "symbolic link", state: "unreadable", code: 4, line: `unreadable: is a symbolic link`,
		make: func(t *testing.T, file string) int {
			plantPID(t, file+".target", plainProgram(t))
			must(t, os.Symlink(filepath.Base(file)+".target", file))
			return 0
		}},
	{name: "fifo", state: "unreadable", code: 4, line: `unreadable: is not a regular file`,
		make: func(t *testing.T, file string) int { must(t, syscall.Mkfifo(file, 0o644)); return 0 }},
	{name: "socket", state: "unreadable", code: 4, line: `unreadable: .*`,
		make: func(t *testing.T, file string) int {
			l, err := net.Listen("unix", file)
			must(t, err)
			t.Cleanup(func() { l.Close() })
			return 0
		}},
	{name: "group may write", root: true, state: "untrusted", code: 4, line: `untrusted: its mode is 0664: .*`,
		make: func(t *testing.T, file string) int {
			pid := plantPID(t, file, plainProgram(t))
			must(t, os.Chmod(file, 0o664))
			return pid
		}},
	{name: "all may write", root: true, state: "untrusted", code: 4, line: `untrusted: its mode is 0666: .*`,
		make: func(t *testing.T, file string) int {
			pid := plantPID(t, file, plainProgram(t))
			must(t, os.Chmod(file, 0o666))
			return pid
		}},
	{name: "of another user", root: true, state: "untrusted", code: 4, line: `untrusted: user 65534 wrote it, and PID PID \(first\) is user 0's`,
		make: func(t *testing.T, file string) int {
			pid := plantPID(t, file, plainProgram(t))
			must(t, os.Chown(file, nobody, nobody))
			return pid
		}},
	{name: "of its own user", root: true, state: "running", line: `running, PID PID \(first\), .*, held by nobody`,
		make: func(t *testing.T, file string) int {
			cmd := exec.Command(first(t), "hold")
			cmd.SysProcAttr = asNobody().attr
			pid := plantPID(t, file, launch(t, cmd).number(t))
			must(t, os.Chown(file, nobody, nobody))
			return pid
		}},
}

// deadPID is the number of noSuchPID.
const deadPID = 4194305

func plantPID(t *testing.T, file string, pid int) int {
	t.Helper()
	writeFile(t, file, fmt.Sprintln(pid), 0o644)
	return pid
}

func plantHeld(t *testing.T, file string) int {
	t.Helper()
	return start(t, how{}, "-pidfile", file, first(t), "hold").number(t)
}

func plantPIDAt(t *testing.T, file string, pid int, written time.Time) int {
	t.Helper()
	plantPID(t, file, pid)
	must(t, os.Chtimes(file, written, written))
	return pid
}

func content(text string) func(*testing.T, string) int {
	return func(t *testing.T, file string) int { writeFile(t, file, text, 0o644); return 0 }
}

// zombie has ended, and nobody has waited for it.
func zombie(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Wait() })
	await(t, "the end of true", func() bool { return processState(cmd.Process.Pid) == "Z" })
	return cmd.Process.Pid
}

// thread is the number of a thread of the test's that is not the first.
func thread(t *testing.T) int {
	t.Helper()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for {
		number := make(chan int)
		go func() {
			runtime.LockOSThread()
			number <- syscall.Gettid()
			<-release
			runtime.UnlockOSThread()
		}()
		if tid := <-number; tid != os.Getpid() {
			return tid
		}
	}
}

// files is a directory in every respect that a command could change.
func files(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		must(t, syscall.Lstat(path, &st))
		text := ""
		if d.Type().IsRegular() {
			text = readFile(t, path)
		}
		fmt.Fprintln(&all, path, st.Ino, st.Mode, st.Uid, st.Size, st.Mtim, st.Ctim, len(text), text[:min(len(text), 80)])
		return nil
	})
	must(t, err)
	return all.String()
}

// unchanged fails the test if something happens to a directory while f runs.
func unchanged(t testing.TB, dir string, f func()) {
	t.Helper()
	before := files(t, dir)
	f()
	if after := files(t, dir); after != before {
		t.Errorf("before:\n%safterwards:\n%s", before, after)
	}
}

// answer is what a command says of a file with -json.
type answer struct {
	File, State, Program, Since, Reason, Error, Hint string
	Code, PID, Holder                                int
}

// answers are the lines on standard output.
func (r *run) answers(t testing.TB) (all []answer) {
	t.Helper()
	for line := range strings.Lines(r.rest(t)) {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, a)
	}
	return all
}

func (p *plant) expect(t *testing.T, dir, file string, pid int) {
	t.Helper()
	unchanged(t, dir, func() {
		r := start(t, how{}, "status", file)
		r.expectCode(t, p.code)
		r.expectQuiet(t)
		p.expectLine(t, r.rest(t), file, pid)

		r = start(t, how{}, "status", "-json", file)
		r.expectCode(t, p.code)
		r.expectQuiet(t)
		p.expectAnswer(t, r.answers(t), file, pid)
	})
}

func (p *plant) expectLine(t *testing.T, text, file string, pid int) {
	t.Helper()
	want := strings.NewReplacer("PID PID", fmt.Sprint("PID ", pid), "SINCE", `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).Replace(p.line)
	if !regexp.MustCompile("^" + regexp.QuoteMeta(file) + ": " + want + "\n$").MatchString(text) {
		t.Errorf("status says %q, want %s", text, want)
	}
}

func (p *plant) expectAnswer(t *testing.T, all []answer, file string, pid int) {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("%d answers, want one", len(all))
	}
	a := all[0]
	if a.File != file || a.Code != p.code || a.State != p.state || a.PID != pid || (a.Holder != 0) != (p.state == "held") {
		t.Errorf("%+v, want state %s, code %d, PID %d", a, p.state, p.code, pid)
	}
	since, err := time.Parse(time.RFC3339, a.Since)
	switch {
	case p.code != 0 && (a.Program != "" || a.Since != ""):
		t.Errorf("%+v tells of a program that is not meant", a)
	case p.code == 0 && (a.Program != "first" || err != nil || time.Since(since) > time.Minute):
		t.Errorf("%+v, want first, which has begun just now", a)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if p.root {
				needRoot(t)
			}
			file := openDir(t) + "/p.pid"
			p.expect(t, filepath.Dir(file), file, p.make(t, file))
		})
	}
}

func TestStatusOfNoFile(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	writeFile(t, dir+"/file", "", 0o644)
	for _, file := range []string{dir + "/p.pid", dir + "/no/p.pid", dir + "/file/p.pid"} {
		p := plant{state: "missing", code: 3, line: "not running: no such file"}
		p.expect(t, dir, file, 0)
	}
	p := plant{state: "unreadable", code: 4, line: "unreadable: is not a regular file"}
	p.expect(t, dir, dir, 0)
}

func TestStatusOfSeveral(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	plantPID(t, dir+"/up.pid", plainProgram(t))
	plantPID(t, dir+"/down.pid", deadPID)
	must(t, syscall.Mkfifo(dir+"/fifo.pid", 0o644))
	for words, code := range map[string]int{
		"up.pid":                            0,
		"up.pid up.pid":                     0,
		"up.pid down.pid":                   1,
		"down.pid up.pid":                   1,
		"none.pid down.pid up.pid":          3,
		"up.pid fifo.pid none.pid down.pid": 4,
	} {
		r := start(t, how{dir: dir}, append([]string{"status"}, strings.Fields(words)...)...)
		r.expectCode(t, code)
		var got []string
		for line := range strings.Lines(r.rest(t)) {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, dir+"/"), ":")
			got = append(got, name)
		}
		if strings.Join(got, " ") != words {
			t.Errorf("status %s tells of %q", words, got)
		}
	}
}

// A user needs no right for it but to read the file.
func TestStatusForNobody(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := openDir(t)
	plantHeld(t, dir+"/held.pid")
	plantPID(t, dir+"/writable.pid", plainProgram(t))
	must(t, os.Chmod(dir+"/writable.pid", 0o666))
	plantPID(t, dir+"/secret.pid", plainProgram(t))
	must(t, os.Chmod(dir+"/secret.pid", 0o600))
	plantPID(t, dir+"/own.pid", plainProgram(t))
	must(t, os.Chown(dir+"/own.pid", nobody, nobody))
	for file, want := range map[string]struct {
		code int
		line string
	}{
		"own.pid":      {0, `running, PID \d+ \(first\), .*, held by nobody`},
		"held.pid":     {0, `running, PID \d+ \(first\), .*, held by pidleash PID \d+`},
		"writable.pid": {0, `running, PID \d+ \(first\), .*, held by nobody`}, // who cannot signal it cannot be misled
		"secret.pid":   {4, `unreadable: .*permission denied`},
	} {
		r := start(t, asNobody(), "status", dir+"/"+file)
		r.expectCode(t, want.code)
		if line := r.rest(t); !regexp.MustCompile(": " + want.line + "\n$").MatchString(line) {
			t.Errorf("status says %q, want %s", line, want.line)
		}
	}
}

// A pidleash that has not yet waited for its program is still at work.
func TestStatusOfBusyPidleash(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	r := start(t, how{}, "-pidfile", file, first(t), "hold")
	program := r.number(t)
	r.signal(syscall.SIGSTOP)
	await(t, "pidleash is stopped", func() bool { return processState(r.pid()) == "T" })
	must(t, syscall.Kill(program, syscall.SIGKILL))
	await(t, "the end of PROGRAM", func() bool { return dead(program) })
	s := start(t, how{}, "status", file)
	s.expectCode(t, 1)
	s.expect(t, fmt.Sprintf("%s: stale: PID %d (first) has ended; pidleash PID %d is still at work", file, program, r.pid()))
	r.signal(syscall.SIGCONT)
	r.expectSignal(t, syscall.SIGKILL)
}

// A file that names pidleash is pidleash's.
func TestStatusOfPidleashItself(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	r := start(t, how{}, "-supervisor-pidfile", file, first(t), "hold")
	r.number(t)
	s := start(t, how{}, "status", file)
	s.expectCode(t, 0)
	line := s.line(t)
	if !regexp.MustCompile(fmt.Sprintf(`: running, PID %d \(pidleash\), since .*, held by itself: `, r.pid())).MatchString(line) {
		t.Errorf("status says %q", line)
	}
}

// What is called like a control sequence does not become one.
func TestForeignTextIsHarmless(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	evil := dir + "/a\x1b[31m\u202e\u009b\nb\xff.pid"
	program := dir + "/\x1b]0;x\a"
	must(t, os.Symlink(first(t), program))
	plantPID(t, evil, launch(t, exec.Command(program, "hold")).number(t))
	for _, words := range [][]string{{"status", evil}, {"status", "-json", evil}, {"list", dir}, {"list", "-json", dir},
		{"wait", "-until", "running", "-json", evil}, {"signal", "-json", "0", evil}, {"signal", "CONT", evil + "x"}} {
		r := start(t, how{}, words...)
		r.wait(t)
		text := r.rest(t) + r.stderr()
		if text == "" || !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\a\x7f\u202e\u009b\r") || strings.Count(text, "\n") > 2 {
			t.Errorf("%q: %q", words, text)
		}
	}
}

// Without FILE it is -pidfile, or the environment's file.
func TestCommandsTakeTheConfiguredFile(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	plantPID(t, dir+"/up.pid", plainProgram(t))
	plantPID(t, dir+"/down.pid", deadPID)
	up, down := dir+"/up.pid", dir+"/down.pid"
	for _, c := range []struct {
		env, args []string
		code      int
	}{
		{nil, []string{"-pidfile", up}, 0},
		{nil, []string{"-pidfile", "up.pid"}, 0},
		{[]string{"PIDFILE=" + up}, nil, 0},
		{[]string{"PIDFILE=" + down, "PIDLEASH_PIDFILE=" + up}, nil, 0},
		{[]string{"PIDFILE=" + down, "PIDLEASH_PIDFILE=" + down}, []string{"-pidfile", up}, 0},
		{[]string{"PIDFILE=" + down}, nil, 1},
		{[]string{"PIDFILE=" + down}, []string{up}, 0},
		{[]string{"PIDFILE=" + down}, []string{"-pidfile", up, up}, 125},
		{[]string{"PIDFILE="}, nil, 125},
	} {
		r := start(t, how{dir: dir, env: c.env}, append([]string{"status"}, c.args...)...)
		r.expectCode(t, c.code)
	}
	for _, words := range [][]string{{"signal", "CONT"}, {"wait", "-until", "running"}, {"stop"}} {
		start(t, how{env: []string{"PIDFILE=" + up}}, words...).expectCode(t, 0)
	}
	r := start(t, how{env: []string{"PIDFILE=" + up}}, "list", dir+"/down.pid")
	r.expectCode(t, 1)
}

// An option may stand anywhere before "--".
func TestOptionsAmongOperands(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	plantPID(t, dir+"/up.pid", plainProgram(t))
	plantPID(t, dir+"/-json", deadPID)
	for _, c := range []struct {
		words   string
		code    int
		json    bool
		answers int
	}{
		{"status -json up.pid", 0, true, 1},
		{"status up.pid -json", 0, true, 1},
		{"status up.pid --json -log-level info up.pid", 0, true, 2},
		{"status up.pid -json=false up.pid", 0, false, 2},
		{"status up.pid -- -json", 1, false, 2},
		{"status -- up.pid -json", 1, false, 2},
		{"wait up.pid -timeout 1ms -json", 124, true, 1},
		{"wait -until=running up.pid up.pid -json", 0, true, 2},
		{"signal CONT up.pid -json", 0, true, 1},
		{"signal -CONT up.pid -json", 0, true, 1},
		{"signal -json -18 up.pid", 0, true, 1},
		{"signal -json -- -18 up.pid", 0, true, 1},
		{"signal -json SIGCONT ./up.pid", 0, true, 1},
		{"list -json up.pid", 0, true, 1},
	} {
		r := start(t, how{dir: dir}, strings.Fields(c.words)...)
		r.expectCode(t, c.code)
		text := r.rest(t)
		firstLine, _, _ := strings.Cut(text, "\n")
		if strings.Count(text, "\n") != c.answers || strings.HasPrefix(text, "{") != c.json || !strings.Contains(firstLine, "/up.pid") {
			t.Errorf("%s: %q", c.words, text)
		}
	}
}

// A word is a command only as the very first argument.
func TestCommandOrProgram(t *testing.T) {
	t.Parallel()
	bin, file := t.TempDir(), openDir(t)+"/p.pid"
	for _, name := range []string{"status", "stop", "signal", "wait", "list"} {
		must(t, os.Symlink(first(t), bin+"/"+name))
		env := how{env: []string{"PATH=" + bin}}
		for _, words := range [][]string{{"--", name, "check", file}, {"-pidfile", file, name, "check", file}, {"./" + name, "check", file}} {
			h := env
			h.dir = bin
			if words[0] != "-pidfile" {
				h.env = append(h.env, "PIDLEASH_PIDFILE="+file)
			}
			start(t, h, words...).expectCode(t, 0)
		}
		r := start(t, env, name, "-h")
		r.expectCode(t, 0)
		if text := r.rest(t); !strings.HasPrefix(text, "pidleash "+name+" - ") {
			t.Errorf("%s -h says %q", name, text)
		}
	}
}

// The commands' own variables are options, too, and not the program's.
func TestCommandVariables(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/up.pid"
	plantPID(t, file, plainProgram(t))
	r := start(t, how{env: []string{"PIDLEASH_JSON=true", "PIDLEASH_UNTIL=running", "PIDLEASH_TIMEOUT=1h"}}, "wait", file)
	r.expectCode(t, 0)
	if all := r.answers(t); len(all) != 1 || all[0].Code != 0 {
		t.Errorf("%+v", all)
	}
	start(t, how{env: []string{"PIDLEASH_TIMEOUT=1ms"}}, "wait", file).expectCode(t, 124)
	r = start(t, how{env: []string{"PIDLEASH_JSON=1", "PIDLEASH_UNTIL=gone", "PIDLEASH_TIMEOUT=1s", "PIDLEASH_X=1"}}, "sh", "-c", "env | grep PIDLEASH_")
	r.expectCode(t, 0)
	if text := r.rest(t); text != "PIDLEASH_X=1\n" {
		t.Errorf("the program has %q", text)
	}
}

// Each file has its own result, in the order of the operands, and the highest
// code is that of all.
func TestSeveralFilesFail(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	plantPID(t, dir+"/down.pid", deadPID)
	plantPID(t, dir+"/up.pid", plainProgram(t))
	must(t, syscall.Mkfifo(dir+"/fifo.pid", 0o644))
	for _, c := range []struct {
		words string
		code  int
		codes []int
	}{
		{"signal CONT up.pid", 0, []int{0}},
		{"signal CONT down.pid up.pid", 1, []int{1, 0}},
		{"signal CONT none.pid up.pid down.pid", 3, []int{3, 0, 1}},
		{"signal CONT fifo.pid none.pid up.pid", 4, []int{4, 3, 0}},
		{"wait -timeout 1ms down.pid none.pid", 3, []int{1, 3}},
		{"wait -timeout 1ms up.pid fifo.pid", 124, []int{124, 4}},
		{"stop none.pid down.pid", 0, []int{0, 0}},
		{"stop fifo.pid none.pid", 4, []int{4, 0}},
	} {
		unchanged(t, dir, func() {
			r := start(t, how{dir: dir}, strings.Fields(c.words)...)
			r.expectCode(t, c.code)
			if text := r.rest(t); text != "" {
				t.Errorf("%s writes %q to standard output", c.words, text)
			}
			expectFailures(t, r.stderr(), c.codes)

			r = start(t, how{dir: dir}, append(strings.Fields(c.words), "-json")...)
			r.expectCode(t, c.code)
			r.expectQuiet(t)
			var codes []int
			for _, a := range r.answers(t) {
				codes = append(codes, a.Code)
				if (a.Error != "") != (a.Code != 0) || strings.Contains(a.Error, a.File) {
					t.Errorf("%s: %+v", c.words, a)
				}
			}
			if fmt.Sprint(codes) != fmt.Sprint(c.codes) {
				t.Errorf("%s: codes %v, want %v", c.words, codes, c.codes)
			}
		})
	}
}

// expectFailures wants one line for each file that failed.
func expectFailures(t *testing.T, text string, codes []int) {
	t.Helper()
	failed := 0
	for _, code := range codes {
		if code != 0 {
			failed++
		}
	}
	if strings.Count(text, "\n") != failed || strings.Count(text, "pidleash: pidfile /") != failed {
		t.Errorf("%d files have failed, and standard error has %q", failed, text)
	}
}

// One after the other they would wait for ever: the first program ends when the
// second has been told to.
func TestStopsAtTheSameTime(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	must(t, syscall.Mkfifo(dir+"/gate", 0o600))
	script := `trap '%s; exit 0' TERM; echo $$ >%s.pid; echo up; while :; do read line || exit 1; done`
	for _, c := range []struct{ name, onTerm string }{{"first", "read word <gate"}, {"second", "echo go >gate"}} {
		cmd := exec.Command("sh", "-c", fmt.Sprintf(script, c.onTerm, c.name))
		cmd.Dir = dir
		launch(t, cmd).expect(t, "up")
	}
	r := start(t, how{dir: dir}, "stop", "-timeout", "20s", "-stop", "TERM/forever", "first.pid", "second.pid")
	r.expectCode(t, 0)
	r.expectQuiet(t)
}

// waiting starts a wait for a program without end, in a process group of its own.
func waiting(t *testing.T, before ...string) *run {
	t.Helper()
	file := openDir(t) + "/p.pid"
	plantPID(t, file, plainProgram(t))
	r := start(t, how{before: before, attr: &syscall.SysProcAttr{Setpgid: true}}, "wait", file)
	awaitPidfds(t, r.pid(), 1)
	return r
}

// Signals do to a command what they do to any program, blocked as they are at the
// first instruction of the binary.
func TestSignalsEndCommands(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
		syscall.SIGUSR1, syscall.SIGALRM, syscall.SIGIO, 40, 64} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			r := waiting(t)
			r.signal(sig)
			r.expectSignal(t, sig)
			r.expectQuiet(t)
		})
	}
}

func TestSignalsStopCommands(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		r := waiting(t)
		r.signal(sig)
		await(t, "it is stopped", func() bool { return processState(r.pid()) == "T" })
		r.signal(syscall.SIGCONT)
		await(t, "it goes on", func() bool { return processState(r.pid()) == "S" })
		r.signal(syscall.SIGTERM)
		r.expectSignal(t, syscall.SIGTERM)
	}
}

// What the caller has ignored or blocked stays so.
func TestCommandsKeepTheCallersSignals(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"ignore=15", "block=10"} {
		r := waiting(t, compileC(t, "as.c"), state)
		sig := syscall.SIGTERM
		if state == "block=10" {
			sig = syscall.SIGUSR1
		}
		r.signal(sig)
		r.signal(syscall.SIGINT)
		r.expectSignal(t, syscall.SIGINT)
	}
}

func TestCommandOnTerminal(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	plantPID(t, file, plainProgram(t))
	s := newShell(t, "")
	s.types(pidleash + " wait " + file + "\n")
	await(t, "wait is in the foreground", func() bool { return s.foreground() == "pidleash" })
	s.types(ctrlZ)
	s.expect(`Stopped`)
	s.types("fg\n")
	await(t, "wait is in the foreground", func() bool { return s.foreground() == "pidleash" })
	s.types(ctrlC)
	s.expect(regexp.QuoteMeta(shellPrompt))
	s.types("echo code $?\n")
	s.expect("code 130")
}

// foreground is the name of a process in the terminal's foreground, when it runs.
func (c *console) foreground() string {
	for _, pid := range descendants(c.cmd.Process.Pid) {
		stat, _ := os.ReadFile(procFile(pid, "stat"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		f := strings.Fields(rest) // state, parent, group, session, terminal, foreground
		if len(f) > 5 && f[0] == "S" && f[2] == f[5] {
			comm, _ := os.ReadFile(procFile(pid, "comm"))
			return strings.TrimSpace(string(comm))
		}
	}
	return ""
}

// A reader who goes away ends a command as any other, and a full disk is told.
func TestCommandsOutputFails(t *testing.T) {
	t.Parallel()
	read, write := newPipe(t)
	read.Close()
	cmd := exec.Command(pidleash, "status", "/")
	cmd.Stdout = write
	cmd.Run()
	write.Close()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGPIPE {
		t.Errorf("without a reader it ends by %s", describe(status))
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	for _, words := range [][]string{{"status", "/"}, {"list", "/dev/null"}, {"wait", "-json", "/"}, {"stop", "-h"}} {
		cmd = exec.Command(pidleash, words...)
		cmd.Stdout = full
		if cmd.Run(); cmd.ProcessState.ExitCode() != 125 {
			t.Errorf("%q: with a full disk the code is %d", words, cmd.ProcessState.ExitCode())
		}
	}
}
