package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ledScript is a PROGRAM that tells its PID and does what it reads, one line of
// shell after the other. The shell reads no more than a line, so that the next run
// finds the next one.
const ledScript = `echo $$; while read -r order; do eval "$order"; done`

// A restarted is a pidleash that may start its PROGRAM more than once.
type restarted struct {
	*run
	dir, file string
	program   int // the PID of the last run
	// before is how many restarts pidleash had told of when that began.
	before int
}

// never is a delay that no test sees the end of.
const never = "1h"

// leashRestarted runs pidleash with options before a PROGRAM, and tells of restarts.
func leashRestarted(t testing.TB, h how, options []string, program ...string) *restarted {
	t.Helper()
	r := &restarted{dir: openDir(t)}
	r.file = r.dir + "/p.pid"
	args := append([]string{"-pidfile", r.file, "-settle", "10ms", "-log-level", "info"}, options...)
	r.run = start(t, h, append(append(args, "--"), program...)...)
	return r
}

// startRestarted has a PROGRAM that does what it is told, and returns when it runs.
func startRestarted(t testing.TB, h how, options ...string) *restarted {
	t.Helper()
	r := leashRestarted(t, h, options, "sh", "-c", ledScript)
	r.begins(t)
	return r
}

// begins returns when the next run has begun. The PID file names that.
func (r *restarted) begins(t testing.TB) {
	t.Helper()
	last := r.program
	if r.program = r.number(t); r.program == last {
		t.Errorf("PROGRAM has PID %d twice", last)
	}
	r.names(t, r.program)
	r.before = r.delays(t)
}

// names fails the test unless the file names this process, and pidleash has it
// locked.
func (r *restarted) names(t testing.TB, pid int) {
	t.Helper()
	if text := readFile(t, r.file); text != strconv.Itoa(pid)+"\n" {
		t.Errorf("the PID file has %q, want %d", text, pid)
	}
	if !isLockedBy(t, r.file, r.pid()) {
		t.Errorf("the PID file is not locked by pidleash, %d", r.pid())
	}
}

// delayed finds the restarts that pidleash tells of.
var delayed = regexp.MustCompile(`(?m)^pidleash: (.*), restarting in (.*)$`)

func (r *restarted) delays(testing.TB) int { return len(delayed.FindAllString(r.stderr(), -1)) }

// fails has PROGRAM end in this way, and returns when nobody runs: the file names
// pidleash.
func (r *restarted) fails(t testing.TB, order string) {
	t.Helper()
	r.tell(t, order)
	r.backsOff(t)
}

func (r *restarted) backsOff(t testing.TB) {
	t.Helper()
	await(t, "pidleash backs off", func() bool { return r.delays(t) > r.before })
	r.names(t, r.pid())
	if len(childPIDs(r.pid())) > 0 {
		t.Errorf("pidleash has children %v in the back-off", childPIDs(r.pid()))
	}
}

// leaves ends the back-off by the removal of the file, of which an event tells.
func (r *restarted) leaves(t testing.TB) {
	t.Helper()
	before := time.Now()
	removeFile(t, r.file)
	r.expectCode(t, 0)
	if took := time.Since(before); took > byEvent {
		t.Errorf("pidleash has learned of the removal after %v", took)
	}
	expectEmptyDir(t, r.dir)
}

// Clean ends are 0, the -success codes, and death by HUP, INT, TERM or PIPE.
var restartEnds = []struct {
	order   string
	options []string
	clean   bool
	code    int
	signal  syscall.Signal
	told    string
}{
	{order: "exit 0", clean: true, told: "ended with code 0"},
	{order: "exit 1", code: 1, told: "ended with code 1"},
	{order: "exit 143", code: 143, told: "ended with code 143"},
	{order: "exit 255", code: 255, told: "ended with code 255"},
	{order: "kill -HUP $$", clean: true, signal: syscall.SIGHUP, told: "ended by SIGHUP"},
	{order: "kill -INT $$", clean: true, signal: syscall.SIGINT, told: "ended by SIGINT"},
	{order: "kill -TERM $$", clean: true, signal: syscall.SIGTERM, told: "ended by SIGTERM"},
	{order: "kill -PIPE $$", clean: true, signal: syscall.SIGPIPE, told: "ended by SIGPIPE"},
	{order: "kill -KILL $$", signal: syscall.SIGKILL, told: "ended by SIGKILL"},
	{order: "kill -USR1 $$", signal: syscall.SIGUSR1, told: "ended by SIGUSR1"},
	{order: "kill -ALRM $$", signal: syscall.SIGALRM, told: "ended by SIGALRM"},
	{order: "ulimit -c 0; kill -QUIT $$", signal: syscall.SIGQUIT, told: "ended by SIGQUIT"},
	{order: "ulimit -c 0; kill -SEGV $$", signal: syscall.SIGSEGV, told: "ended by SIGSEGV"},
	{order: "exit 3", options: []string{"-success", "3,138"}, clean: true, told: "ended with code 3"},
	{order: "kill -USR1 $$", options: []string{"-success", "3,138"}, clean: true, told: "ended by SIGUSR1"},
	{order: "exit 4", options: []string{"-success", "3,138"}, code: 4, told: "ended with code 4"},
}

func TestRestartPolicies(t *testing.T) {
	t.Parallel()
	for _, end := range restartEnds {
		for _, policy := range []string{"", "no", "on-failure", "always"} {
			options := append([]string{"-restart-delay", never}, end.options...)
			if policy != "" {
				options = append(options, "-restart", policy)
			}
			if policy == "" || policy == "no" {
				options = options[2:] // it would be without effect
			}
			t.Run(fmt.Sprintf("%s %s %s", policy, end.order, end.options), func(t *testing.T) {
				t.Parallel()
				r := startRestarted(t, how{}, options...)
				r.tell(t, end.order)
				if policy == "always" || policy == "on-failure" && !end.clean {
					r.awaitStderr(t, `(?m)^pidleash: sh `+end.told+`(, core dumped)?, restarting in 1h`)
					r.backsOff(t)
					r.leaves(t)
					return
				}
				if end.signal != 0 && end.options == nil {
					r.expectSignal(t, end.signal)
				} else {
					r.expectCode(t, end.code)
				}
				r.expectQuiet(t)
				expectEmptyDir(t, r.dir)
			})
		}
	}
}

// A restart is a run like the first one.
func TestRestartIsAnotherRun(t *testing.T) {
	t.Parallel()
	h := how{env: []string{"A=b c", "EMPTY="}, dir: openDir(t), umask: "027"}
	options := []string{"-restart", "always", "-restart-delay", "0", "-stdout", "/dev/stdout"}
	r := leashRestarted(t, h, options, "sh", "-c", ledScript, "zero", "a b", "", "-x")
	r.begins(t)
	first := r.looks(t)
	for range 3 {
		r.tell(t, "exit 1")
		r.begins(t)
		if again := r.looks(t); again != first {
			t.Errorf("the first run had\n%s\na later one\n%s", first, again)
		}
	}
}

// looks tells what a run of PROGRAM has: all but its PID.
func (r *restarted) looks(t testing.TB) string {
	t.Helper()
	var text strings.Builder
	for _, name := range []string{"cmdline", "environ", "limits", "oom_score_adj"} {
		text.WriteString(readFile(t, procFile(r.program, name)) + "\n")
	}
	for line := range strings.Lines(readFile(t, procFile(r.program, "status"))) {
		for _, name := range []string{"Umask:", "PPid:", "SigIgn:", "Uid:", "Gid:"} {
			if strings.HasPrefix(line, name) {
				text.WriteString(line)
			}
		}
	}
	cwd, err := os.Readlink(procFile(r.program, "cwd"))
	must(t, err)
	group, err := unix.Getpgid(r.program)
	must(t, err)
	numbers, targets := descriptorsOf(t, r.program)
	fmt.Fprintln(&text, cwd, group == r.program, numbers, targets)
	return text.String()
}

// The delay doubles, and is never less than it says, nor a tenth more: the jitter.
func TestRestartDelayDoubles(t *testing.T) {
	t.Parallel()
	r := leashRestarted(t, how{}, []string{"-restart", "on-failure", "-restart-delay", "20ms", "-restart-limit", "5/1h"}, "false")
	r.expectCode(t, 1)
	r.expectDelays(t, 20*time.Millisecond, 40*time.Millisecond, 80*time.Millisecond, 160*time.Millisecond, 320*time.Millisecond)
}

// expectDelays compares what pidleash tells with the delays without jitter.
func (r *restarted) expectDelays(t testing.TB, want ...time.Duration) (all []time.Duration) {
	t.Helper()
	told := delayed.FindAllStringSubmatch(r.stderr(), -1)
	if len(told) != len(want) {
		t.Fatalf("pidleash tells of %d restarts, want %d\n%s", len(told), len(want), r.stderr())
	}
	for i, groups := range told {
		delay, err := time.ParseDuration(groups[2])
		must(t, err)
		if delay < want[i] || delay > want[i]+want[i]/10+time.Millisecond {
			t.Errorf("restart %d is in %v, want %v and up to a tenth more", i+1, delay, want[i])
		}
		all = append(all, delay)
	}
	return all
}

// Somebody who asks for a restart need not wait, and the delay is the first again
// after that. Of eleven delays some differ: that is the jitter.
func TestRestartDelaySkipped(t *testing.T) {
	t.Parallel()
	const delay = 20 * time.Second
	r := startRestarted(t, how{}, "-restart", "on-failure", "-restart-delay", delay.String(), "-restart-signal", "USR1")
	for range 11 {
		r.fails(t, "exit 1")
		r.signal(syscall.SIGUSR1)
		r.begins(t)
	}
	all := r.expectDelays(t, slices.Repeat([]time.Duration{delay}, 11)...)
	if slices.Min(all) == slices.Max(all) {
		t.Errorf("eleven delays are %v each: no jitter", all[0])
	}
	r.tell(t, "exit 0")
	r.expectCode(t, 0)
}

// Without more: 1 s.
func TestRestartDelayDefault(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, how{}, "-restart", "always")
	r.fails(t, "exit 1")
	r.begins(t)
	r.fails(t, "exit 1")
	r.expectDelays(t, time.Second, 2*time.Second)
	r.leaves(t)
}

func TestRestartLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		order  string
		code   int
		signal syscall.Signal
	}{
		{"exit 0", 0, 0},
		{"exit 9", 9, 0},
		{"kill -KILL $$", 0, syscall.SIGKILL},
	} {
		t.Run(test.order, func(t *testing.T) {
			t.Parallel()
			r := startRestarted(t, how{}, "-log-level", "warn", "-restart", "always", "-restart-delay", "0", "-restart-limit", "2/1h", "-restart-signal", "USR1")
			for range 3 { // these do not count
				r.signal(syscall.SIGUSR1)
				r.begins(t)
			}
			for range 2 {
				r.tell(t, "exit 1")
				r.begins(t)
			}
			r.tell(t, test.order)
			if test.signal != 0 {
				r.expectSignal(t, test.signal)
			} else {
				r.expectCode(t, test.code)
			}
			r.expectOneLine(t, `^pidleash: not restarting: 2 restarts within 1h0m0s\n$`)
			expectEmptyDir(t, r.dir)
		})
	}
}

// Only those within the window count.
func TestRestartLimitWindow(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, how{}, "-restart", "on-failure", "-restart-delay", "0", "-restart-limit", "1/1us")
	for range 20 {
		r.tell(t, "exit 1")
		r.begins(t)
	}
	r.tell(t, "exit 0")
	r.expectCode(t, 0)
}

// The restart signal stops PROGRAM by the schedule, and starts it anew, whatever the
// policy and however it ends.
func TestRestartSignal(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{nil, {"-restart", "on-failure"}, {"-restart", "always", "-restart-delay", never}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			t.Parallel()
			file := openDir(t) + "/p.pid"
			options := append([]string{"-pidfile", file, "-stop", "USR2/1h/KILL", "-restart-signal", "HUP"}, options...)
			p := startTeller(t, how{}, 3, options...)
			before := *p
			for range 3 {
				p.signal(syscall.SIGUSR1) // an ordinary signal
				p.got(t, syscall.SIGUSR1)
				p.signal(syscall.SIGHUP)
				p.gotWithCont(t, syscall.SIGUSR2) // by the third signal it exits with 7
				p.ready(t)
				if p.program == before.program || p.parent != before.parent {
					t.Errorf("PROGRAM is %d below %d, before %d below %d", p.program, p.parent, before.program, before.parent)
				}
			}
			p.expectQuiet(t)
			p.signal(syscall.SIGTERM) // and that is the end
			p.got(t, syscall.SIGTERM)
			must(t, syscall.Kill(p.program, syscall.SIGKILL))
			p.expectSignal(t, syscall.SIGKILL)
			expectEmptyDir(t, filepath.Dir(file))
		})
	}
}

// An end of its own is not asked for.
func TestRestartSignalAlone(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, how{}, "-restart-signal", "USR2")
	r.signal(syscall.SIGUSR2)
	r.begins(t)
	r.tell(t, "exit 5")
	r.expectCode(t, 5)
	expectEmptyDir(t, r.dir)
}

// The stop command runs first, and a second restart signal meanwhile changes nothing.
// While it outlives PROGRAM the file names pidleash.
func TestRestartSignalStopCommand(t *testing.T) {
	t.Parallel()
	gate := aFIFO(t)
	c := startCommanded(t, how{}, neverKill, "echo command; kill -KILL $MAINPID; read line <"+gate, "-restart-signal", "HUP")
	for range 2 {
		last := c.program
		c.signal(syscall.SIGHUP)
		c.expect(t, "command")
		await(t, "the file names pidleash", func() bool { return readFile(t, c.file) == strconv.Itoa(c.pid())+"\n" })
		if !gone(last) {
			await(t, "PROGRAM has been waited for", func() bool { return gone(last) })
		}
		c.signal(syscall.SIGHUP)
		openGate(t, gate)
		c.ready(t)
	}
	c.over(t)
}

// When pidleash has stopped PROGRAM, nothing of it is left beside the next run.
func TestRestartSignalSweeps(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mixed", "tree", "process"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := startRestarted(t, how{}, "-restart-signal", "HUP", "-kill-mode", mode)
			r.tell(t, "sleep 1000 & echo $!")
			child := r.number(t)
			killAtEnd(t, child)
			r.signal(syscall.SIGHUP)
			r.begins(t)
			if left := !ended(child); left != (mode == "process") {
				t.Errorf("the descendant is left: %v", left)
			}
		})
	}
}

// In mode tree this is so after an end of its own, too.
func TestRestartSweeps(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mixed", "tree"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := startRestarted(t, how{}, "-restart", "always", "-restart-delay", "0", "-kill-mode", mode)
			r.tell(t, "sleep 1000 & echo $!")
			child := r.number(t)
			killAtEnd(t, child)
			r.tell(t, "exit 1")
			r.begins(t)
			if left := !ended(child); left != (mode == "mixed") {
				t.Errorf("the descendant is left: %v", left)
			}
		})
	}
}

// A watcher looks at a PID file as fast as it can: what it shall never see is that it
// is absent, incomplete or not locked, or that it names anybody but pidleash and
// children of it that have not been waited for.
type watcher struct {
	file  string
	leash int
	quit  chan struct{}
	wg    sync.WaitGroup
	looks int
	named map[int]bool
	bad   []string
}

func watchFile(r *restarted) *watcher {
	w := &watcher{file: r.file, leash: r.pid(), quit: make(chan struct{}), named: map[int]bool{}}
	w.wg.Go(func() {
		for {
			select {
			case <-w.quit:
				return
			default:
				w.look()
			}
		}
	})
	return w
}

var completePID = regexp.MustCompile(`^[0-9]+\n$`)

func (w *watcher) look() {
	w.looks++
	file, err := os.Open(w.file)
	if err != nil {
		w.complain("%v", err)
		return
	}
	defer file.Close()
	var buffer [32]byte
	n, _ := file.Read(buffer[:])
	if text := string(buffer[:n]); !completePID.MatchString(text) {
		w.complain("the file has %q", text)
		return
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(buffer[:n])))
	w.named[pid] = true
	// Who can take the lock would have to let it go again: the inode is not used any
	// more, or nobody has locked it.
	if unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil && w.isThere(file) {
		w.complain("the file with %d is not locked", pid)
	}
	if pid != w.leash && !isChildOf(pid, w.leash) && w.isThere(file) {
		w.complain("the file names %d, which is nobody or somebody else", pid)
	}
}

// isThere reports that the file is still the one at the path.
func (w *watcher) isThere(file *os.File) bool {
	mine, err1 := file.Stat()
	there, err2 := os.Lstat(w.file)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// isChildOf is true for a zombie, too.
func isChildOf(pid, parent int) bool {
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	return len(fields) > 1 && fields[1] == strconv.Itoa(parent)
}

func (w *watcher) complain(format string, args ...any) {
	w.bad = append(w.bad, fmt.Sprintf(format, args...))
}

// stop ends the watcher, which has to have seen pidleash and so many runs.
func (w *watcher) stop(t testing.TB, runs int) {
	t.Helper()
	close(w.quit)
	w.wg.Wait()
	if len(w.bad) > 0 {
		t.Errorf("of %d looks %d have seen what must not be, the first: %s", w.looks, len(w.bad), w.bad[0])
	}
	if len(w.named) <= runs || !w.named[w.leash] {
		t.Errorf("in %d looks the watcher has seen %d processes, and pidleash: %v. That proves little", w.looks, len(w.named), w.named[w.leash])
	}
}

// A reader of the file finds it at every moment of some hundred restarts.
func TestRestartFileIsNeverWrong(t *testing.T) {
	t.Parallel()
	const runs = 300
	next := `read x || exit 9; `
	for _, test := range []struct {
		name, script string
		options      []string
	}{
		{"ends", next + `exit 1`, []string{"-restart", "always", "-restart-delay", "0"}},
		// So that orphans and PROGRAM end in the same moment.
		{"ends with orphans", next + `for i in 1 2 3 4; do (true &); done; exit 1`, []string{"-restart", "always", "-restart-delay", "0"}},
		{"back-off", next + `exit 1`, []string{"-restart", "always", "-restart-delay", never, "-restart-signal", "USR2"}},
		{"swept", next + `true & exit 1`, []string{"-restart", "always", "-restart-delay", "0", "-kill-mode", "tree"}},
		{"asked", next + `kill -USR1 $PPID; exec sleep 1000`, []string{"-restart-signal", "USR1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := leashRestarted(t, how{}, append(test.options, "-log-level", "warn"), "sh", "-c", `echo $$; `+test.script)
			r.number(t)
			w := watchFile(r)
			for range runs {
				r.tell(t, "next")
				if test.name == "back-off" {
					await(t, "the file names pidleash", func() bool { return pidIn(t, r.file) == r.pid() })
					r.signal(syscall.SIGUSR2)
				}
				r.number(t)
			}
			w.stop(t, runs/4)
			r.signal(syscall.SIGTERM)
			r.wait(t)
			r.tellsOfRestarts(t)
			expectEmptyDir(t, r.dir)
		})
	}
}

// Nor while the program is not there.
func TestRestartFileIsNeverWrongWithoutProgram(t *testing.T) {
	t.Parallel()
	const tries = 300
	program := openDir(t) + "/program"
	writeFile(t, program, readFile(t, first(t)), 0o755)
	r := leashRestarted(t, how{}, []string{"-restart", "always", "-restart-delay", "0"}, program, "hold")
	r.begins(t)
	w := watchFile(r)
	must(t, os.Rename(program, program+".away"))
	must(t, syscall.Kill(r.program, syscall.SIGKILL))
	await(t, "it is tried again and again", func() bool { return r.delays(t) > tries })
	must(t, os.Rename(program+".away", program))
	r.begins(t)
	w.stop(t, 2)
	removeFile(t, r.file)
	r.expectSignal(t, syscall.SIGTERM)
	expectEmptyDir(t, r.dir)
}

// endings are the ways to end pidleash from outside.
var endings = []struct {
	name   string
	signal syscall.Signal // 0: the file is removed
}{
	{"removed", 0}, {"TERM", syscall.SIGTERM}, {"INT", syscall.SIGINT}, {"QUIT", syscall.SIGQUIT}, {"HUP", syscall.SIGHUP},
}

// In the back-off all of them end pidleash at once, and nothing else is to be waited for.
func TestRestartEndsInBackOff(t *testing.T) {
	t.Parallel()
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			for _, policy := range []string{"always", "on-failure"} {
				r := startRestarted(t, how{}, "-restart", policy, "-restart-delay", never)
				r.fails(t, "exit 7")
				if end.signal == 0 {
					r.leaves(t)
					r.awaitStderr(t, `p\.pid: removed, not starting again\n$`)
					continue
				}
				r.signal(end.signal)
				r.expectSignal(t, end.signal)
				expectEmptyDir(t, r.dir)
			}
		})
	}
}

func TestRestartEndsInBackOffOfPID1(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			r := leashRestarted(t, asPID1(), []string{"-restart", "always", "-restart-delay", never}, "sh", "-c", "exit 7")
			r.awaitStderr(t, "restarting in 1h")
			if text := readFile(t, r.file); text != "1\n" {
				t.Errorf("the PID file has %q, want 1", text)
			}
			if end.signal == 0 {
				r.leaves(t)
				return
			}
			r.signal(end.signal)
			r.expectCode(t, 128+int(end.signal))
			expectEmptyDir(t, r.dir)
		})
	}
}

func TestRestartRemovedExit(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, how{}, "-restart", "always", "-restart-delay", never, "-removed-exit", "5")
	r.fails(t, "exit 7")
	removeFile(t, r.file)
	r.expectCode(t, 5)
	expectEmptyDir(t, r.dir)
}

// Of a removal PROGRAM is stopped, and never started again, whatever it makes of that.
func TestRemovalNeverRestarts(t *testing.T) {
	t.Parallel()
	for _, trap := range []string{"", "trap 'exit 3' TERM"} {
		r := startRestarted(t, how{}, "-restart", "always", "-restart-delay", "0")
		r.tell(t, "exit 1")
		r.begins(t)
		r.tell(t, trap+"; echo 0")
		r.number(t)
		removeFile(t, r.file)
		if trap == "" {
			r.expectSignal(t, syscall.SIGTERM)
		} else {
			r.tell(t, "") // a trap may wait for the end of read
			r.expectCode(t, 3)
		}
		expectEmptyDir(t, r.dir)
	}
}

// TERM, INT and QUIT are for PROGRAM, and there is no further run, whatever PROGRAM
// makes of them. HUP may be no more than a reload.
func TestRestartEndsInRun(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			p := startTeller(t, how{}, 2, "-restart", "always", "-restart-delay", "0")
			must(t, syscall.Kill(p.program, syscall.SIGKILL))
			p.ready(t)
			p.signal(sig)
			p.got(t, sig)
			p.signal(syscall.SIGUSR1)
			p.got(t, syscall.SIGUSR1)
			p.expectCode(t, 7)
		})
	}
	t.Run("hangup", func(t *testing.T) {
		t.Parallel()
		r := startRestarted(t, how{}, "-restart", "always", "-restart-delay", "0")
		r.signal(syscall.SIGHUP)
		r.begins(t)
	})
}

// stoppedForRestart has a PROGRAM that takes its time to end, and pidleash waits for
// that.
func stoppedForRestart(t *testing.T, options ...string) (*teller, string) {
	t.Helper()
	file := openDir(t) + "/p.pid"
	options = append([]string{"-pidfile", file, "-settle", "0", "-stop", neverKill, "-restart", "always", "-restart-delay", "0", "-restart-signal", "USR2"}, options...)
	p := startTeller(t, how{}, forEver, options...)
	p.signal(syscall.SIGUSR2)
	p.gotWithCont(t, syscall.SIGTERM)
	return p, file
}

// Who changes his mind while PROGRAM is being stopped for a restart is obeyed.
func TestRestartEndsInStop(t *testing.T) {
	t.Parallel()
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			p, file := stoppedForRestart(t)
			if end.signal == 0 {
				removeFile(t, file)
				p.awaitStderr(t, "removed, stopping PID ")
			} else {
				p.signal(end.signal)
				p.got(t, end.signal)
			}
			must(t, syscall.Kill(p.program, syscall.SIGKILL))
			if end.signal == syscall.SIGHUP { // which is PROGRAM's
				p.ready(t)
				return
			}
			p.expectSignal(t, syscall.SIGKILL)
			if text := p.rest(t); text != "" {
				t.Errorf("PROGRAM wrote %q", text)
			}
			expectEmptyDir(t, filepath.Dir(file))
		})
	}
}

// Nothing but the restart follows when nobody does: the control of the above.
func TestRestartAfterStop(t *testing.T) {
	t.Parallel()
	p, _ := stoppedForRestart(t)
	p.signal(syscall.SIGUSR2)
	must(t, syscall.Kill(p.program, syscall.SIGKILL))
	p.ready(t)
}

// While the stop command runs, too.
func TestRestartEndsInStopCommand(t *testing.T) {
	t.Parallel()
	for _, end := range endings[:2] {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			gate := aFIFO(t)
			c := startCommanded(t, how{}, neverKill, "echo command; read line <"+gate, "-restart", "always", "-restart-delay", "0", "-restart-signal", "USR2")
			c.signal(syscall.SIGUSR2)
			c.expect(t, "command")
			if end.signal == 0 {
				removeFile(t, c.file)
				c.awaitStderr(t, "removed, stopping PID ")
			} else {
				c.signal(end.signal)
				c.got(t, end.signal)
			}
			openGate(t, gate)
			c.gotWithCont(t, syscall.SIGTERM)
			c.over(t)
		})
	}
}

// Other signals have nobody to go to in the back-off. They are not kept for the next
// run, and do not end pidleash.
func TestRestartDropsSignals(t *testing.T) {
	t.Parallel()
	p := startTeller(t, how{}, forEver, "-log-level", "info", "-restart", "always", "-restart-delay", never, "-restart-signal", "64")
	must(t, syscall.Kill(p.program, syscall.SIGKILL))
	p.awaitStderr(t, "restarting in 1h")
	p.awaitIdle(t)
	for _, sig := range forwardedSignals() {
		switch sig {
		case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, 64:
		default:
			p.signal(sig)
		}
	}
	p.awaitIdle(t)
	p.signal(64)
	p.ready(t)
	p.roundTrips(t)
	p.finishForGood(t)
}

// awaitIdle returns when pidleash has dealt with all that was sent to it: nothing is
// pending, and every thread sleeps.
func (r *run) awaitIdle(t testing.TB) {
	t.Helper()
	await(t, "pidleash is idle", func() bool {
		tasks, err := filepath.Glob(procFile(r.pid(), "task/*/status"))
		must(t, err)
		for _, task := range tasks {
			text := readFile(t, task)
			if !strings.Contains(text, "State:\tS") || !strings.Contains(text, "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n") {
				return false
			}
		}
		return true
	})
}

// finishForGood ends a PROGRAM that would be started again.
func (p *teller) finishForGood(t testing.TB) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	p.got(t, syscall.SIGTERM)
	p.finish(t)
}

// -rewrite has its say: who drops TERM drops it in the back-off.
func TestRestartRewriteInBackOff(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, how{}, "-restart", "always", "-restart-delay", never, "-rewrite", "TERM:none", "-restart-signal", "64")
	r.fails(t, "exit 1")
	r.signal(syscall.SIGTERM)
	r.awaitIdle(t)
	r.signal(64)
	r.begins(t)
	r.fails(t, "exit 1")
	r.leaves(t)
}

// The path is taken in the back-off, too.
func TestRestartRefusesSecondStart(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, how{}, "-restart", "always", "-restart-delay", never)
	r.fails(t, "exit 1")
	second := start(t, how{}, "-pidfile", r.file, "echo", "PROGRAM runs")
	second.expectCode(t, 120)
	second.expectOneLine(t, fmt.Sprintf(`p\.pid: already running as PID %d .*; hint: `, r.pid()))
	if text := second.rest(t); text != "" {
		t.Errorf("the second start wrote %q", text)
	}
	r.names(t, r.pid())
	r.leaves(t)
}

// What has come to the path in the back-off is somebody else's, and stays.
func TestRestartReplacedInBackOff(t *testing.T) {
	t.Parallel()
	for _, delay := range []string{never, "500ms"} {
		r := startRestarted(t, how{}, "-restart", "always", "-restart-delay", delay)
		r.fails(t, "exit 1")
		other := r.dir + "/other"
		must(t, os.WriteFile(other, []byte(noSuchPID), 0o644))
		must(t, os.Rename(other, r.file))
		r.expectCode(t, 0)
		r.awaitStderr(t, `p\.pid: replaced, not starting again\n$`)
		if text := readFile(t, r.file); text != noSuchPID {
			t.Errorf("the other file has %q, want %q", text, noSuchPID)
		}
		expectFiles(t, r.dir, "p.pid")
		if text := r.rest(t); text != "" {
			t.Errorf("PROGRAM wrote %q", text)
		}
	}
}

// Who asks for a restart before the removal counts gets none that stays, and nobody's
// file is touched. (A busy machine may have it count before.)
func TestRestartBeforeSettled(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"removed", "replaced"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := startRestarted(t, how{}, "-settle", "1s", "-restart", "always", "-restart-delay", never, "-restart-signal", "USR1")
			r.fails(t, "exit 1")
			if what == "removed" {
				removeFile(t, r.file)
				r.signal(syscall.SIGUSR1)
				r.expectCode(t, 0)
				expectEmptyDir(t, r.dir)
				return
			}
			other := r.dir + "/other"
			must(t, os.WriteFile(other, []byte(noSuchPID), 0o644))
			before, err := os.Stat(other)
			must(t, err)
			must(t, os.Rename(other, r.file))
			r.signal(syscall.SIGUSR1)
			r.wait(t)
			r.awaitStderr(t, "p\\.pid: replaced")
			after, err := os.Stat(r.file)
			must(t, err)
			if !os.SameFile(before, after) {
				t.Error("the other file has gone")
			}
			expectFiles(t, r.dir, "p.pid")
		})
	}
}

// A PROGRAM that writes the file itself, and removes it at its end, is restarted:
// that removal is not meant.
func TestRestartOfWriters(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]string{
		"in place":     `echo $$ >"$0"`,
		"renamed over": `echo $$ >"$0.new"; mv "$0.new" "$0"`,
		"made anew":    `rm "$0"; echo $$ >"$0"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := openDir(t) + "/p.pid"
			script := write + `; echo $$; while read -r order; do eval "$order"; done`
			r := &restarted{dir: filepath.Dir(file), file: file}
			r.run = start(t, how{}, "-pidfile", file, "-settle", "3s", "-log-level", "info", "-restart", "always", "-restart-delay", "200ms", "--", "sh", "-c", script, file)
			for range 3 {
				r.program, r.before = r.number(t), r.delays(t)
				await(t, "pidleash has locked the file", func() bool { return isLockedBy(t, file, r.pid()) })
				awaitWatched(t, r.run, file)
				r.fails(t, `rm "$0"; exit 1`)
			}
			r.number(t)
			// The control: without the end this is a removal.
			removeFile(t, file)
			r.expectSignal(t, syscall.SIGTERM)
			expectEmptyDir(t, r.dir)
		})
	}
}

// nginx with "daemon off" is such a PROGRAM.
func TestRestartOfNginx(t *testing.T) {
	t.Parallel()
	needRoot(t)
	nginx := nginxDaemon.path()
	if _, err := os.Stat(nginx); err != nil {
		missing(t, "%v", err)
	}
	dir := openDir(t)
	argv := nginxDaemon.argv(t, dir)
	config := strings.Replace(readFile(t, dir+"/nginx.conf"), "pid own.pid;", "pid p.pid;", 1)
	writeDaemonFile(t, dir, "nginx.conf", config)
	r := &restarted{dir: dir, file: dir + "/p.pid"}
	r.run = start(t, how{}, append([]string{"-pidfile", r.file, "-log-level", "info", "-restart", "always", "-restart-delay", "50ms", "--", nginx}, argv...)...)
	for range 3 {
		await(t, "nginx answers", func() bool { return answersAt(dir+"/sock", nginxDaemon.ask, nginxDaemon.answer) })
		program := pidIn(t, r.file)
		must(t, syscall.Kill(program, syscall.SIGQUIT)) // by which it removes its file
		await(t, "nginx is restarted", func() bool {
			text, err := os.ReadFile(r.file)
			pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
			return err == nil && pid != program && pid != r.pid() && !dead(pid)
		})
	}
	await(t, "nginx answers", func() bool { return answersAt(dir+"/sock", nginxDaemon.ask, nginxDaemon.answer) })
	removeFile(t, r.file)
	r.wait(t)
	r.awaitStderr(t, `p\.pid: removed, stopping PID `)
}

// A program that is not there at a restart may come back: it is an update, say.
func TestRestartOfMissingProgram(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	program := dir + "/program"
	writeFile(t, program, readFile(t, first(t)), 0o755)
	r := leashRestarted(t, how{}, []string{"-restart", "on-failure", "-restart-delay", "10ms"}, program, "hold")
	r.begins(t)
	must(t, os.Rename(program, program+".away"))
	must(t, syscall.Kill(r.program, syscall.SIGKILL))
	for tries := range 3 {
		await(t, "it is tried again", func() bool { return r.delays(t) > tries+1 })
	}
	r.awaitStderr(t, `(?m)^pidleash: `+program+`: not found, restarting in `)
	// Not of a try's.
	await(t, "the file names pidleash", func() bool { return readFile(t, r.file) == strconv.Itoa(r.pid())+"\n" })
	must(t, os.Rename(program+".away", program))
	r.begins(t)
	r.stdin.Close()
	r.expectCode(t, 0)
	expectEmptyDir(t, r.dir)
}

// In the back-off after a start that has failed all is as in others.
func TestRestartBackOffOfMissingProgram(t *testing.T) {
	t.Parallel()
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			program := dir + "/program"
			writeFile(t, program, readFile(t, first(t)), 0o755)
			options := []string{"-restart", "on-failure", "-restart-delay", never, "-restart-signal", "USR1"}
			r := leashRestarted(t, how{}, options, program, "hold")
			r.begins(t)
			must(t, os.Remove(program))
			must(t, syscall.Kill(r.program, syscall.SIGKILL))
			r.backsOff(t)
			r.before = r.delays(t)
			r.signal(syscall.SIGUSR1)
			r.backsOff(t)
			if end.signal == 0 {
				r.leaves(t)
				return
			}
			r.signal(end.signal)
			r.expectSignal(t, end.signal)
			expectEmptyDir(t, r.dir)
		})
	}
}

// Without a policy nobody tries again, and at the limit that is the last status.
func TestRestartFails(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{
		"no policy": {"-restart-signal", "USR1"},
		"limit":     {"-restart", "on-failure", "-restart-delay", "0", "-restart-limit", "3/1h", "-restart-signal", "USR1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			program := dir + "/program"
			writeFile(t, program, readFile(t, first(t)), 0o755)
			r := leashRestarted(t, how{}, append(options, "-log-level", "warn"), program, "hold")
			r.begins(t)
			must(t, os.Remove(program))
			r.signal(syscall.SIGUSR1)
			r.expectCode(t, 127)
			r.awaitStderr(t, `(?m)^pidleash: `+program+`: not found$`)
			if said := strings.Contains(r.stderr(), "not restarting: 3 restarts within 1h0m0s\n"); said != (name == "limit") {
				t.Errorf("standard error has %q", r.stderr())
			}
			expectEmptyDir(t, r.dir)
		})
	}
}

// usage is what a process uses, as the kernel counts it.
type usage struct{ fds, threads, children, memory int }

func usageOf(t testing.TB, pid int) (u usage) {
	t.Helper()
	fds, err := os.ReadDir(procFile(pid, "fd"))
	must(t, err)
	u.fds, u.children = len(fds), len(childPIDs(pid))
	for line := range strings.Lines(readFile(t, procFile(pid, "status"))) {
		fmt.Sscanf(line, "Threads: %d", &u.threads)
		fmt.Sscanf(line, "RssAnon: %d kB", &u.memory)
	}
	return u
}

// expectNoMore compares two moments of a pidleash that is at work: some descriptors
// come and go.
func (u usage) expectNoMore(t testing.TB, later usage, memory int) {
	t.Helper()
	t.Logf("before %+v, later %+v", u, later)
	if later.fds > u.fds+8 || later.threads > u.threads+4 || later.children > 2 || later.memory > u.memory+memory {
		t.Errorf("pidleash uses %+v, and later %+v", u, later)
	}
}

// Ten thousand restarts leave nothing behind. That each of them has been one is what
// the limit says.
func TestRestartLeaksNothing(t *testing.T) {
	const restarts = 10000
	program, err := exec.LookPath("true")
	must(t, err)
	r := leashRestarted(t, how{}, []string{"-restart", "always", "-restart-delay", "0s", "-restart-limit", fmt.Sprintf("%d/1h", restarts)}, program)
	line := int64(len("pidleash: " + program + " ended with code 0, restarting in 0s\n"))
	told := func(n int64) func() bool {
		return func() bool {
			st, err := os.Stat(r.log)
			return err == nil && st.Size() >= n*line
		}
	}
	await(t, "1,000 restarts", told(1000))
	before := usageOf(t, r.pid())
	for n := int64(2000); n <= 9000; n += 1000 {
		await(t, fmt.Sprintf("%d restarts", n), told(n))
	}
	before.expectNoMore(t, usageOf(t, r.pid()), 8<<10)
	r.expectCode(t, 0)
	r.awaitStderr(t, fmt.Sprintf(`\npidleash: not restarting: %d restarts within 1h0m0s\n$`, restarts))
	expectEmptyDir(t, r.dir)
}

// Nor do those with all that a start can have, as descriptors and waiting goroutines.
// In the back-off pidleash is idle: nobody waits for anything of the runs before.
func TestRestartLeaksNothingOfAStart(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{
		"descriptor":      {"-ready", "fd:7"},
		"held descriptor": {"-ready", "fd:7", "-kill-mode", "process"},
		"log":             {"-ready", "log:^never$", "-stdout", "DIR/out", "-stderr", "DIR/err", "-ready-file", "DIR/log"},
		"notify":          {"-ready", "notify"},
		"time":            {"-ready", "1h"},
		"tree":            {"-kill-mode", "tree"},
		"supervisor":      {"-supervisor-pidfile", "DIR/super"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := openDir(t)
			words := []string{"-log-level", "warn", "-restart", "on-failure", "-restart-delay", never, "-restart-signal", "USR1"}
			for _, word := range options {
				words = append(words, strings.Replace(word, "DIR", other, 1))
			}
			script := "exit 1"
			if name == "held descriptor" { // by whom it is not to be waited for
				script = `sleep 1000 & echo $!; exit 1`
			}
			m := newManager(t)
			go drainManager(m)
			r := leashRestarted(t, m.how(), words, "sh", "-c", script)
			restart := func(times int) usage {
				for range times {
					if name == "held descriptor" {
						killAtEnd(t, r.number(t))
					}
					r.awaitBackOff(t, name == "held descriptor")
					r.signal(syscall.SIGUSR1)
				}
				r.awaitBackOff(t, name == "held descriptor")
				return usageOf(t, r.pid())
			}
			before := restart(20)
			later := restart(130)
			if later.children = 0; name != "held descriptor" {
				before.children = 0
			}
			before.expectNoMore(t, later, 8<<10)
			await(t, "pidleash is quiet", func() bool {
				used := switches(t, r.pid())
				time.Sleep(200 * time.Millisecond) // the time in which it must do next to nothing
				return switches(t, r.pid())-used < 20
			})
		})
	}
}

// awaitBackOff returns when the file names pidleash and PROGRAM has been waited for.
func (r *restarted) awaitBackOff(t testing.TB, orphans bool) {
	t.Helper()
	await(t, "pidleash backs off", func() bool {
		text, err := os.ReadFile(r.file)
		return err == nil && string(text) == strconv.Itoa(r.pid())+"\n" && (orphans || len(childPIDs(r.pid())) == 0)
	})
}

// drainManager reads what comes until the socket is closed.
func drainManager(m *manager) {
	for buffer := make([]byte, 4096); ; {
		if _, err := m.conn.Read(buffer); err != nil {
			return
		}
	}
}

// The service manager's status tells a person what happens, and a later run's words
// are passed on like the first one's.
func TestRestartTellsManager(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	r, pid := startLed(t, m.how(), "-restart", "on-failure", "-restart-delay", "1ms", "-restart-signal", "HUP")
	name := notifyProgram(t)
	r.obey(t, "send READY=1", "done")
	m.expect("READY=1")
	for i, end := range []struct{ order, told string }{{"exit 3", "ended with code 3"}, {"kill 9", "ended by SIGKILL"}} {
		r.tell(t, end.order)
		m.expectMatch(`^STATUS=` + name + ` ` + end.told + `, restarting in [0-9]+ms$`)
		if next := r.number(t); next == pid {
			t.Errorf("PROGRAM has PID %d twice", pid)
		} else {
			pid = next
		}
		m.expect(fmt.Sprintf("STATUS=Restarted as PID %d, %d times so far", pid, i+1))
		r.obey(t, "send READY=1\\nSTATUS=up again", "done")
		m.expect("READY=1\nSTATUS=up again")
	}
	r.signal(syscall.SIGHUP)
	m.expect(`STATUS=` + name + ` ended by SIGTERM, restarting in 0s`)
	m.expect(fmt.Sprintf("STATUS=Restarted as PID %d, 3 times so far", r.number(t)))
	r.tell(t, "exit 0")
	r.expectCode(t, 0)
	r.tellsOfRestarts(t)
}

// restartLine is the warning of a failure and the delay after it.
var restartLine = regexp.MustCompile(`(?m)^(<4>)?pidleash: .* ended (with code [0-9]+|by SIG[A-Z]+), restarting in .*\n`)

// tellsOfRestarts fails the test if pidleash has had something else to tell.
func (r *run) tellsOfRestarts(t testing.TB) {
	t.Helper()
	if text := restartLine.ReplaceAllString(r.stderr(), ""); text != "" {
		t.Errorf("standard error has %q, want nothing but restarts", text)
	}
}

// expectMatch fails the test unless the next message matches.
func (m *manager) expectMatch(pattern string) {
	m.t.Helper()
	if text, _ := m.read(); !regexp.MustCompile(pattern).MatchString(text) {
		m.t.Fatalf("the service manager gets %.200q, want a match of %q", text, pattern)
	}
}

// What ends pidleash in the back-off is told, too.
func TestRestartTellsManagerOfRemoval(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	r := startRestarted(t, m.how(), "-restart", "always", "-restart-delay", never)
	r.fails(t, "exit 1")
	m.expectMatch(`^STATUS=sh ended with code 1, restarting in 1h`)
	r.leaves(t)
	for _, what := range []string{"Stopping", "Stopped"} {
		m.expect("STATUS=" + what + ": PID file " + r.file + " removed")
	}
}

// Each run has to come up by itself, in its own time.
func TestRestartReady(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ ready, meets string }{
		"descriptor": {"fd:7", `echo >&7`},
		// Twice, as after a reload: the second one is not the next run's.
		"notify": {"notify", `"$NOTIFY" say READY=1; "$NOTIFY" say READY=1`},
		"log":    {"log", `echo up`},
	} {
		for _, policy := range []string{"on-failure", "always"} {
			t.Run(name+" "+policy, func(t *testing.T) {
				t.Parallel()
				restartUnready(t, c.ready, c.meets, policy)
			})
		}
	}
}

// restartUnready has the first run come up, and the second not. That one is stopped,
// and counts as a failure, though it ends with 0.
func restartUnready(t *testing.T, ready, meets, policy string) {
	other := openDir(t)
	m := newManager(t)
	h := how{env: []string{"NOTIFY=" + notifyProgram(t), "NOTIFY_SOCKET=" + m.address}}
	options := []string{"-ready", ready, "-start-timeout", "2s", "-restart", policy, "-restart-delay", "10ms", "-restart-limit", "2/1h"}
	if ready == "log" {
		options = append(options, "-stdout", other+"/log")
	}
	script := `echo run >>"$0/runs"; trap 'exit 0' TERM
		case $(wc -l <"$0/runs") in
		1|3) ` + meets + `; read x; kill -KILL $$;;
		*) while :; do sleep 0.01; done;;
		esac`
	r := leashRestarted(t, h, options, "sh", "-c", script, other)
	m.expectUp()
	r.tell(t, "end")
	r.awaitStderr(t, `(?m)^pidleash: sh is not up after 2s, restarting in `)
	m.expectUp()
	r.tell(t, "end")
	r.awaitStderr(t, `(?m)^pidleash: not restarting: 2 restarts within 1h0m0s$`)
	r.expectSignal(t, syscall.SIGKILL)
	expectEmptyDir(t, r.dir)
}

// expectUp returns when the service manager has been told that the program is up.
func (m *manager) expectUp() {
	m.t.Helper()
	for text := ""; text != "READY=1"; {
		text, _ = m.read()
	}
}

// The thread that has forked a later run lives on.
func TestRestartDeathSignal(t *testing.T) {
	t.Parallel()
	r := startRestarted(t, how{}, "-restart", "always", "-restart-delay", "0")
	for range 3 {
		r.tell(t, "exit 1")
		r.begins(t)
	}
	r.signal(syscall.SIGKILL)
	r.expectSignal(t, syscall.SIGKILL)
	await(t, "PROGRAM has ended", func() bool { return dead(r.program) })
}

// startOnTerminal has a PROGRAM on a terminal that is restarted.
func startOnTerminal(t *testing.T, program ...string) *shell {
	t.Helper()
	s := newShell(t, pidleash+" -pidfile DIR/p.pid -log-level info -restart always -restart-delay 1s -restart-signal USR1 -stop INT/10s/KILL")
	s.types("$W " + strings.Join(program, " ") + "\n")
	return s
}

// ^C ends PROGRAM, and with it pidleash.
func TestRestartInterrupted(t *testing.T) {
	t.Parallel()
	for _, key := range []string{ctrlC, ctrlBackslash} {
		s := startOnTerminal(t, `sh -c 'echo "# $$ $PPID 0"; read x; exit 1'`)
		s.place()
		s.types("end\n")
		s.expect("ended with code 1, restarting in ")
		must(t, syscall.Kill(s.place().parent, syscall.SIGUSR1))
		s.expect("ended by SIGINT, restarting in ") // by pidleash's, not by the terminal's
		s.place()
		s.types(key)
		s.expect(shellPrompt)
		s.says("echo $?", "1[0-9]+\n")
		s.reads()
		expectEmptyDir(t, s.dir)
	}
}

// In the back-off the terminal is pidleash's own.
func TestRestartInterruptedInBackOff(t *testing.T) {
	t.Parallel()
	s := newShell(t, pidleash+" -pidfile DIR/p.pid -log-level info -restart always -restart-delay "+never)
	s.types("$W false\n")
	s.expect("restarting in ")
	s.types(ctrlC)
	s.expect(shellPrompt)
	s.says("echo $?", "130\n")
	s.reads()
	expectEmptyDir(t, s.dir)
}

// A later run is the shell's job as the first one is.
func TestRestartJobControl(t *testing.T) {
	t.Parallel()
	s := startOnTerminal(t, "$T talk")
	p := s.place()
	s.expect("foreground\n")
	for range 2 {
		must(t, syscall.Kill(p.parent, syscall.SIGUSR1)) // pidleash
		must(t, syscall.Kill(p.pid, syscall.SIGKILL))    // it survives INT
		p = s.place()
		s.expect("foreground\n")
		s.stops(p)
		s.types("fg\n")
		s.expect("T talk\n")
		s.types("hello\n")
		s.expect("read hello\n")
	}
	s.types("end 5\n")
	s.expect("ended with code 5, restarting in ")
	s.place()
	s.expect("foreground\n")
	s.types(ctrlC)
	s.expect("got INT\n")
	must(t, os.Remove(s.dir+"/p.pid"))
	s.cleanUp(p)
	s.expect("got INT\n")
	s.types("end 6\n")
	s.expect(shellPrompt)
	s.says("echo $?", "6\n")
	expectEmptyDir(t, s.dir)
}

func TestRestartUsageErrors(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	for _, test := range []struct {
		options string
		line    string
	}{
		{"-restart maybe", `option -restart "maybe": no such policy; hint: no, on-failure or always`},
		{"-restart on-success", `option -restart "on-success": no such policy`},
		{"-restart always -restart-delay 5", `option -restart-delay "5": no duration; hint: a number with its unit`},
		{"-restart always -restart-delay -1s", `option -restart-delay "-1s": no duration`},
		{"-restart always -restart-limit 5", `option -restart-limit "5": no N/WINDOW; hint: a number of restarts and a time, such as 5/1m`},
		{"-restart always -restart-limit 0/1m", `"0" is no number above 0`},
		{"-restart always -restart-limit -1/1m", `"-1" is no number above 0`},
		{"-restart always -restart-limit x/1m", `"x" is no number above 0`},
		{"-restart always -restart-limit 5/0s", `"0s" is no duration above 0`},
		{"-restart always -restart-limit 5/10", `"10" is no duration above 0`},
		{"-restart-signal NOPE", `option -restart-signal "NOPE": `},
		{"-restart-signal KILL", "SIGKILL does not reach pidleash"},
		{"-restart-signal CHLD", "SIGCHLD does not reach pidleash"},
		{"-restart-signal TERM", "SIGTERM ends the program for good"},
		{"-restart-signal INT", "SIGINT ends the program for good"},
		{"-restart-signal QUIT", "SIGQUIT ends the program for good"},
		{"-restart-delay 1s", "option -restart-delay is about restarts, and there are none; hint: -restart on-failure"},
		{"-restart-limit 5/1m", "option -restart-limit is about restarts, and there are none"},
		{"-restart no -restart-limit 5/1m", "option -restart-limit is about restarts, and there are none"},
		{"-restart always -sidecar", "-restart and -sidecar: "},
		{"-restart on-failure -forking", "-restart and -forking: "},
		{"-restart-signal HUP -sidecar", "-restart-signal and -sidecar: "},
		{"-restart-signal HUP -forking", "-restart-signal and -forking: "},
		{"-restart-signal HUP -rewrite HUP:USR1", "-rewrite and -restart-signal are about the same signal"},
		{"-restart-signal HUP -rewrite HUP:none", "-rewrite and -restart-signal are about the same signal"},
	} {
		expectUsageError(t, nil, append([]string{"-pidfile", file}, strings.Fields(test.options)...), test.line)
	}
	expectUsageError(t, []string{"PIDLEASH_RESTART=sometimes"}, nil, `variable PIDLEASH_RESTART "sometimes": no such policy`)
	expectUsageError(t, []string{"PIDLEASH_RESTART_SIGNAL=TERM"}, nil, `variable PIDLEASH_RESTART_SIGNAL "TERM": `)
	expectEmptyDir(t, filepath.Dir(file))
}

// Each by its variable, of which PROGRAM has none. The command line replaces them.
func TestRestartByEnvironment(t *testing.T) {
	t.Parallel()
	h := how{env: []string{
		"PIDLEASH_RESTART=always", "PIDLEASH_RESTART_DELAY=1ms", "PIDLEASH_RESTART_LIMIT=2/1h", "PIDLEASH_RESTART_SIGNAL=USR2",
	}}
	r := startRestarted(t, h)
	for _, order := range []string{"exit 1", "kill -USR2 $PPID"} {
		r.tell(t, order)
		r.begins(t)
	}
	r.tell(t, "env | grep -c PIDLEASH_ || :")
	r.expect(t, "0")
	r.tell(t, "exit 0")
	r.begins(t)
	r.tell(t, "exit 4")
	r.expectCode(t, 4)
	r.awaitStderr(t, `not restarting: 2 restarts within 1h0m0s\n$`)

	r = startRestarted(t, h, "-restart", "no")
	r.tell(t, "exit 4")
	r.expectCode(t, 4)
	r.expectQuiet(t)
}

// Without a PID file there is nothing but the restart.
func TestRestartWithoutFile(t *testing.T) {
	t.Parallel()
	r := start(t, how{}, "-log-level", "info", "-restart", "always", "-restart-delay", "1ms", "--", "sh", "-c", ledScript)
	first := r.number(t)
	r.tell(t, "exit 1")
	if second := r.number(t); second == first {
		t.Errorf("PROGRAM has PID %d twice", first)
	}
	r.signal(syscall.SIGTERM)
	r.expectSignal(t, syscall.SIGTERM)
}

// A -supervisor-pidfile names pidleash all the time.
func TestRestartSupervisor(t *testing.T) {
	t.Parallel()
	super := openDir(t) + "/super.pid"
	r := startRestarted(t, how{}, "-supervisor-pidfile", super, "-restart", "always", "-restart-delay", never, "-restart-signal", "USR1")
	before, err := os.Stat(super)
	must(t, err)
	r.fails(t, "exit 1")
	r.signal(syscall.SIGUSR1)
	r.begins(t)
	after, err := os.Stat(super)
	must(t, err)
	if text := readFile(t, super); !os.SameFile(before, after) || text != strconv.Itoa(r.pid())+"\n" {
		t.Errorf("the supervisor's file has %q, and is the same: %v", text, os.SameFile(before, after))
	}
	r.fails(t, "exit 1")
	r.leaves(t)
	if _, err := os.Lstat(super); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the supervisor's file is left: %v", err)
	}
}

// Where pidleash was started the program stands, in the background as well, also if it
// may not enter that directory itself.
func TestRestartFromPrivateDirectory(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir, private := openDir(t), openDir(t)
	must(t, os.Chmod(private, 0o700))
	file := dir + "/p.pid"
	cmd := exec.Command(pidleash, "-pidfile", file, "-daemon", "-restart", "always", "-user", "nobody", "sleep", "1000")
	cmd.Dir = private
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pid := strings.TrimSpace(readFile(t, file))
	if at, err := os.Readlink("/proc/" + pid + "/cwd"); at != private {
		t.Errorf("the program stands in %q, want %q: %v", at, private, err)
	}
	removeFile(t, file)
	await(t, "the program ends", func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
}

// Where there is no room for another file pidleash stands in all the same.
func TestRestartWithoutRoom(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		missing(t, "unshare -m: %v: %s", err, out)
	}
	const script = `
mount -t tmpfs -o nr_inodes=4 none "$1"
"$0" -pidfile "$1/p.pid" -restart always -restart-delay 1h sh -c 'sleep 0.3' &
sleep 0.1; touch "$1/1" "$1/2" "$1/3" 2>/dev/null || :
sleep 0.6; test "$(cat "$1/p.pid")" = $!
rm "$1/p.pid"; wait $!`
	if out, err := exec.Command("unshare", "-m", "sh", "-ec", script, pidleash, openDir(t)).CombinedOutput(); err != nil || !strings.Contains(string(out), "not starting again") {
		t.Fatalf("%v: %s", err, out)
	}
}

// A failure that is followed by a delay is told without being asked; an end that is no
// failure is not.
func TestRestartWarns(t *testing.T) {
	t.Parallel()
	options := []string{"-restart", "always", "-restart-delay", "1ms", "-restart-limit", "1/1h", "sh", "-c"}
	const limit = "pidleash: not restarting: 1 restarts within 1h0m0s\n"
	r := start(t, how{}, append(options, "exit 3")...)
	r.expectCode(t, 3)
	if text := r.stderr(); !restartLine.MatchString(text) || restartLine.ReplaceAllString(text, "") != limit {
		t.Errorf("standard error has %q, want the failure, and %q", text, limit)
	}
	r = start(t, how{}, append(options, "exit 0")...)
	r.expectCode(t, 0)
	if text := r.stderr(); text != limit {
		t.Errorf("standard error has %q, want %q", text, limit)
	}
}
