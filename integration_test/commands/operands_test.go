package commands

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

	"pidleash/integration_test/bed"
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
		make: func(t *testing.T, file string) int { return bed.PlantPID(t, file, bed.PlainProgram(t)) }},
	{name: "held", state: "held", line: `running, PID PID \(first\), since SINCE \(\d+s\), held by pidleash PID \d+`,
		make: plantHeld},
	{name: "several lines", state: "running", line: `running, PID PID \(first\), .*`,
		make: func(t *testing.T, file string) int {
			pid := bed.PlainProgram(t)
			bed.WriteFile(t, file, fmt.Sprintf(" %d\n/var/lib/postgresql/data\n1780000000\n5432\n", pid), 0o644)
			return pid
		}},
	{name: "dead", state: "stale", code: 1, line: `stale: PID PID does not run; held by nobody`,
		make: func(t *testing.T, file string) int { return bed.PlantPID(t, file, bed.DeadPID) }},
	{name: "zombie", state: "stale", code: 1, line: `stale: PID PID \(true\) has ended; held by nobody`,
		make: func(t *testing.T, file string) int { return bed.PlantPID(t, file, zombie(t)) }},
	{name: "thread", state: "recycled", code: 1, line: `recycled PID: PID PID \(.*\) is a thread; held by nobody`,
		make: func(t *testing.T, file string) int { return bed.PlantPID(t, file, thread(t)) }},
	{name: "older than the boot", state: "recycled", code: 1, line: `recycled PID: it is older than the boot: PID PID \(first\) started after .*; held by nobody`,
		make: func(t *testing.T, file string) int {
			return bed.PlantPIDAt(t, file, bed.PlainProgram(t), bed.LongAgo)
		}},
	{name: "empty", state: "empty", code: 1, line: `empty; held by nobody`, make: content("")},
	{name: "zeros", state: "empty", code: 1, line: `empty; held by nobody`, make: content("\x00\x00\x00\x00\x00\x00")},
	{name: "garbage", state: "unreadable", code: 4, line: `unreadable: is not a PID file`, make: content("\x7fELF\x1b[31m\xff\xfe\n\x00")},
	{name: "negative", state: "unreadable", code: 4, line: `unreadable: is not a PID file`, make: content("-1\n")},
	{name: "no PID file", state: "unreadable", code: 4, line: `unreadable: is not a PID file`,
		make: content(strings.Repeat("root:x:0:0:root:/root:/bin/bash\n", 1<<15))},
	{name: "symbolic link", state: "unreadable", code: 4, line: `unreadable: is a symbolic link`,
		make: func(t *testing.T, file string) int {
			bed.PlantPID(t, file+".target", bed.PlainProgram(t))
			bed.Must(t, os.Symlink(filepath.Base(file)+".target", file))
			return 0
		}},
	{name: "fifo", state: "unreadable", code: 4, line: `unreadable: is not a regular file`,
		make: func(t *testing.T, file string) int { bed.Must(t, syscall.Mkfifo(file, 0o644)); return 0 }},
	{name: "socket", state: "unreadable", code: 4, line: `unreadable: .*`,
		make: func(t *testing.T, file string) int {
			l, err := net.Listen("unix", file)
			bed.Must(t, err)
			t.Cleanup(func() { l.Close() })
			return 0
		}},
	{name: "group may write", root: true, state: "untrusted", code: 4, line: `untrusted: its mode is 0664: .*`,
		make: func(t *testing.T, file string) int {
			pid := bed.PlantPID(t, file, bed.PlainProgram(t))
			bed.Must(t, os.Chmod(file, 0o664))
			return pid
		}},
	{name: "all may write", root: true, state: "untrusted", code: 4, line: `untrusted: its mode is 0666: .*`,
		make: func(t *testing.T, file string) int {
			pid := bed.PlantPID(t, file, bed.PlainProgram(t))
			bed.Must(t, os.Chmod(file, 0o666))
			return pid
		}},
	{name: "of another user", root: true, state: "untrusted", code: 4, line: `untrusted: user 65534 wrote it, and PID PID \(first\) is user 0's`,
		make: func(t *testing.T, file string) int {
			pid := bed.PlantPID(t, file, bed.PlainProgram(t))
			bed.Must(t, os.Chown(file, bed.Nobody, bed.Nobody))
			return pid
		}},
	{name: "of its own user", root: true, state: "running", line: `running, PID PID \(first\), .*, held by nobody`,
		make: func(t *testing.T, file string) int {
			cmd := exec.Command(bed.CompileC(t, "first.c"), "hold")
			cmd.SysProcAttr = bed.AsNobody().Attr
			pid := bed.PlantPID(t, file, bed.Launch(t, cmd).Number(t))
			bed.Must(t, os.Chown(file, bed.Nobody, bed.Nobody))
			return pid
		}},
}

func plantHeld(t *testing.T, file string) int {
	t.Helper()
	return bed.Start(t, bed.How{}, "-pidfile", file, bed.CompileC(t, "first.c"), "hold").Number(t)
}

func content(text string) func(*testing.T, string) int {
	return func(t *testing.T, file string) int { bed.WriteFile(t, file, text, 0o644); return 0 }
}

// zombie has ended, and nobody has waited for it.
func zombie(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	bed.Must(t, cmd.Start())
	t.Cleanup(func() { cmd.Wait() })
	bed.Await(t, "the end of true", func() bool { return bed.ProcessState(cmd.Process.Pid) == "Z" })
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
		bed.Must(t, syscall.Lstat(path, &st))
		text := ""
		if d.Type().IsRegular() {
			text = bed.ReadFile(t, path)
		}
		fmt.Fprintln(&all, path, st.Ino, st.Mode, st.Uid, st.Size, st.Mtim, st.Ctim, len(text), text[:min(len(text), 80)])
		return nil
	})
	bed.Must(t, err)
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
func answers(r *bed.Run, t testing.TB) (all []answer) {
	t.Helper()
	for line := range strings.Lines(r.Rest(t)) {
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
		r := bed.Start(t, bed.How{}, "status", file)
		r.ExpectCode(t, p.code)
		r.ExpectQuiet(t)
		p.expectLine(t, r.Rest(t), file, pid)

		r = bed.Start(t, bed.How{}, "status", "-json", file)
		r.ExpectCode(t, p.code)
		r.ExpectQuiet(t)
		p.expectAnswer(t, answers(r, t), file, pid)
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

// Without FILE it is -pidfile, or the environment's file.
func TestCommandsTakeTheConfiguredFile(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	bed.PlantPID(t, dir+"/up.pid", bed.PlainProgram(t))
	bed.PlantPID(t, dir+"/down.pid", bed.DeadPID)
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
		r := bed.Start(t, bed.How{Dir: dir, Env: c.env}, append([]string{"status"}, c.args...)...)
		r.ExpectCode(t, c.code)
	}
	for _, words := range [][]string{{"signal", "CONT"}, {"wait", "-until", "running"}, {"stop"}} {
		bed.Start(t, bed.How{Env: []string{"PIDFILE=" + up}}, words...).ExpectCode(t, 0)
	}
	r := bed.Start(t, bed.How{Env: []string{"PIDFILE=" + up}}, "list", dir+"/down.pid")
	r.ExpectCode(t, 1)
}

// An option may stand anywhere before "--".
func TestOptionsAmongOperands(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	bed.PlantPID(t, dir+"/up.pid", bed.PlainProgram(t))
	bed.PlantPID(t, dir+"/-json", bed.DeadPID)
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
		r := bed.Start(t, bed.How{Dir: dir}, strings.Fields(c.words)...)
		r.ExpectCode(t, c.code)
		text := r.Rest(t)
		firstLine, _, _ := strings.Cut(text, "\n")
		if strings.Count(text, "\n") != c.answers || strings.HasPrefix(text, "{") != c.json || !strings.Contains(firstLine, "/up.pid") {
			t.Errorf("%s: %q", c.words, text)
		}
	}
}

// A word is a command only as the very first argument.
func TestCommandOrProgram(t *testing.T) {
	t.Parallel()
	bin, file := t.TempDir(), bed.OpenDir(t)+"/p.pid"
	for _, name := range []string{"status", "stop", "signal", "wait", "list"} {
		bed.Must(t, os.Symlink(bed.CompileC(t, "first.c"), bin+"/"+name))
		env := bed.How{Env: []string{"PATH=" + bin}}
		for _, words := range [][]string{{"--", name, "check", file}, {"-pidfile", file, name, "check", file}, {"./" + name, "check", file}} {
			h := env
			h.Dir = bin
			if words[0] != "-pidfile" {
				h.Env = append(h.Env, "PIDLEASH_PIDFILE="+file)
			}
			bed.Start(t, h, words...).ExpectCode(t, 0)
		}
		r := bed.Start(t, env, name, "-h")
		r.ExpectCode(t, 0)
		if text := r.Rest(t); !strings.HasPrefix(text, "pidleash "+name+" - ") {
			t.Errorf("%s -h says %q", name, text)
		}
	}
}

// The commands' own variables are options, too, and not the program's.
func TestCommandVariables(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/up.pid"
	bed.PlantPID(t, file, bed.PlainProgram(t))
	r := bed.Start(t, bed.How{Env: []string{"PIDLEASH_JSON=true", "PIDLEASH_UNTIL=running", "PIDLEASH_TIMEOUT=1h"}}, "wait", file)
	r.ExpectCode(t, 0)
	if all := answers(r, t); len(all) != 1 || all[0].Code != 0 {
		t.Errorf("%+v", all)
	}
	bed.Start(t, bed.How{Env: []string{"PIDLEASH_TIMEOUT=1ms"}}, "wait", file).ExpectCode(t, 124)
	r = bed.Start(t, bed.How{Env: []string{"PIDLEASH_JSON=1", "PIDLEASH_UNTIL=gone", "PIDLEASH_TIMEOUT=1s", "PIDLEASH_X=1"}}, "sh", "-c", "env | grep PIDLEASH_")
	r.ExpectCode(t, 0)
	if text := r.Rest(t); text != "PIDLEASH_X=1\n" {
		t.Errorf("the program has %q", text)
	}
}

// Each file has its own result, in the order of the operands, and the highest
// code is that of all.
func TestSeveralFilesFail(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	bed.PlantPID(t, dir+"/down.pid", bed.DeadPID)
	bed.PlantPID(t, dir+"/up.pid", bed.PlainProgram(t))
	bed.Must(t, syscall.Mkfifo(dir+"/fifo.pid", 0o644))
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
			r := bed.Start(t, bed.How{Dir: dir}, strings.Fields(c.words)...)
			r.ExpectCode(t, c.code)
			if text := r.Rest(t); text != "" {
				t.Errorf("%s writes %q to standard output", c.words, text)
			}
			expectFailures(t, r.Stderr(), c.codes)

			r = bed.Start(t, bed.How{Dir: dir}, append(strings.Fields(c.words), "-json")...)
			r.ExpectCode(t, c.code)
			r.ExpectQuiet(t)
			var codes []int
			for _, a := range answers(r, t) {
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
	dir := bed.OpenDir(t)
	bed.Must(t, syscall.Mkfifo(dir+"/gate", 0o600))
	script := `trap '%s; exit 0' TERM; echo $$ >%s.pid; echo up; while :; do read line || exit 1; done`
	for _, c := range []struct{ name, onTerm string }{{"first", "read word <gate"}, {"second", "echo go >gate"}} {
		cmd := exec.Command("sh", "-c", fmt.Sprintf(script, c.onTerm, c.name))
		cmd.Dir = dir
		bed.Launch(t, cmd).Expect(t, "up")
	}
	r := bed.Start(t, bed.How{Dir: dir}, "stop", "-timeout", "20s", "-stop", "TERM/forever", "first.pid", "second.pid")
	r.ExpectCode(t, 0)
	r.ExpectQuiet(t)
}
