package terminal

import (
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

func TestTerminalSuspend(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		p := begins(s, "$W $T talk")
		for range 3 {
			s.Stops(p)
			s.Says("jobs", "Stopped")
			s.Types("fg\n")
			s.Expect("T talk\n")
			s.Types("place\n")
			s.Expect("foreground\n")
			s.Types("hello\n")
			s.Expect("read hello\n")
		}
		s.Types("suspend\n")
		s.Expect(bed.ShellPrompt)
		s.Types("fg\n")
		s.Types("hello\n")
		s.Expect("read hello\n")
		s.Says("end 5", "")
		s.Says("echo $?", "5\n")
		s.Says("jobs", "")
	})
}

func TestTerminalBackground(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		s.Stops(begins(s, "$W $T talk"))
		s.Says("bg", "T talk &\n")
		// It reads again, and is stopped for that.
		awaitJob(s, "Stopped .tty input")
		s.Types("fg\n")
		s.Expect("T talk\n")
		s.Types("hello\n")
		s.Expect("read hello\n")
		s.Says("end 5", "")
		s.Says("echo $?", "5\n")
	})
}

// A start in the background does not steal the terminal: the shell reads on.
func TestTerminalBackgroundStart(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		s.Types("$W $T talk &\n")
		s.Place()
		s.Expect("background\n")
		awaitJob(s, "Stopped .tty input")
		s.Says("echo free", "free\n")
		s.Types("fg\n")
		s.Expect("T talk\n")
		s.Types("place\n")
		s.Place()
		s.Expect("foreground\n")
		s.Says("end 5", "")
	})
}

// A job in the background may write, unless the terminal says otherwise.
func TestTerminalBackgroundOutput(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		s.Says("$W echo hello & wait; echo looked", "looked\n")
		if hello := forget(s); !strings.Contains(hello, "hello\n") {
			s.T.Errorf("the screen has %q, and no hello", hello)
		}
		s.Does("stty tostop")
		s.Does("$W echo hello &")
		awaitJob(s, "Stopped .tty output")
		s.Says("fg", "hello\n")
		s.Says("echo $?", "0\n")
	})
}
