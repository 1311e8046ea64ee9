package control

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
	"pidleash/watch"
)

// patience bounds what is to happen soon, however busy the machine.
const patience = 30 * time.Second

// program is a shell that runs a script, and that ends with the test at the latest.
type program struct {
	pid   int
	lines *bufio.Scanner
	cmd   *exec.Cmd
}

// start returns when the script has said that it is ready. Nobody waits for its end
// before reap.
func start(t *testing.T, script string) *program {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{pid: cmd.Process.Pid, lines: bufio.NewScanner(out), cmd: cmd}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	p.says(t, "ready")
	return p
}

func (p *program) says(t *testing.T, want string) {
	t.Helper()
	if !p.lines.Scan() || p.lines.Text() != want {
		t.Fatalf("the program says %q, want %q", p.lines.Text(), want)
	}
}

// reap waits for the end and tells of it.
func (p *program) reap(t *testing.T) syscall.WaitStatus {
	t.Helper()
	p.cmd.Wait() // its error is in the status
	return p.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func (p *program) lives() bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// await polls for what gives no handshake.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("has not happened: %s", what)
		}
	}
}

// asleep lives until somebody ends it.
const asleep = `echo ready; exec sleep 60`

// deaf ignores TERM.
const deaf = `trap "" TERM; echo ready; exec sleep 60`

// telling prints the signals that it gets. A shell would not do: one that gets a signal between its look for traps and
// open(2) or read(2) sleeps on. TELLER makes this binary that program.
const telling = `TELLER=1 exec /proc/$PPID/exe`

func TestMain(m *testing.M) {
	if os.Getenv("TELLER") != "" {
		tell()
	}
	os.Exit(m.Run())
}

func tell() {
	got := make(chan os.Signal, 16)
	signal.Notify(got, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGCONT)
	fmt.Println("ready")
	for sig := range got {
		fmt.Println(unix.SignalName(sig.(syscall.Signal)))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.pid")
	must(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// fileOf is the PID file of a program that writes it itself.
func fileOf(t *testing.T, p *program) string {
	t.Helper()
	return file(t, fmt.Sprintln(p.pid))
}

func schedule(t *testing.T, text string) plan.Schedule {
	t.Helper()
	s, err := plan.ParseSchedule(text)
	must(t, err)
	return s
}

func expect(t *testing.T, what string, err error, code int, pattern string) {
	t.Helper()
	var e *fault.Error
	switch {
	case code == 0 && err != nil:
		t.Errorf("%s: %v, want no error", what, err)
	case code == 0:
	case !errors.As(err, &e) || e.Code != code || !regexp.MustCompile(pattern).MatchString(e.Error()):
		t.Errorf("%s: %v, want code %d and a match of %q", what, err, code, pattern)
	}
}

var verdicts = []struct {
	name    string
	arrange func(t *testing.T, p *program) (path string)
	stop    int
	others  int // of Signal and of Wait for an end
	pattern string
}{
	{name: "no file", others: 3, pattern: ": no such file$",
		arrange: func(t *testing.T, _ *program) string { return filepath.Join(t.TempDir(), "p.pid") }},
	{name: "no directory", others: 3, pattern: ": no such file$",
		arrange: func(t *testing.T, _ *program) string { return filepath.Join(t.TempDir(), "no/such/p.pid") }},
	{name: "empty", others: 1, pattern: ": stale: it is empty$",
		arrange: func(t *testing.T, _ *program) string { return file(t, "") }},
	{name: "garbage", stop: 4, others: 4, pattern: ": is not a PID file$",
		arrange: func(t *testing.T, _ *program) string { return file(t, "-1\n") }},
	{name: "dead", others: 1, pattern: ": stale: PID 4194305 does not run$",
		arrange: func(t *testing.T, _ *program) string { return file(t, "4194305\n") }},
	{name: "zombie", others: 1, pattern: `: stale: PID \d+ .true. has ended$`,
		arrange: func(t *testing.T, _ *program) string {
			z := start(t, "echo ready; exec true")
			await(t, "it has ended", func() bool { return !z.lives() })
			return fileOf(t, z)
		}},
	{name: "older than the boot", others: 1, pattern: `: stale: it is older than the boot: PID \d+ .(sh|sleep). started`,
		arrange: func(t *testing.T, p *program) string {
			path := fileOf(t, p)
			must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
			return path
		}},
	{name: "symbolic link", stop: 4, others: 4, pattern: ": is a symbolic link$",
		arrange: func(t *testing.T, p *program) string {
			path := fileOf(t, p)
			must(t, os.Symlink(path, path+".link"))
			return path + ".link"
		}},
	{name: "directory", stop: 4, others: 4, pattern: ": is a directory$",
		arrange: func(t *testing.T, _ *program) string { return t.TempDir() }},
	{name: "writable for all", stop: 4, others: 4, pattern: ": not trusted: its mode is 0666",
		arrange: func(t *testing.T, p *program) string {
			needRoot(t)
			path := fileOf(t, p)
			must(t, os.Chmod(path, 0o666))
			return path
		}},
	{name: "another user's", stop: 4, others: 4, pattern: `: not trusted: user 65534 wrote it, and PID \d+ .(sh|sleep). is user 0's$`,
		arrange: func(t *testing.T, p *program) string {
			needRoot(t)
			path := fileOf(t, p)
			must(t, os.Chown(path, 65534, 65534))
			return path
		}},
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// A file that names nobody, or is not to be trusted, has nothing done to it, nor to
// the process whose PID it has.
func TestVerdicts(t *testing.T) {
	for _, c := range verdicts {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, asleep)
			path := c.arrange(t, p)
			before, _ := os.ReadFile(path)
			soon := time.Now().Add(patience)
			expect(t, "Stop", Stop(path, schedule(t, "KILL"), soon), c.stop, c.pattern)
			expect(t, "Signal", Signal(path, syscall.SIGKILL), c.others, c.pattern)
			expect(t, "Wait", Wait(path, soon, false), c.others, c.pattern)
			if !p.lives() {
				t.Error("the process is killed")
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Errorf("the file has %q, had %q", after, before)
			}
		})
	}
}

func TestStopBySchedule(t *testing.T) {
	for _, c := range []struct {
		script, schedule string
		want             syscall.Signal
	}{
		{asleep, "TERM/60s/KILL", syscall.SIGTERM},
		{asleep, "TERM", syscall.SIGTERM},
		{asleep, "10ms/INT/forever", syscall.SIGINT},
		{deaf, "TERM/200ms/KILL", syscall.SIGKILL},
		{deaf, "TERM/0/INT/60s/HUP", syscall.SIGINT},
		// A stopped one dies only if it goes on.
		{`echo ready; kill -STOP $$; sleep 60`, "TERM/forever", syscall.SIGTERM},
	} {
		t.Run(c.schedule, func(t *testing.T) {
			p := start(t, c.script)
			if strings.Contains(c.script, "STOP") {
				await(t, "it is stopped", func() bool {
					text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
					return strings.Contains(string(text), ") T ")
				})
			}
			path := fileOf(t, p)
			// A zombie counts as gone: nobody waits for it before.
			expect(t, "Stop", Stop(path, schedule(t, c.schedule), time.Time{}), 0, "")
			if p.lives() {
				t.Error("it still runs")
			}
			if status := p.reap(t); status.Signal() != c.want {
				t.Errorf("it ended by %v, want %v", status.Signal(), c.want)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("its file: %v", err)
			}
		})
	}
}

// Each waits for what the schedule says, and no longer than it takes.
func TestStopWaits(t *testing.T) {
	p := start(t, deaf)
	began := time.Now()
	expect(t, "Stop", Stop(fileOf(t, p), schedule(t, "TERM/300ms/KILL"), time.Time{}), 0, "")
	if took := time.Since(began); took < 300*time.Millisecond || took > patience/2 {
		t.Errorf("KILL came after %v, want 300ms", took)
	}
}

func TestStopSendsContWithEachSignal(t *testing.T) {
	p := start(t, telling)
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() }) // what it does not get, it cannot tell of
	defer late.Stop()
	path, forever := fileOf(t, p), schedule(t, "HUP/forever")
	stopped := make(chan error, 1)
	go func() { stopped <- Stop(path, forever, time.Time{}) }()
	got := map[string]bool{}
	for range 2 {
		p.lines.Scan()
		got[p.lines.Text()] = true
	}
	if !got["SIGHUP"] || !got["SIGCONT"] {
		t.Errorf("it got %v, want HUP and CONT", got)
	}
	// Signal sends one, and nothing with it.
	for range 20 {
		expect(t, "Signal", Signal(path, syscall.SIGUSR1), 0, "")
		p.says(t, "SIGUSR1")
	}
	must(t, p.cmd.Process.Kill())
	expect(t, "Stop", <-stopped, 0, "")
}

// After the time nothing more is sent.
func TestStopTimeout(t *testing.T) {
	for _, text := range []string{"TERM/forever", "TERM/200ms/TERM/60s/KILL", "60s/KILL", "TERM"} {
		t.Run(text, func(t *testing.T) {
			p := start(t, deaf)
			path := fileOf(t, p)
			expect(t, "Stop", Stop(path, schedule(t, text), time.Now().Add(100*time.Millisecond)), 124, `: PID \d+ .(sh|sleep). still runs$`)
			expect(t, "Stop after the time", Stop(path, schedule(t, "KILL"), time.Now()), 124, `: PID \d+ .(sh|sleep). still runs$`)
			if !p.lives() {
				t.Error("it is killed")
			}
		})
	}
}

func TestWaitForEnd(t *testing.T) {
	p := start(t, asleep)
	path := fileOf(t, p)
	expect(t, "Wait", Wait(path, time.Now().Add(50*time.Millisecond), false), 124, `: PID \d+ .(sh|sleep). still runs$`)
	end := make(chan error, 1)
	go func() { end <- Wait(path, time.Now().Add(patience), false) }()
	must(t, syscall.Kill(p.pid, syscall.SIGTERM))
	// It may have ended before the look: then it is stale.
	var e *fault.Error
	if err := <-end; err != nil && (!errors.As(err, &e) || e.Code != fault.NoProcess) {
		t.Errorf("Wait: %v", err)
	}
}

// moves are ways in which a file comes to name a process that runs.
var moves = map[string]func(t *testing.T, path string, p *program){
	"a new file": func(t *testing.T, path string, p *program) {
		must(t, os.WriteFile(path, []byte(fmt.Sprintln(p.pid)), 0o644))
	},
	"a new directory": func(t *testing.T, path string, p *program) {
		must(t, os.Mkdir(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(fmt.Sprintln(p.pid)), 0o644))
	},
	"a new directory, later a file": func(t *testing.T, path string, p *program) {
		must(t, os.Mkdir(filepath.Dir(path), 0o755))
		time.Sleep(50 * time.Millisecond) // so that the directory is seen without it
		must(t, os.WriteFile(path, []byte(fmt.Sprintln(p.pid)), 0o644))
	},
	"a directory moved into place": func(t *testing.T, path string, p *program) {
		must(t, os.Mkdir(filepath.Dir(path)+".new", 0o755))
		must(t, os.WriteFile(filepath.Dir(path)+".new/p.pid", []byte(fmt.Sprintln(p.pid)), 0o644))
		must(t, os.Rename(filepath.Dir(path)+".new", filepath.Dir(path)))
	},
	"a stale file replaced": func(t *testing.T, path string, p *program) {
		must(t, os.WriteFile(path+".new", []byte(fmt.Sprintln(p.pid)), 0o644))
		must(t, os.Rename(path+".new", path))
	},
	"a stale file rewritten": func(t *testing.T, path string, p *program) {
		must(t, os.WriteFile(path, []byte(fmt.Sprintln(p.pid)), 0o644))
	},
}

func TestWaitRunning(t *testing.T) {
	for name, move := range moves {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, asleep)
			path := filepath.Join(t.TempDir(), "d", "p.pid")
			before := ": not running: no such file$"
			if !strings.Contains(name, "directory") {
				must(t, os.Mkdir(filepath.Dir(path), 0o755))
			}
			if strings.Contains(name, "stale") {
				must(t, os.WriteFile(path, []byte("4194305\n"), 0o644))
				before = ": not running: PID 4194305 does not run$"
			}
			expect(t, "Wait", Wait(path, time.Now().Add(50*time.Millisecond), true), 124, before)
			end := make(chan error, 1)
			go func() { end <- Wait(path, time.Now().Add(patience), true) }()
			time.Sleep(20 * time.Millisecond) // so that it mostly waits by then; it need not
			move(t, path, p)
			moved := time.Now()
			expect(t, "Wait", <-end, 0, "")
			// Found by an event: the poll comes only later.
			if took := time.Since(moved); took > watch.SlowPoll-time.Second {
				t.Errorf("it was seen after %v", took)
			}
			expect(t, "Wait again", Wait(path, time.Now(), true), 0, "")
		})
	}
}

func TestWaitRunningRefuses(t *testing.T) {
	p := start(t, asleep)
	path := fileOf(t, p)
	must(t, os.Symlink(path, path+".link"))
	expect(t, "Wait", Wait(path+".link", time.Time{}, true), 4, ": is a symbolic link$")
}

// Every pidfd is closed again.
func TestNoDescriptorIsLeft(t *testing.T) {
	p := start(t, deaf)
	path := fileOf(t, p)
	expect(t, "Wait", Wait(path, time.Time{}, true), 0, "") // inotify's stays, once
	before := descriptors(t)
	for range 10 {
		expect(t, "Stop", Stop(path, schedule(t, "TERM/forever"), time.Now().Add(time.Millisecond)), 124, "")
		expect(t, "Signal", Signal(path, syscall.SIGTERM), 0, "")
		expect(t, "Wait", Wait(path, time.Now(), false), 124, "")
		expect(t, "Wait", Wait(path, time.Time{}, true), 0, "")
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

func descriptors(t *testing.T) (n int) {
	t.Helper()
	for fd := range 1000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}
