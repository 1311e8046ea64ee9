package faults

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// withStderr runs pidleash with the write end of a pipe as its standard error.
func withStderr(write *os.File) bed.How {
	return bed.How{
		Before: []string{"sh", "-c", `exec "$@" 2>&3 3>&-`, "sh"},
		Extra:  []*os.File{write},
	}
}

// fullPipe is a pipe with no room left.
func fullPipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write = bed.NewPipe(t)
	t.Cleanup(func() {
		read.Close()
		write.Close()
	})
	// A write to a pipe blocks while os.File waits in another way: by number.
	fd := int(write.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 65536); len(block) > 0; {
		switch _, err := unix.Write(fd, block); err {
		case nil:
		case unix.EAGAIN:
			block = block[:len(block)/2]
		default:
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return read, write
}

// A reader who has stopped reading delays nobody: a message is written for every
// signal here, more than any queue holds.
func TestStderrFull(t *testing.T) {
	t.Parallel()
	_, write := fullPipe(t)
	dir := t.TempDir()
	p := bed.StartTeller(t, withStderr(write), bed.ForEver, "-pidfile", filepath.Join(dir, "p.pid"), "-log-level", "trace")
	for range 12 {
		p.RoundTrips(t)
	}
	p.Finish(t)
	bed.ExpectEmptyDir(t, dir)
}

// The same with a removal: its warning cannot be written either.
func TestStderrFullRemoval(t *testing.T) {
	t.Parallel()
	_, write := fullPipe(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "p.pid")
	p := bed.StartTeller(t, withStderr(write), bed.ForEver, "-pidfile", file, "-settle", "0", "-stop", "TERM/0/KILL")
	bed.RemoveFile(t, file)
	p.ExpectSignal(t, syscall.SIGKILL)
	bed.ExpectEmptyDir(t, dir)
}

// In the background too, where the caller's standard error is left at "up": what was logged before still reaches it.
func TestStderrFullInBackground(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	read, write := fullPipe(t)
	a.How.Before, a.How.Extra = withStderr(write).Before, withStderr(write).Extra
	a.Options = []string{"-log-level", "debug"}
	a.Start(t, bed.StartModes[2]).ExpectCode(t, 0)
	write.Close()
	text, err := io.ReadAll(read) // the watchdog lets go of it
	bed.Must(t, err)
	lines := strings.TrimLeft(string(text), "\x00")
	for _, message := range []string{"claimed", "launched"} {
		if !strings.Contains(lines, message) {
			t.Errorf("standard error has %q, without %q", lines, message)
		}
	}
	a.Leave(t)
}

// A reader who went away ends neither pidleash nor PROGRAM: SIGPIPE is about
// pidleash's own writing.
func TestStderrWithoutReader(t *testing.T) {
	t.Parallel()
	read, write := bed.NewPipe(t)
	read.Close()
	defer write.Close()
	p := bed.StartTeller(t, withStderr(write), bed.ForEver, "-log-level", "trace")
	p.RoundTrips(t)
	p.Signal(syscall.SIGPIPE)
	p.RoundTrips(t)
	p.Finish(t)
}
