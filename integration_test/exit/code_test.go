package exit

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for code := range 256 {
		cmd := exec.Command(bed.Pidleash, "sh", "-c", "exit "+strconv.Itoa(code))
		if have := ending(t, cmd); !have.Exited() || have.ExitStatus() != code {
			t.Errorf("PROGRAM exits with %d, pidleash ends by %s", code, bed.Describe(have))
		}
	}
}

// ending runs a command and returns how it ended.
func ending(t testing.TB, cmd *exec.Cmd) syscall.WaitStatus {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	if len(out) > 0 {
		t.Errorf("%v: wrote %q, want nothing", cmd, out)
	}
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func TestOwnExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	bed.WriteFile(t, script, "#!/bin/sh\n", 0o644)
	nowhere := filepath.Join(dir, "no", "interpreter")
	orphan := filepath.Join(dir, "orphan")
	bed.WriteFile(t, orphan, "#!"+nowhere+"\n", 0o755)
	for _, test := range []struct {
		code int
		args []string
		line string
	}{
		{125, []string{"-no-such-option", "true"}, "no-such-option"},
		{125, []string{"-pidfile", filepath.Join(dir, "no", "p.pid"), "true"}, "no directory .*no; hint: "},
		{126, []string{script}, "script: .*; hint: chmod"},
		{126, []string{dir}, "is a directory"},
		{126, []string{orphan}, "interpreter .*no/interpreter"},
		{127, []string{filepath.Join(dir, "nothing")}, "nothing: not found"},
		{127, []string{"no-such-program-anywhere"}, "no-such-program-anywhere: not found"},
	} {
		r := bed.Start(t, bed.How{}, test.args...)
		r.ExpectCode(t, test.code)
		r.ExpectOneLine(t, test.line)
	}
	bed.ExpectFiles(t, dir, "orphan", "script")
}

func TestAlreadyRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "p.pid")
	first := bed.Start(t, bed.How{}, "-pidfile", file, "sh", "-c", "echo $$; read line")
	program := first.Number(t)
	second := bed.Start(t, bed.How{}, "-pidfile", file, "true")
	second.ExpectCode(t, 120)
	second.ExpectOneLine(t, "p.pid: .*"+strconv.Itoa(program)+".*; hint: ")
	if text := bed.ReadFile(t, file); text != strconv.Itoa(program)+"\n" {
		t.Errorf("the PID file has %q, want PID %d", text, program)
	}
	first.Tell(t, "end")
	first.ExpectCode(t, 0)
	bed.ExpectEmptyDir(t, dir)
}
