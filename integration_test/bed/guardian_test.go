package bed

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// victimVariable makes TestVictim do what it is for.
const victimVariable = "LEASH_TEST_VICTIM"

// TestVictim is run by TestKilledTestsLeaveNothing, in a test binary that is
// killed. It starts what lasts longest, names it on standard output, and waits.
func TestVictim(t *testing.T) {
	if os.Getenv(victimVariable) == "" {
		return
	}
	file := filepath.Join(OpenDir(t), "p.pid")
	r := Start(t, How{}, "-pidfile", file, "-restart", "always", "-restart-delay", "0", "sleep", "600")
	Await(t, "the wrapper is up", func() bool { return !IsGone(file) })
	pids := []int{os.Getpid(), r.PID(), PIDIn(t, file)}
	for _, options := range [][]string{nil, {"-restart", "always"}} {
		a := Sleeper(t)
		pids = append(pids, a.InBackground(t, options...), a.Mark.Watchdog())
	}
	fmt.Println("pids", strings.Trim(fmt.Sprint(pids), "[]"))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// What a test has started dies with the test binary, whichever of its processes
// is killed, and what would start it again, too.
func TestKilledTestsLeaveNothing(t *testing.T) {
	for whom, kill := range map[string]func(first, tests int) error{
		"the first process":           func(first, _ int) error { return syscall.Kill(first, syscall.SIGKILL) },
		"the one that runs the tests": func(_, tests int) error { return syscall.Kill(tests, syscall.SIGKILL) },
		"the process group":           func(first, _ int) error { return syscall.Kill(-first, syscall.SIGTERM) },
	} {
		t.Run(whom, func(t *testing.T) {
			victim := exec.Command("/proc/self/exe", "-test.run=^TestVictim$")
			victim.Env = append(os.Environ(), victimVariable+"=1", "PIDLEASH_TEST_BINARY="+Pidleash)
			victim.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			r := Launch(t, victim)
			words, ok := strings.CutPrefix(r.Line(t), "pids ")
			if !ok {
				t.Fatalf("the victim wrote %q\n%s", words, r.Stderr())
			}
			var pids []int
			for word := range strings.FieldsSeq(words) {
				pid, err := strconv.Atoi(word)
				if err != nil || Gone(pid) {
					t.Fatalf("PID %s, of %s, does not run", word, words)
				}
				pids = append(pids, pid)
			}
			Must(t, kill(r.PID(), pids[0]))
			for _, pid := range pids {
				Await(t, fmt.Sprintf("PID %d, of %s, has ended", pid, words), func() bool { return Gone(pid) })
			}
			r.Wait(t)
		})
	}
}
