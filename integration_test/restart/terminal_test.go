package restart

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// startOnTerminal has a PROGRAM on a terminal that is restarted.
func startOnTerminal(t *testing.T, program ...string) *bed.Shell {
	t.Helper()
	s := bed.NewShell(t, bed.Pidleash+" -pidfile DIR/p.pid -log-level info -restart always -restart-delay 1s -restart-signal USR1 -stop INT/10s/KILL")
	s.Types("$W " + strings.Join(program, " ") + "\n")
	return s
}

// ^C ends PROGRAM, and with it pidleash.
func TestRestartInterrupted(t *testing.T) {
	t.Parallel()
	for _, key := range []string{bed.CtrlC, bed.CtrlBackslash} {
		s := startOnTerminal(t, `sh -c 'echo "# $$ $PPID 0"; read x; exit 1'`)
		s.Place()
		s.Types("end\n")
		s.Expect("ended with code 1, restarting in ")
		bed.Must(t, syscall.Kill(s.Place().Parent, syscall.SIGUSR1))
		// By pidleash's, not by the terminal's. Who writes first, pidleash or the next
		// run, is by chance.
		const told, begun = `ended by SIGINT, restarting in .*\n`, `# [0-9]+ [0-9]+ 0\n`
		s.Expect("(?s:" + told + ".*" + begun + "|" + begun + ".*" + told + ")")
		s.Types(key)
		s.Expect(bed.ShellPrompt)
		s.Says("echo $?", "1[0-9]+\n")
		s.Reads()
		bed.ExpectEmptyDir(t, s.Dir)
	}
}

// In the back-off the terminal is pidleash's own.
func TestRestartInterruptedInBackOff(t *testing.T) {
	t.Parallel()
	s := bed.NewShell(t, bed.Pidleash+" -pidfile DIR/p.pid -log-level info -restart always -restart-delay "+bed.Never)
	s.Types("$W false\n")
	s.Expect("restarting in ")
	s.Types(bed.CtrlC)
	s.Expect(bed.ShellPrompt)
	s.Says("echo $?", "130\n")
	s.Reads()
	bed.ExpectEmptyDir(t, s.Dir)
}

// A later run is the shell's job as the first one is.
func TestRestartJobControl(t *testing.T) {
	t.Parallel()
	s := startOnTerminal(t, "$T talk")
	p := s.Place()
	s.Expect("foreground\n")
	for range 2 {
		bed.Must(t, syscall.Kill(p.Parent, syscall.SIGUSR1)) // pidleash
		bed.Must(t, syscall.Kill(p.Pid, syscall.SIGKILL))    // it survives INT
		p = s.Place()
		s.Expect("foreground\n")
		s.Stops(p)
		s.Types("fg\n")
		s.Expect("T talk\n")
		s.Types("hello\n")
		s.Expect("read hello\n")
	}
	s.Types("end 5\n")
	s.Expect("ended with code 5, restarting in ")
	s.Place()
	s.Expect("foreground\n")
	s.Types(bed.CtrlC)
	s.Expect("got INT\n")
	bed.Must(t, os.Remove(s.Dir+"/p.pid"))
	s.CleanUp(p)
	s.Expect("got INT\n")
	s.Types("end 6\n")
	s.Expect(bed.ShellPrompt)
	s.Says("echo $?", "6\n")
	bed.ExpectEmptyDir(t, s.Dir)
}
