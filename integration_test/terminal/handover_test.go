package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// WINCH comes to the foreground group, from the terminal.
func TestTerminalResize(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		p := begins(s, "$W $T talk")
		for rows := uint16(30); rows < 33; rows++ {
			s.Resize(rows, 100)
			s.Expect("got WINCH\n")
			settled(s, p)
			s.Types("size\n")
			s.Expect(fmt.Sprintf("size %d 100\n", rows))
		}
		s.Says("end 5", "")
	})
}

// The terminal goes back to the shell, however PROGRAM ended.
func TestTerminalGoesBack(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			sameDialogue(t, func(s *bed.Shell) {
				s.Types("$W sh -c 'echo \"# $$ 0 0\"; echo foreground; read x'\n")
				p := s.Place()
				s.Expect("foreground\n")
				bed.Must(s.T, syscall.Kill(p.Pid, sig))
				s.Expect(bed.ShellPrompt)
				s.Says("echo $?", "1[0-9]+\n")
				s.Reads()
			})
		})
	}
}

// A PROGRAM that is killed leaves its own foreground job behind.
func TestTerminalGoesBackFromAJob(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		s.Types("$W bash --norc --noprofile --noediting -i\n")
		s.Expect(bed.ShellPrompt)
		s.Types("$T idle\n")
		p := s.Place()
		s.CleanUp(p)
		s.Expect("foreground\n")
		bed.Must(s.T, syscall.Kill(p.Parent, syscall.SIGKILL))
		s.Expect("Killed")
		s.Expect(bed.ShellPrompt)
		s.Reads()
		syscall.Kill(p.Pid, syscall.SIGKILL)
		bed.Await(s.T, "the job has ended", func() bool { return bed.Ended(p.Pid) })
	})
}

// An interactive shell behind pidleash has job control of its own.
func TestTerminalShell(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		for _, inner := range []string{"$W bash --norc --noprofile --noediting -i", "exec $W bash --norc --noprofile --noediting -i"} {
			s.Does(inner)
			begins(s, "$T talk")
			s.Types(bed.CtrlZ)
			s.Expect("Stopped")
			s.Expect(bed.ShellPrompt)
			s.Types("fg\n")
			s.Types("hello\n")
			s.Expect("read hello\n")
			s.Types(bed.CtrlC)
			s.Expect("got INT\n")
			s.Says("end 5", "")
			if inner[0] == '$' {
				s.Says("suspend", "Stopped")
				s.Says("fg", "bash")
				s.Says("exit 3", "")
				s.Says("echo $?", "3\n")
			}
		}
		s.Types("exit 4\n")
		if status := s.Wait(); status.ExitStatus() != 4 {
			s.T.Errorf("the session ended by %s, want exit code 4", bed.Describe(status))
		}
	})
}

// The other programs of a pipeline are in pidleash's own process group.
func TestTerminalPipeline(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		s.Types("$W sed -u s/a/b/ | sed -u s/c/d/\n")
		s.Types("ac\n")
		s.Expect("bd\n")
		s.Types(bed.CtrlD)
		s.Expect(bed.ShellPrompt)
		s.Says("echo ac | $W sed s/a/b/ | sed s/c/d/", "bd\n")
		s.Says("echo ac | sed s/a/b/ | $W sed s/c/d/", "bd\n")
		s.Types("$W sed -u s/a/b/ | sed -u s/c/d/\n")
		s.Types("ac\n")
		s.Expect("bd\n")
		s.Types(bed.CtrlZ)
		s.Expect("Stopped")
		s.Expect(bed.ShellPrompt)
		s.Types("fg\n")
		s.Expect("sed.*\n")
		s.Types("ac\n")
		s.Expect("bd\n")
		s.Types(bed.CtrlC)
		s.Expect(bed.ShellPrompt)
		s.Says("echo ${PIPESTATUS[*]}", "130")
	})
}

// A key of the terminal is for every process of the job, the program's children included: bash ignores a ^C that the
// child for which it waits has not received.
func TestTerminalKeysReachChildren(t *testing.T) {
	for _, rest := range []string{"| cat", "</dev/null"} {
		t.Run(rest, func(t *testing.T) {
			sameDialogueIn(t, []string{"wrapped", "same group"}, func(s *bed.Shell) {
				s.Does(`export below='echo "# $$ 0 0"; exec sleep 1000'`)
				s.Types(`$W bash -c 'sh -c "$below"; echo ran on' ` + rest + "\n")
				p := s.Place()
				s.Types(bed.CtrlZ)
				s.Expect("Stopped")
				s.Expect(bed.ShellPrompt)
				bed.Await(s.T, "the child is stopped", func() bool { return bed.ProcessState(p.Pid) == "T" })
				s.Types("fg\n")
				bed.Await(s.T, "the child runs", func() bool { return bed.ProcessState(p.Pid) == "S" })
				s.Types(bed.CtrlC)
				s.Expect(bed.ShellPrompt)
				s.Says("echo ${PIPESTATUS[*]}", "130")
			})
		})
	}
}

// Whoever in a pipeline wants the terminal gets it.
func TestTerminalPipelineReader(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		s.Types("$W echo x | sh -c 'cat; read y </dev/tty; echo $y'\n")
		s.Expect("x\n")
		s.Says("hello", "hello\n")
		s.Types("echo x | $W sh -c 'cat; read y </dev/tty; echo $y'\n")
		s.Expect("x\n")
		s.Says("hello", "hello\n")
	})
}

// pidleash is killed, and PROGRAM with it: the shell has its terminal again, a
// script runs on.
func TestTerminalKilledWatchdog(t *testing.T) {
	s := bed.NewShell(t, bed.Pidleash+" -pidfile DIR/p.pid")
	for _, line := range []string{"$W $T talk", "sh -c '$W $T talk; echo done'"} {
		p := begins(s, line)
		bed.Must(t, syscall.Kill(p.Parent, syscall.SIGKILL))
		if line[0] == 's' {
			s.Expect("done\n")
		}
		s.Expect(bed.ShellPrompt)
		bed.Await(t, "PROGRAM has ended", func() bool { return bed.Gone(p.Pid) })
		s.Reads()
	}
}

// A shell takes its terminal back when somebody has stopped pidleash by hand: it
// is no longer lent, and PROGRAM's end takes it from nobody.
func TestTerminalTakenByTheShell(t *testing.T) {
	s := bed.NewShell(t, bed.Pidleash+" -pidfile DIR/p.pid")
	p := begins(s, "$W $T idle")
	s.CleanUp(p)
	bed.Must(t, syscall.Kill(p.Parent, syscall.SIGSTOP))
	s.Expect("Stopped")
	s.Expect(bed.ShellPrompt)
	s.Does("bg")
	bed.Must(t, syscall.Kill(p.Pid, syscall.SIGKILL))
	awaitJob(s, "Killed")
	s.Reads()
}

// A job that runs in the background comes to the foreground without a SIGCONT.
func TestTerminalForegroundWhileRunning(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		gate := s.Dir + "/gate"
		bed.Must(s.T, syscall.Mkfifo(gate, 0o600))
		s.Types("$W sh -c 'read x <$DIR/gate; exec $T talk' &\n")
		s.Expect(bed.ShellPrompt)
		s.Types("fg\n")
		s.Expect("T talk'\n")
		forget(s)
		writer, err := os.OpenFile(gate, os.O_WRONLY, 0)
		bed.Must(s.T, err)
		writer.Close()
		p := s.Place()
		s.Expect("ground\n") // in the background until it asks for the terminal
		forget(s)
		s.Types("hello\n")
		s.Expect("read hello\n")
		s.Types(bed.CtrlC)
		s.Expect("got INT\n")
		settled(s, p)
		s.Says("end 5", "")
		bed.Must(s.T, os.Remove(gate))
	})
}

// Editors and pagers run, and have the terminal for themselves.
func TestTerminalEditors(t *testing.T) {
	for _, program := range []string{"vi", "less", "top"} {
		if _, err := exec.LookPath(program); err != nil {
			bed.Missing(t, "%v", err)
		}
	}
	sameEnd := func(t *testing.T, dialogue func(s *bed.Shell)) {
		for name, wrapper := range wrappers {
			t.Run(name, func(t *testing.T) { dialogue(bed.NewShell(t, strings.ReplaceAll(wrapper, "PIDLEASH", bed.Pidleash))) })
		}
		t.Run("bare", func(t *testing.T) { dialogue(bed.NewShell(t, "")) })
	}
	t.Run("vi", func(t *testing.T) {
		sameEnd(t, func(s *bed.Shell) {
			file := s.Dir + "/text"
			s.Types("$W vi -u NONE -i NONE -n " + file + "\n")
			s.Expect("All|text")
			s.Types("ihello\x1b")
			s.Expect("hello")
			// By a command: where ^Z finds an editor or pager is by chance.
			s.Types(":stop\r")
			s.Expect("Stopped")
			s.Expect(bed.ShellPrompt)
			s.Types("fg\n")
			s.Expect("hello") // it draws the screen anew
			s.Types("A world\x1b:wq\r")
			s.Expect(bed.ShellPrompt)
			if text := bed.ReadFile(s.T, file); text != "hello world\n" {
				s.T.Errorf("the file has %q", text)
			}
		})
	})
	t.Run("less", func(t *testing.T) {
		sameEnd(t, func(s *bed.Shell) {
			for _, line := range []string{"$W less $DIR/text", "cat $DIR/text | $W less", "$W cat $DIR/text | less", "$W sh -c 'cat $DIR/text | less'"} {
				bed.WriteFile(s.T, s.Dir+"/text", strings.Repeat("line\n", 1000)+"last\n", 0o644)
				s.Types(line + "\n")
				s.Expect("line(?s:.*)\x1b\\[K")
				s.Types("G")
				s.Expect("last")
				s.Types("q")
				s.Expect(bed.ShellPrompt)
				s.Reads()
			}
		})
	})
	t.Run("top", func(t *testing.T) {
		sameEnd(t, func(s *bed.Shell) {
			s.Types("$W top\n")
			s.Expect("PID")
			s.Types("q")
			s.Expect(bed.ShellPrompt)
			s.Reads()
		})
	})
}
