package restart

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// A program that is not there at a restart may come back: it is an update, say.
func TestRestartOfMissingProgram(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	program := dir + "/program"
	bed.WriteFile(t, program, bed.ReadFile(t, bed.CompileC(t, "first.c")), 0o755)
	r := leashRestarted(t, bed.How{}, []string{"-restart", "on-failure", "-restart-delay", "10ms"}, program, "hold")
	r.begins(t)
	bed.Must(t, os.Rename(program, program+".away"))
	bed.Must(t, syscall.Kill(r.program, syscall.SIGKILL))
	for tries := range 3 {
		bed.Await(t, "it is tried again", func() bool { return r.delays(t) > tries+1 })
	}
	r.AwaitStderr(t, `(?m)^pidleash: `+program+`: not found, restarting in `)
	// Not of a try's.
	bed.Await(t, "the file names pidleash", func() bool { return bed.ReadFile(t, r.file) == strconv.Itoa(r.PID())+"\n" })
	bed.Must(t, os.Rename(program+".away", program))
	r.begins(t)
	r.Stdin.Close()
	r.ExpectCode(t, 0)
	bed.ExpectEmptyDir(t, r.dir)
}

// In the back-off after a start that has failed all is as in others.
func TestRestartBackOffOfMissingProgram(t *testing.T) {
	t.Parallel()
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			program := dir + "/program"
			bed.WriteFile(t, program, bed.ReadFile(t, bed.CompileC(t, "first.c")), 0o755)
			options := []string{"-restart", "on-failure", "-restart-delay", bed.Never, "-restart-signal", "USR1"}
			r := leashRestarted(t, bed.How{}, options, program, "hold")
			r.begins(t)
			bed.Must(t, os.Remove(program))
			bed.Must(t, syscall.Kill(r.program, syscall.SIGKILL))
			r.backsOff(t)
			r.before = r.delays(t)
			r.Signal(syscall.SIGUSR1)
			r.backsOff(t)
			if end.signal == 0 {
				r.leaves(t)
				return
			}
			r.Signal(end.signal)
			r.ExpectSignal(t, end.signal)
			bed.ExpectEmptyDir(t, r.dir)
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
			dir := bed.OpenDir(t)
			program := dir + "/program"
			bed.WriteFile(t, program, bed.ReadFile(t, bed.CompileC(t, "first.c")), 0o755)
			r := leashRestarted(t, bed.How{}, append(options, "-log-level", "warn"), program, "hold")
			r.begins(t)
			bed.Must(t, os.Remove(program))
			r.Signal(syscall.SIGUSR1)
			r.ExpectCode(t, 127)
			r.AwaitStderr(t, `(?m)^pidleash: `+program+`: not found$`)
			if said := strings.Contains(r.Stderr(), ": "+program+": not restarting: 3 restarts within 1h0m0s\n"); said != (name == "limit") {
				t.Errorf("standard error has %q", r.Stderr())
			}
			bed.ExpectEmptyDir(t, r.dir)
		})
	}
}

// usage is what a process uses, as the kernel counts it.
type usage struct{ fds, threads, children, memory int }

func usageOf(t testing.TB, pid int) (u usage) {
	t.Helper()
	fds, err := os.ReadDir(bed.ProcFile(pid, "fd"))
	bed.Must(t, err)
	u.fds, u.children = len(fds), len(bed.ChildPIDs(pid))
	for line := range strings.Lines(bed.ReadFile(t, bed.ProcFile(pid, "status"))) {
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
	bed.Must(t, err)
	r := leashRestarted(t, bed.How{}, []string{"-restart", "always", "-restart-delay", "0s", "-restart-limit", fmt.Sprintf("%d/1h", restarts)}, program)
	line := int64(len("pidleash: " + program + " ended with code 0, restarting in 0s\n"))
	told := func(n int64) func() bool {
		return func() bool {
			st, err := os.Stat(r.Log)
			return err == nil && st.Size() >= n*line
		}
	}
	bed.Await(t, "1,000 restarts", told(1000))
	before := usageOf(t, r.PID())
	for n := int64(2000); n <= 9000; n += 1000 {
		bed.Await(t, fmt.Sprintf("%d restarts", n), told(n))
	}
	before.expectNoMore(t, usageOf(t, r.PID()), 8<<10)
	r.ExpectCode(t, 0)
	r.AwaitStderr(t, fmt.Sprintf(`\npidleash: %s: not restarting: %d restarts within 1h0m0s\n$`, program, restarts))
	bed.ExpectEmptyDir(t, r.dir)
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
			other := bed.OpenDir(t)
			words := []string{"-log-level", "warn", "-restart", "on-failure", "-restart-delay", bed.Never, "-restart-signal", "USR1"}
			for _, word := range options {
				words = append(words, strings.Replace(word, "DIR", other, 1))
			}
			script := "exit 1"
			if name == "held descriptor" { // by whom it is not to be waited for
				script = `sleep 1000 & echo $!; exit 1`
			}
			m := bed.NewManager(t)
			go drainManager(m)
			r := leashRestarted(t, m.How(), words, "sh", "-c", script)
			restart := func(times int) usage {
				for range times {
					if name == "held descriptor" {
						bed.KillAtEnd(t, r.Number(t))
					}
					r.awaitBackOff(t, name == "held descriptor")
					r.Signal(syscall.SIGUSR1)
				}
				r.awaitBackOff(t, name == "held descriptor")
				return usageOf(t, r.PID())
			}
			before := restart(20)
			later := restart(130)
			if later.children = 0; name != "held descriptor" {
				before.children = 0
			}
			before.expectNoMore(t, later, 8<<10)
			bed.Await(t, "pidleash is quiet", func() bool {
				used := bed.Switches(t, r.PID())
				time.Sleep(200 * time.Millisecond) // the time in which it must do next to nothing
				return bed.Switches(t, r.PID())-used < 20
			})
		})
	}
}

// drainManager reads what comes until the socket is closed.
func drainManager(m *bed.Manager) {
	for buffer := make([]byte, 4096); ; {
		if _, err := m.Conn.Read(buffer); err != nil {
			return
		}
	}
}

// A failure that is followed by a delay is told without being asked; an end that is no
// failure is not.
func TestRestartWarns(t *testing.T) {
	t.Parallel()
	options := []string{"-restart", "always", "-restart-delay", "1ms", "-restart-limit", "1/1h", "sh", "-c"}
	const limit = "pidleash: sh: not restarting: 1 restarts within 1h0m0s\n"
	r := bed.Start(t, bed.How{}, append(options, "exit 3")...)
	r.ExpectCode(t, 3)
	if text := r.Stderr(); !bed.RestartLine.MatchString(text) || bed.RestartLine.ReplaceAllString(text, "") != limit {
		t.Errorf("standard error has %q, want the failure, and %q", text, limit)
	}
	r = bed.Start(t, bed.How{}, append(options, "exit 0")...)
	r.ExpectCode(t, 0)
	if text := r.Stderr(); text != limit {
		t.Errorf("standard error has %q, want %q", text, limit)
	}
}
