package terminal

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// transcript is the screen without what differs from run to run.
func transcript(c *bed.Console) string {
	text := regexp.MustCompile(`# [^\n]*\n`).ReplaceAllString(c.All(), "")
	return regexp.MustCompile(`(?m)^(\[[0-9]+\]\+?) [0-9]+\b`).ReplaceAllString(text, "$1 PID")
}

// begins starts the terminal program in the shell, in the foreground.
func begins(s *bed.Shell, line string) bed.Place {
	s.T.Helper()
	s.Types(line + "\n")
	p := s.Place()
	s.Expect("foreground\n")
	return p
}

// settled returns when pidleash, if there is one, has handled all that it was
// sent before: no second ^C is on its way then. Pending signals come in the order
// of their numbers, and each of these is higher than those of the terminal that
// come the same way: some are Go's, some are read from a descriptor.
func settled(s *bed.Shell, p bed.Place) {
	s.T.Helper()
	for range 3 {
		outermost := p.Pid
		for up := p.Parent; up != s.Cmd.Process.Pid; up = bed.ParentOf(s.T, up) {
			outermost = up
		}
		for _, sig := range []syscall.Signal{syscall.SIGTERM, 63} {
			bed.Must(s.T, syscall.Kill(outermost, sig))
			s.Expect("# settled\n")
		}
	}
}

var wrappers = map[string]string{
	"wrapped":    `PIDLEASH -pidfile DIR/p.pid`,
	"same group": `PIDLEASH -same-group -pidfile DIR/p.pid`,
	"twice":      `PIDLEASH PIDLEASH -pidfile DIR/p.pid`,
}

// sameDialogue has the same dialogue with a shell without pidleash, and with
// it in each of its ways, and compares what was on the screen.
func sameDialogue(t *testing.T, dialogue func(s *bed.Shell)) {
	t.Helper()
	sameDialogueIn(t, slices.Sorted(maps.Keys(wrappers)), dialogue)
}

func sameDialogueIn(t *testing.T, ways []string, dialogue func(s *bed.Shell)) {
	t.Helper()
	bare := bed.NewShell(t, "")
	dialogue(bare)
	want := transcript(bare.Console)
	for _, name := range ways {
		t.Run(name, func(t *testing.T) {
			s := bed.NewShell(t, strings.ReplaceAll(wrappers[name], "PIDLEASH", bed.Pidleash))
			dialogue(s)
			if got := transcript(s.Console); got != want {
				t.Errorf("the screen has\n%s\nand without pidleash\n%s", got, want)
			}
			bed.ExpectEmptyDir(t, s.Dir)
		})
	}
}

func TestTerminalInterrupt(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		p := begins(s, "$W $T talk")
		for _, k := range [][2]string{{bed.CtrlC, "got INT\n"}, {bed.CtrlBackslash, "got QUIT\n"}} {
			s.Types(k[0])
			s.Expect(k[1])
			settled(s, p)
		}
		s.Says("end 5", "")
		s.Says("echo $?", "5")
	})
}

// What a default action does: PROGRAM and pidleash die, the shell says of which
// signal.
func TestTerminalKeysKill(t *testing.T) {
	sameDialogue(t, func(s *bed.Shell) {
		for _, key := range []string{bed.CtrlC, bed.CtrlBackslash} {
			s.Types("$W sh -c 'echo ready; read x'\n")
			s.Expect("ready\n")
			s.Types(key)
			s.Expect(bed.ShellPrompt)
			s.Says("echo $?", "1[0-9]+\n")
		}
	})
}

// awaitJob returns when the shell's only job looks like that. When the shell
// tells of it by itself is by chance: the transcript begins anew.
func awaitJob(s *bed.Shell, pattern string) {
	s.T.Helper()
	re := regexp.MustCompile(`\[1\]\+ +([0-9]+ )?` + pattern)
	bed.Await(s.T, "jobs shows "+pattern, func() bool {
		s.Types("jobs -l; echo looked\n")
		s.Expect("looked\n")
		s.Expect(bed.ShellPrompt)
		return re.MatchString(forget(s))
	})
}

// forget begins the transcript anew, after what was expected so far, and
// returns what it had.
func forget(s *bed.Shell) string {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	before := string(s.Screen[:s.Seen])
	s.Screen, s.Seen = s.Screen[s.Seen:], 0
	return before
}
