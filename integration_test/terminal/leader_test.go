package terminal

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"pidleash/integration_test/bed"
)

// leaderDialogue has a dialogue with PROGRAM as, or right behind, the leader of a
// session, and compares.
func leaderDialogue(t *testing.T, before []string, dialogue func(c *bed.Console)) {
	t.Helper()
	ways := map[string][]string{"wrapped": {bed.Pidleash}, "same group": {bed.Pidleash, "-same-group"}}
	try := func(t *testing.T, wrapper []string) string {
		words := append(append(append([]string{}, before...), wrapper...), bed.CompileC(t, "terminal.c"), "talk")
		c := bed.NewConsole(t, nil, words...)
		dialogue(c)
		if status := c.Wait(); status.ExitStatus() != 5 {
			t.Errorf("the session ended by %s, want exit code 5", bed.Describe(status))
		}
		return transcript(c)
	}
	want := try(t, nil)
	for name, wrapper := range ways {
		t.Run(name, func(t *testing.T) {
			if got := try(t, wrapper); got != want {
				t.Errorf("the screen has\n%s\nand without pidleash\n%s", got, want)
			}
		})
	}
}

// keysWithoutShell are pressed where no shell could continue a stopped job: the
// kernel does not even stop it there.
func keysWithoutShell(c *bed.Console) {
	c.Place()
	c.Expect("foreground\n")
	for range 3 {
		c.Types(bed.CtrlC)
		c.Expect("got INT\n")
		c.Types(bed.CtrlZ + "hello\n")
		c.Expect("read hello\n")
	}
	c.Types("end 5\n")
}

func TestTerminalSessionLeader(t *testing.T) {
	leaderDialogue(t, nil, keysWithoutShell)
}

func TestTerminalPID1(t *testing.T) {
	leaderDialogue(t, bed.InPIDNamespace(t), keysWithoutShell)
}

// Of a terminal that hangs up the leader of the session learns.
func TestTerminalHangup(t *testing.T) {
	for name, wrapper := range map[string][]string{"bare": nil, "wrapped": {bed.Pidleash}, "same group": {bed.Pidleash, "-same-group"}} {
		t.Run(name, func(t *testing.T) {
			c := bed.NewConsole(t, nil, append(wrapper, bed.CompileC(t, "terminal.c"), "idle")...)
			p := c.Place()
			c.Expect("foreground\n")
			c.Master.Close()
			if status := c.Wait(); !status.Signaled() || status.Signal() != syscall.SIGHUP {
				t.Errorf("the session ended by %s, want SIGHUP", bed.Describe(status))
			}
			bed.Await(t, "PROGRAM has ended", func() bool { return bed.Gone(p.Pid) })
		})
	}
}

// A shell as the only program of a session, or of a container, has job control.
func TestTerminalShellWithoutShell(t *testing.T) {
	for name, before := range map[string]func(t *testing.T) []string{
		"session leader": func(*testing.T) []string { return nil },
		"PID 1":          bed.InPIDNamespace,
	} {
		t.Run(name, func(t *testing.T) {
			for _, wrapper := range [][]string{{bed.Pidleash}, {bed.Pidleash, "-same-group"}} {
				words := append(append(before(t), wrapper...), "bash", "--norc", "--noprofile", "--noediting", "-i")
				c := bed.NewConsole(t, []string{"PS1=" + bed.ShellPrompt, "T=" + bed.CompileC(t, "terminal.c"), "LC_ALL=C"}, words...)
				usesJobControl(c)
				if status := c.Wait(); status.ExitStatus() != 5 {
					t.Errorf("the session ended by %s, want exit code 5", bed.Describe(status))
				}
				if strings.Contains(c.All(), "job control") || strings.Contains(c.All(), "pidleash") {
					t.Errorf("the screen has %q", c.All())
				}
			}
		})
	}
}

// usesJobControl has a dialogue with a shell that has just started, up to its end.
func usesJobControl(c *bed.Console) {
	c.T.Helper()
	c.Expect(bed.ShellPrompt)
	c.Types("$T talk\n")
	c.Place()
	c.Expect("foreground")
	for range 2 {
		c.Types(bed.CtrlC)
		c.Expect("got INT")
		c.Types(bed.CtrlZ)
		c.Expect("Stopped")
		c.Expect(bed.ShellPrompt)
		c.Types("fg\n")
		c.Expect("T talk\r?\n")
		c.Types("hello\n")
		c.Expect("read hello")
	}
	c.Types("end 3\n")
	c.Expect(bed.ShellPrompt)
	c.Types("exit 5\n")
}

func TestTerminalContainer(t *testing.T) {
	b := bed.NewPodman(t)
	probe, err := os.ReadFile(bed.CompileC(t, "terminal.c"))
	bed.Must(t, err)
	bed.WriteFile(t, b.Dir+"/terminal", string(probe), 0o755)
	run := func(t *testing.T, opts []string, args ...string) *bed.Console {
		b.Containers++
		name := fmt.Sprintf("t%d", b.Containers)
		words := append([]string{"run", "-it", "--rm", "--name=" + name, "--network=none", "--sig-proxy=false",
			"--cgroup-parent=/" + b.Cgroup, fmt.Sprintf("--timeout=%.0f", bed.ContainerTimeout.Seconds()),
			"--volume=" + b.Dir + "/terminal:/terminal:ro", "--env=T=/terminal", "--env=PS1=" + bed.ShellPrompt, "--env=LC_ALL=C",
		}, opts...)
		master, slave, err := pty.Open()
		bed.Must(t, err)
		c := bed.StartOn(t, b.Command(append(append(words, bed.Image), args...)...), master, slave)
		t.Cleanup(func() { b.Command("rm", "--force", "--ignore", "--time=0", name).Run() })
		return c
	}
	t.Run("keys", func(t *testing.T) {
		c := run(t, nil, "/pidleash", "/terminal", "talk")
		c.Place()
		c.Expect("foreground")
		c.Types(bed.CtrlC)
		c.Expect("got INT")
		c.Types(bed.CtrlZ)
		c.Types("hello\n")
		c.Expect("read hello")
		c.Types("end 5\n")
		if status := c.Wait(); status.ExitStatus() != 5 || strings.Count(c.All(), "got INT") != 1 {
			t.Errorf("the container ended by %s, want exit code 5, and one INT: %q", bed.Describe(status), c.All())
		}
	})
	t.Run("shell", func(t *testing.T) {
		opts := []string{"--volume=/usr:/usr:ro", "--volume=/lib:/lib:ro"}
		if _, err := os.Stat("/lib64"); err == nil {
			opts = append(opts, "--volume=/lib64:/lib64:ro")
		}
		c := run(t, opts, "/pidleash", "/usr/bin/bash", "--norc", "--noprofile", "--noediting", "-i")
		usesJobControl(c)
		if status := c.Wait(); status.ExitStatus() != 5 || strings.Contains(c.All(), "job control") {
			t.Errorf("the container ended by %s, want exit code 5: %q", bed.Describe(status), c.All())
		}
	})
}
