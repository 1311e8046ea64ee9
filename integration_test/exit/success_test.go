package exit

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

func TestSuccess(t *testing.T) {
	t.Parallel()
	const codes = "3,140-150,129,0-1"
	for _, test := range []struct {
		script string
		code   int // -1: death by the signal
		signal syscall.Signal
	}{
		{script: "exit 0", code: 0},
		{script: "exit 1", code: 0},
		{script: "exit 2", code: 2},
		{script: "exit 3", code: 0},
		{script: "exit 139", code: 139},
		{script: "exit 140", code: 0},
		{script: "exit 150", code: 0},
		{script: "exit 151", code: 151},
		{script: "kill -TERM $$", code: 0},
		{script: "kill -HUP $$", code: 0},
		{script: "kill -KILL $$", code: -1, signal: syscall.SIGKILL},
		{script: "kill -USR1 $$", code: -1, signal: syscall.SIGUSR1},
	} {
		r := bed.Start(t, bed.How{}, "-success", codes, "sh", "-c", test.script)
		if test.code < 0 {
			r.ExpectSignal(t, test.signal)
		} else {
			r.ExpectCode(t, test.code)
		}
	}
}

// A test of -removed-exit and what it wins over.
func TestRemovedExit(t *testing.T) {
	t.Parallel()
	const wait = "echo ready; read line"
	for _, test := range []struct {
		name    string
		options []string
		script  string
		remove  bool
		code    int // -1: death by TERM
	}{
		{"neither", nil, wait, true, -1},
		{"alone", []string{"-removed-exit", "5"}, wait, true, 5},
		{"zero", []string{"-removed-exit", "0"}, wait, true, 0},
		{"before success", []string{"-removed-exit", "5", "-success", "143"}, wait, true, 5},
		{"mapped again by nothing", []string{"-removed-exit", "5", "-success", "5"}, wait, true, 5},
		{"success alone", []string{"-success", "143"}, wait, true, 0},
		{"code of its own", []string{"-removed-exit", "5"}, "trap 'exit 9' TERM; " + wait, true, 5},
		{"not removed", []string{"-removed-exit", "5"}, "echo ready; exit 9", false, 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "p.pid")
			options := append([]string{"-pidfile", file, "-settle", "0"}, test.options...)
			r := bed.Start(t, bed.How{}, append(options, "sh", "-c", test.script)...)
			r.Expect(t, "ready")
			if test.remove {
				bed.RemoveFile(t, file)
			}
			if test.code < 0 {
				r.ExpectSignal(t, syscall.SIGTERM)
			} else {
				r.ExpectCode(t, test.code)
			}
			bed.ExpectEmptyDir(t, dir)
		})
	}
}

// Who has seen pidleash's end may start it again at once, or look for what it
// has left.
func TestFileGoneBeforeEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "p.pid")
	for i := range 200 {
		script := "test -s " + file
		if i%2 == 1 {
			script += " && kill -TERM $$"
		}
		status := ending(t, exec.Command(bed.Pidleash, "-pidfile", file, "sh", "-c", script))
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("after the end the PID file is there: %v", err)
		}
		if want := syscall.WaitStatus(i % 2 * int(syscall.SIGTERM)); status != want {
			t.Fatalf("pidleash ended by %s, want %s", bed.Describe(status), bed.Describe(want))
		}
	}
	bed.ExpectEmptyDir(t, dir)
}

// The codes of an environment that a whole unit shares.
func TestSuccessByEnvironment(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env     string
		options []string
		script  string
		want    int
	}{
		{"3,140-150", nil, "exit 3", 0},
		{"3,140-150", nil, "exit 145", 0},
		{"3,140-150", nil, "exit 4", 4},
		{"3,140-150", nil, "kill -TERM $$", 0},
		{"3", []string{"-success", "4"}, "exit 3", 3},
		{"3", []string{"-success", "4"}, "exit 4", 0},
	} {
		h := bed.How{Env: []string{"PIDLEASH_SUCCESS=" + test.env}}
		r := bed.Start(t, h, append(test.options, "sh", "-c", test.script)...)
		r.ExpectCode(t, test.want)
		r.ExpectQuiet(t)
	}
	bed.ExpectUsageError(t, []string{"PIDLEASH_SUCCESS=5-3"}, nil, `"5-3" is neither a code nor a range`)
}

// It has no meaning for a PROGRAM without a PID file, but may be set for many.
func TestRemovedExitByEnvironment(t *testing.T) {
	t.Parallel()
	h := bed.How{Env: []string{"PIDLEASH_REMOVED_EXIT=5"}}
	r := bed.Start(t, h, "sh", "-c", "exit 9")
	r.ExpectCode(t, 9)
	r.ExpectQuiet(t)

	f := bed.StartFamily(t, h, []string{"-stop", "TERM"}, "program:take")
	bed.RemoveFile(t, f.File)
	f.ExpectCode(t, 5)

	f = bed.StartFamily(t, h, []string{"-stop", "TERM", "-removed-exit", "0"}, "program:take")
	bed.RemoveFile(t, f.File)
	f.ExpectCode(t, 0)

	// Whatever it takes to stop the descendants.
	f = bed.StartFamily(t, h, bed.InMode("mixed"), "program:take", "session")
	bed.RemoveFile(t, f.File)
	f.ExpectCode(t, 5)

	// The end of a PROGRAM that was told to end is its own.
	f = bed.StartFamily(t, h, []string{"-stop", "KILL"}, "program:take")
	f.Signal(syscall.SIGTERM)
	f.ExpectCode(t, 7)
}
