package terminal

import (
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// A script runs on behind PROGRAM, or is interrupted together with it.
func TestTerminalScript(t *testing.T) {
	for _, sh := range []string{"dash", "bash"} {
		t.Run(sh, func(t *testing.T) {
			sameDialogue(t, func(s *bed.Shell) {
				s.Types(sh + " -c '$W cat; echo done'\n")
				s.Types("hello\n")
				s.Expect("hello\n")
				s.Types(bed.CtrlD)
				s.Expect("done\n")
				s.Expect(bed.ShellPrompt)
				s.Stops(begins(s, sh+" -c '$W $T talk; echo done'"))
				s.Types("fg\n")
				s.Types("hello\n")
				s.Expect("read hello\n")
				s.Says("end 5", "done\n")
				s.Types(sh + " -c '$W cat; echo done'\n")
				s.Types("hello\n")
				s.Expect("hello\n")
				s.Types(bed.CtrlC)
				s.Expect(bed.ShellPrompt)
				s.Says("echo $?", "130\n")
			})
		})
	}
}

// A script's background job has its input from elsewhere, and does not want
// the script's terminal.
func TestTerminalScriptBackground(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		s.Types("sh -c '$W $T idle & read x; echo \"<$x>\"; kill $!; wait $!'\n")
		s.Expect("background\n")
		s.Types("hello\n")
		s.Expect("<hello>\n")
		s.Expect(bed.ShellPrompt)
	})
}

// A script reads the terminal after PROGRAM, however that ended, and whoever was
// in the foreground then: no shell takes it back for a script.
func TestTerminalScriptReadsOn(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		for _, sig := range []syscall.Signal{0, syscall.SIGKILL} {
			s.Types("sh -c '$W $T talk; read x; echo \"<$x>\"'\n")
			p := s.Place()
			s.Expect("foreground\n")
			if sig == 0 {
				s.Types("end 5\n")
			} else {
				bed.Must(s.T, syscall.Kill(p.Pid, sig))
			}
			bed.Await(s.T, "PROGRAM and pidleash have ended", func() bool { return bed.Gone(p.Pid) && (!s.Wrapped || bed.Gone(p.Parent)) })
			s.Types("hello\n")
			s.Expect("<hello>\n")
			s.Expect(bed.ShellPrompt)
		}
	})
}

// The foreground job of a PROGRAM that was killed does not keep the terminal from
// the script. Nobody takes it back from the job of a bare program.
func TestTerminalScriptReadsOnAfterAJob(t *testing.T) {
	s := bed.NewShell(t, bed.Pidleash+" -pidfile DIR/p.pid")
	s.Types("sh -c '$W bash --norc --noprofile --noediting -i; read x; echo \"<$x>\"'\n")
	s.Expect(bed.ShellPrompt)
	s.Types("$T idle\n")
	p := s.Place()
	s.CleanUp(p)
	s.Expect("foreground\n")
	bed.Must(t, syscall.Kill(p.Parent, syscall.SIGKILL))
	bed.Await(t, "PROGRAM has ended", func() bool { return bed.Gone(p.Parent) })
	s.Expect("Killed\n")
	s.Types("hello\n")
	s.Expect("<hello>\n")
	s.Expect(bed.ShellPrompt)
	syscall.Kill(p.Pid, syscall.SIGKILL)
	bed.Await(t, "the job has ended", func() bool { return bed.Ended(p.Pid) })
}
