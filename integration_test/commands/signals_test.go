package commands

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// waiting starts a wait for a program without end, in a process group of its own.
func waiting(t *testing.T, before ...string) *bed.Run {
	t.Helper()
	file := bed.OpenDir(t) + "/p.pid"
	bed.PlantPID(t, file, bed.PlainProgram(t))
	r := bed.Start(t, bed.How{Before: before, Attr: &syscall.SysProcAttr{Setpgid: true}}, "wait", file)
	awaitPidfds(t, r.PID(), 1)
	return r
}

// Signals do to a command what they do to any program, blocked as they are at the
// first instruction of the binary.
func TestSignalsEndCommands(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
		syscall.SIGUSR1, syscall.SIGALRM, syscall.SIGIO, 40, 64} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			r := waiting(t)
			r.Signal(sig)
			r.ExpectSignal(t, sig)
			r.ExpectQuiet(t)
		})
	}
}

func TestSignalsStopCommands(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		r := waiting(t)
		r.Signal(sig)
		bed.Await(t, "it is stopped", func() bool { return bed.ProcessState(r.PID()) == "T" })
		r.Signal(syscall.SIGCONT)
		bed.Await(t, "it goes on", func() bool { return bed.ProcessState(r.PID()) == "S" })
		r.Signal(syscall.SIGTERM)
		r.ExpectSignal(t, syscall.SIGTERM)
	}
}

// What the caller has ignored or blocked stays so.
func TestCommandsKeepTheCallersSignals(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"ignore=15", "block=10"} {
		r := waiting(t, bed.CompileC(t, "as.c"), state)
		sig := syscall.SIGTERM
		if state == "block=10" {
			sig = syscall.SIGUSR1
		}
		r.Signal(sig)
		r.Signal(syscall.SIGINT)
		r.ExpectSignal(t, syscall.SIGINT)
	}
}

func TestCommandOnTerminal(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	bed.PlantPID(t, file, bed.PlainProgram(t))
	s := bed.NewShell(t, "")
	s.Types(bed.Pidleash + " wait " + file + "\n")
	bed.Await(t, "wait is in the foreground", func() bool { return foreground(s.Console) == "pidleash" })
	s.Types(bed.CtrlZ)
	s.Expect(`Stopped`)
	s.Types("fg\n")
	bed.Await(t, "wait is in the foreground", func() bool { return foreground(s.Console) == "pidleash" })
	s.Types(bed.CtrlC)
	s.Expect(regexp.QuoteMeta(bed.ShellPrompt))
	s.Types("echo code $?\n")
	s.Expect("code 130")
}

// foreground is the name of a process in the terminal's foreground, when it runs.
func foreground(c *bed.Console) string {
	for _, pid := range bed.Descendants(c.Cmd.Process.Pid) {
		stat, _ := os.ReadFile(bed.ProcFile(pid, "stat"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		f := strings.Fields(rest) // state, parent, group, session, terminal, foreground
		if len(f) > 5 && f[0] == "S" && f[2] == f[5] {
			comm, _ := os.ReadFile(bed.ProcFile(pid, "comm"))
			return strings.TrimSpace(string(comm))
		}
	}
	return ""
}

// A reader who goes away ends a command as any other, and a full disk is told.
func TestCommandsOutputFails(t *testing.T) {
	t.Parallel()
	read, write := bed.NewPipe(t)
	read.Close()
	cmd := exec.Command(bed.Pidleash, "status", "/")
	cmd.Stdout = write
	cmd.Run()
	write.Close()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGPIPE {
		t.Errorf("without a reader it ends by %s", bed.Describe(status))
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	bed.Must(t, err)
	defer full.Close()
	for _, words := range [][]string{{"status", "/"}, {"list", "/dev/null"}, {"wait", "-json", "/"}, {"stop", "-h"}} {
		cmd = exec.Command(bed.Pidleash, words...)
		cmd.Stdout = full
		if cmd.Run(); cmd.ProcessState.ExitCode() != 125 {
			t.Errorf("%q: with a full disk the code is %d", words, cmd.ProcessState.ExitCode())
		}
	}
}
