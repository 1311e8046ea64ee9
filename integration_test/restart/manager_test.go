package restart

import (
	"fmt"
	"regexp"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// The service manager's status tells a person what happens, and a later run's words
// are passed on like the first one's.
func TestRestartTellsManager(t *testing.T) {
	t.Parallel()
	m := bed.NewManager(t)
	r, pid := bed.StartLed(t, m.How(), "-restart", "on-failure", "-restart-delay", "1ms", "-restart-signal", "HUP")
	name := bed.CompileC(t, "notify.c")
	r.Obey(t, "send READY=1", "done")
	m.Expect("READY=1")
	for i, end := range []struct{ order, told string }{{"exit 3", "ended with code 3"}, {"kill 9", "ended by SIGKILL"}} {
		r.Tell(t, end.order)
		expectMatch(m, `^STATUS=`+name+` `+end.told+`, restarting in [0-9]+ms$`)
		if next := r.Number(t); next == pid {
			t.Errorf("PROGRAM has PID %d twice", pid)
		} else {
			pid = next
		}
		m.Expect(fmt.Sprintf("STATUS=Restarted as PID %d, %d times so far", pid, i+1))
		r.Obey(t, "send READY=1\\nSTATUS=up again", "done")
		m.Expect("READY=1\nSTATUS=up again")
	}
	r.Signal(syscall.SIGHUP)
	m.Expect(`STATUS=` + name + ` ended by SIGTERM, restarting in 0s`)
	m.Expect(fmt.Sprintf("STATUS=Restarted as PID %d, 3 times so far", r.Number(t)))
	r.Tell(t, "exit 0")
	r.ExpectCode(t, 0)
	tellsOfRestarts(r, t)
}

// expectMatch fails the test unless the next message matches.
func expectMatch(m *bed.Manager, pattern string) {
	m.T.Helper()
	if text, _ := m.Read(); !regexp.MustCompile(pattern).MatchString(text) {
		m.T.Fatalf("the service manager gets %.200q, want a match of %q", text, pattern)
	}
}

// What ends pidleash in the back-off is told, too.
func TestRestartTellsManagerOfRemoval(t *testing.T) {
	t.Parallel()
	m := bed.NewManager(t)
	r := startRestarted(t, m.How(), "-restart", "always", "-restart-delay", bed.Never)
	r.fails(t, "exit 1")
	expectMatch(m, `^STATUS=sh ended with code 1, restarting in 1h`)
	r.leaves(t)
	for _, what := range []string{"Stopping", "Stopped"} {
		m.Expect("STATUS=" + what + ": PID file " + r.file + " removed")
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
	other := bed.OpenDir(t)
	m := bed.NewManager(t)
	h := bed.How{Env: []string{"NOTIFY=" + bed.CompileC(t, "notify.c"), "NOTIFY_SOCKET=" + m.Address}}
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
	expectUp(m)
	r.Tell(t, "end")
	r.AwaitStderr(t, `(?m)^pidleash: sh is not up after 2s, restarting in `)
	expectUp(m)
	r.Tell(t, "end")
	r.AwaitStderr(t, `(?m)^pidleash: sh: not restarting: 2 restarts within 1h0m0s$`)
	r.ExpectSignal(t, syscall.SIGKILL)
	bed.ExpectEmptyDir(t, r.dir)
}

// expectUp returns when the service manager has been told that the program is up.
func expectUp(m *bed.Manager) {
	m.T.Helper()
	for text := ""; text != "READY=1"; {
		text, _ = m.Read()
	}
}
