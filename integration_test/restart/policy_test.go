package restart

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// ledScript is a PROGRAM that tells its PID and does what it reads, one line of
// shell after the other. The shell reads no more than a line, so that the next run
// finds the next one.
const ledScript = `echo $$; while read -r order; do eval "$order"; done`

// A restarted is a pidleash that may start its PROGRAM more than once.
type restarted struct {
	*bed.Run
	dir, file string
	program   int // the PID of the last run
	// before is how many restarts pidleash had told of when that began.
	before int
}

// leashRestarted runs pidleash with options before a PROGRAM, and tells of restarts.
func leashRestarted(t testing.TB, h bed.How, options []string, program ...string) *restarted {
	t.Helper()
	r := &restarted{dir: bed.OpenDir(t)}
	r.file = r.dir + "/p.pid"
	args := append([]string{"-pidfile", r.file, "-settle", "10ms", "-log-level", "info"}, options...)
	r.Run = bed.Start(t, h, append(append(args, "--"), program...)...)
	return r
}

// startRestarted has a PROGRAM that does what it is told, and returns when it runs.
func startRestarted(t testing.TB, h bed.How, options ...string) *restarted {
	t.Helper()
	r := leashRestarted(t, h, options, "sh", "-c", ledScript)
	r.begins(t)
	return r
}

// begins returns when the next run has begun. The PID file names that.
func (r *restarted) begins(t testing.TB) {
	t.Helper()
	last := r.program
	if r.program = r.Number(t); r.program == last {
		t.Errorf("PROGRAM has PID %d twice", last)
	}
	r.names(t, r.program)
	r.before = r.delays(t)
}

// names fails the test unless the file names this process, and pidleash has it
// locked.
func (r *restarted) names(t testing.TB, pid int) {
	t.Helper()
	if text := bed.ReadFile(t, r.file); text != strconv.Itoa(pid)+"\n" {
		t.Errorf("the PID file has %q, want %d", text, pid)
	}
	if !bed.IsLockedBy(t, r.file, r.PID()) {
		t.Errorf("the PID file is not locked by pidleash, %d", r.PID())
	}
}

// delayed finds the restarts that pidleash tells of.
var delayed = regexp.MustCompile(`(?m)^pidleash: (.*), restarting in (.*)$`)

func (r *restarted) delays(testing.TB) int { return len(delayed.FindAllString(r.Stderr(), -1)) }

// fails has PROGRAM end in this way, and returns when nobody runs: the file names
// pidleash.
func (r *restarted) fails(t testing.TB, order string) {
	t.Helper()
	r.Tell(t, order)
	r.backsOff(t)
}

func (r *restarted) backsOff(t testing.TB) {
	t.Helper()
	bed.Await(t, "pidleash backs off", func() bool { return r.delays(t) > r.before })
	r.names(t, r.PID())
	if len(bed.ChildPIDs(r.PID())) > 0 {
		t.Errorf("pidleash has children %v in the back-off", bed.ChildPIDs(r.PID()))
	}
}

// leaves ends the back-off by the removal of the file, of which an event tells.
func (r *restarted) leaves(t testing.TB) {
	t.Helper()
	before := time.Now()
	bed.RemoveFile(t, r.file)
	r.ExpectCode(t, 0)
	if took := bed.Since(before); took > bed.ByEvent {
		t.Errorf("pidleash has learned of the removal after %v", took)
	}
	bed.ExpectEmptyDir(t, r.dir)
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
			options := append([]string{"-restart-delay", bed.Never}, end.options...)
			if policy != "" {
				options = append(options, "-restart", policy)
			}
			if policy == "" || policy == "no" {
				options = options[2:] // it would be without effect
			}
			t.Run(fmt.Sprintf("%s %s %s", policy, end.order, end.options), func(t *testing.T) {
				t.Parallel()
				r := startRestarted(t, bed.How{}, options...)
				r.Tell(t, end.order)
				if policy == "always" || policy == "on-failure" && !end.clean {
					r.AwaitStderr(t, `(?m)^pidleash: sh `+end.told+`(, core dumped)?, restarting in 1h`)
					r.backsOff(t)
					r.leaves(t)
					return
				}
				if end.signal != 0 && end.options == nil {
					r.ExpectSignal(t, end.signal)
				} else {
					r.ExpectCode(t, end.code)
				}
				r.ExpectQuiet(t)
				bed.ExpectEmptyDir(t, r.dir)
			})
		}
	}
}

// A restart is a run like the first one.
func TestRestartIsAnotherRun(t *testing.T) {
	t.Parallel()
	h := bed.How{Env: []string{"A=b c", "EMPTY="}, Dir: bed.OpenDir(t), Umask: "027"}
	options := []string{"-restart", "always", "-restart-delay", "0", "-stdout", "/dev/stdout"}
	r := leashRestarted(t, h, options, "sh", "-c", ledScript, "zero", "a b", "", "-x")
	r.begins(t)
	first := r.looks(t)
	for range 3 {
		r.Tell(t, "exit 1")
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
		text.WriteString(bed.ReadFile(t, bed.ProcFile(r.program, name)) + "\n")
	}
	for line := range strings.Lines(bed.ReadFile(t, bed.ProcFile(r.program, "status"))) {
		for _, name := range []string{"Umask:", "PPid:", "SigIgn:", "Uid:", "Gid:"} {
			if strings.HasPrefix(line, name) {
				text.WriteString(line)
			}
		}
	}
	cwd, err := os.Readlink(bed.ProcFile(r.program, "cwd"))
	bed.Must(t, err)
	group, err := unix.Getpgid(r.program)
	bed.Must(t, err)
	numbers, targets := bed.DescriptorsOf(t, r.program)
	fmt.Fprintln(&text, cwd, group == r.program, numbers, targets)
	return text.String()
}

// expectDelays compares what pidleash tells with the delays without jitter.
func (r *restarted) expectDelays(t testing.TB, want ...time.Duration) (all []time.Duration) {
	t.Helper()
	told := delayed.FindAllStringSubmatch(r.Stderr(), -1)
	if len(told) != len(want) {
		t.Fatalf("pidleash tells of %d restarts, want %d\n%s", len(told), len(want), r.Stderr())
	}
	for i, groups := range told {
		delay, err := time.ParseDuration(groups[2])
		bed.Must(t, err)
		if delay < want[i] || delay > want[i]+want[i]/10+time.Millisecond {
			t.Errorf("restart %d is in %v, want %v and up to a tenth more", i+1, delay, want[i])
		}
		all = append(all, delay)
	}
	return all
}

// endings are the ways to end pidleash from outside.
var endings = []struct {
	name   string
	signal syscall.Signal // 0: the file is removed
}{
	{"removed", 0}, {"TERM", syscall.SIGTERM}, {"INT", syscall.SIGINT}, {"QUIT", syscall.SIGQUIT}, {"ABRT", syscall.SIGABRT},
	{"HUP", syscall.SIGHUP},
}

// awaitIdle returns when pidleash has dealt with all that was sent to it: nothing is
// pending, and every thread sleeps.
func awaitIdle(r *bed.Run, t testing.TB) {
	t.Helper()
	bed.Await(t, "pidleash is idle", func() bool {
		tasks, err := filepath.Glob(bed.ProcFile(r.PID(), "task/*/status"))
		bed.Must(t, err)
		for _, task := range tasks {
			text := bed.ReadFile(t, task)
			if !strings.Contains(text, "State:\tS") || !strings.Contains(text, "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n") {
				return false
			}
		}
		return true
	})
}

// awaitBackOff returns when the file names pidleash and PROGRAM has been waited for.
func (r *restarted) awaitBackOff(t testing.TB, orphans bool) {
	t.Helper()
	bed.Await(t, "pidleash backs off", func() bool {
		text, err := os.ReadFile(r.file)
		return err == nil && string(text) == strconv.Itoa(r.PID())+"\n" && (orphans || len(bed.ChildPIDs(r.PID())) == 0)
	})
}

// tellsOfRestarts fails the test if pidleash has had something else to tell.
func tellsOfRestarts(r *bed.Run, t testing.TB) {
	t.Helper()
	if text := bed.RestartLine.ReplaceAllString(r.Stderr(), ""); text != "" {
		t.Errorf("standard error has %q, want nothing but restarts", text)
	}
}

func TestRestartUsageErrors(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	for _, test := range []struct {
		options string
		line    string
	}{
		{"-restart maybe", `option -restart "maybe": no such policy; hint: no, on-failure or always`},
		{"-restart on-success", `option -restart "on-success": no such policy`},
		{"-restart always -restart-delay 5", `option -restart-delay "5": invalid duration; hint: a number with its unit`},
		{"-restart always -restart-delay -1s", `option -restart-delay "-1s": invalid duration`},
		{"-restart always -restart-limit 5", `option -restart-limit "5": no N/WINDOW; hint: a number of restarts and a time, such as 5/1m`},
		{"-restart always -restart-limit 0/1m", `"0" is not a number above 0`},
		{"-restart always -restart-limit -1/1m", `"-1" is not a number above 0`},
		{"-restart always -restart-limit x/1m", `"x" is not a number above 0`},
		{"-restart always -restart-limit 5/0s", `"0s" is not a duration above 0`},
		{"-restart always -restart-limit 5/10", `"10" is not a duration above 0`},
		{"-restart-signal NOPE", `option -restart-signal "NOPE": `},
		{"-restart-signal KILL", "SIGKILL does not reach pidleash"},
		{"-restart-signal CHLD", "SIGCHLD does not reach pidleash"},
		{"-restart-signal TERM", "SIGTERM ends the program for good"},
		{"-restart-signal INT", "SIGINT ends the program for good"},
		{"-restart-signal QUIT", "SIGQUIT ends the program for good"},
		{"-restart-signal ABRT", "SIGABRT ends the program for good"},
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
		bed.ExpectUsageError(t, nil, append([]string{"-pidfile", file}, strings.Fields(test.options)...), test.line)
	}
	bed.ExpectUsageError(t, []string{"PIDLEASH_RESTART=sometimes"}, nil, `variable PIDLEASH_RESTART "sometimes": no such policy`)
	bed.ExpectUsageError(t, []string{"PIDLEASH_RESTART_SIGNAL=TERM"}, nil, `variable PIDLEASH_RESTART_SIGNAL "TERM": `)
	bed.ExpectEmptyDir(t, filepath.Dir(file))
}

// Each by its variable, of which PROGRAM has none. The command line replaces them.
func TestRestartByEnvironment(t *testing.T) {
	t.Parallel()
	h := bed.How{Env: []string{
		"PIDLEASH_RESTART=always", "PIDLEASH_RESTART_DELAY=1ms", "PIDLEASH_RESTART_LIMIT=2/1h", "PIDLEASH_RESTART_SIGNAL=USR2",
	}}
	r := startRestarted(t, h)
	for _, order := range []string{"exit 1", "kill -USR2 $PPID"} {
		r.Tell(t, order)
		r.begins(t)
	}
	r.Tell(t, "env | grep -c PIDLEASH_ || :")
	r.Expect(t, "0")
	r.Tell(t, "exit 0")
	r.begins(t)
	r.Tell(t, "exit 4")
	r.ExpectCode(t, 4)
	r.AwaitStderr(t, `\npidleash: sh: not restarting: 2 restarts within 1h0m0s\n$`)

	r = startRestarted(t, h, "-restart", "no")
	r.Tell(t, "exit 4")
	r.ExpectCode(t, 4)
	r.ExpectQuiet(t)
}
