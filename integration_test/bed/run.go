package bed

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PlainProgram runs without pidleash.
func PlainProgram(t testing.TB) (pid int) {
	t.Helper()
	return Launch(t, exec.Command(CompileC(t, "first.c"), "hold")).Number(t)
}

// A Run is one pidleash, started by a test and ended with it at the latest.
type Run struct {
	Cmd *exec.Cmd
	// stdin is the other end of PROGRAM's standard input. A PROGRAM that reads it
	// ends when it is closed, and so with the test's process, however that ends.
	Stdin  *os.File
	Pipe   *os.File
	stdout *bufio.Reader
	Log    string // the file with its standard error
	Done   chan struct{}
}

// How is the context in which a run starts; the zero value is the test's own.
type How struct {
	Env    []string // in addition to the test's environment
	OnlyIn []string // instead of the test's environment, if not nil
	Dir    string   // the working directory
	// before is a command that becomes pidleash at its end, such as
	// {"setpriv", "--reuid=65534"}.
	Before []string
	Attr   *syscall.SysProcAttr
	Umask  string // octal; set by a shell in front
	// file is the path of the binary, if not the one under test itself.
	File string
	// extra are descriptors 3 and up.
	Extra []*os.File
}

// Start runs pidleash with args.
func Start(t testing.TB, h How, args ...string) *Run {
	t.Helper()
	words := append([]string{Pidleash}, args...)
	if h.File != "" {
		words[0] = h.File
	}
	if h.Umask != "" {
		words = append([]string{"/bin/sh", "-c", `umask "$0"; exec "$@"`, h.Umask}, words...)
	}
	words = append(append([]string{}, h.Before...), words...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = h.Dir, h.Attr, h.Extra
	cmd.Env = append(os.Environ(), h.Env...)
	if h.OnlyIn != nil {
		cmd.Env = h.OnlyIn
	}
	return Launch(t, cmd)
}

// Launch starts a command with pipes of the test's own.
func Launch(t testing.TB, cmd *exec.Cmd) *Run {
	t.Helper()
	stdin, toProgram := NewPipe(t)
	fromProgram, stdout := NewPipe(t)
	// A file, not a pipe: it can be read at any time, and no descendant that
	// keeps it open delays anything.
	log, err := os.CreateTemp("", "pidleash-stderr-")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, log
	r := &Run{
		Cmd: cmd, Stdin: toProgram, Pipe: fromProgram, stdout: bufio.NewReader(fromProgram),
		Log: log.Name(), Done: make(chan struct{}),
	}
	err = cmd.Start()
	stdin.Close()
	stdout.Close()
	log.Close()
	if err != nil {
		os.Remove(r.Log)
		t.Fatal(err)
	}
	t.Cleanup(r.End)
	go func() {
		cmd.Wait() // its error is in the status
		close(r.Done)
	}()
	return r
}

// NewPipe is os.Pipe, or the end of the test.
func NewPipe(t testing.TB) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return read, write
}

// End leaves no process behind. After a test that has waited for the run there
// is nothing but descriptors to clean up.
func (r *Run) End() {
	r.Stdin.Close()
	r.Pipe.Close()
	defer os.Remove(r.Log)
	select {
	case <-r.Done:
		return
	default:
	}
	family := Descendants(r.Cmd.Process.Pid)
	r.Cmd.Process.Kill()
	for _, pid := range family {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-r.Done
}

// PID is that of pidleash, when nothing stands before it that forks.
func (r *Run) PID() int { return r.Cmd.Process.Pid }

// Line is the next line of standard output.
func (r *Run) Line(t testing.TB) string {
	t.Helper()
	r.Pipe.SetReadDeadline(time.Now().Add(Patience))
	line, err := r.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("read %q from standard output: %v\n%s", line, err, r.Stderr())
	}
	return strings.TrimSuffix(line, "\n")
}

// Expect fails the test unless the next line of standard output is want.
func (r *Run) Expect(t testing.TB, want string) {
	t.Helper()
	if line := r.Line(t); line != want {
		t.Fatalf("PROGRAM wrote %q, want %q\n%s", line, want, r.Stderr())
	}
}

// Number is the next line of standard output, a PID.
func (r *Run) Number(t testing.TB) int {
	t.Helper()
	line := r.Line(t)
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatalf("PROGRAM wrote %q, want a number\n%s", line, r.Stderr())
	}
	return n
}

// Rest is what standard output still holds until every writer has closed it.
func (r *Run) Rest(t testing.TB) string {
	t.Helper()
	r.Pipe.SetReadDeadline(time.Now().Add(Patience))
	text, err := io.ReadAll(r.stdout)
	if err != nil {
		t.Fatalf("read %q from standard output: %v\n%s", text, err, r.Stderr())
	}
	return string(text)
}

// Tell writes a line to PROGRAM's standard input.
func (r *Run) Tell(t testing.TB, line string) {
	t.Helper()
	if _, err := r.Stdin.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// Stderr is what pidleash and PROGRAM have written to standard error so far.
func (r *Run) Stderr() string {
	text, err := os.ReadFile(r.Log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Signal sends sig to pidleash.
func (r *Run) Signal(sig syscall.Signal) {
	r.Cmd.Process.Signal(sig)
}

// Wait returns how pidleash ended.
func (r *Run) Wait(t testing.TB) syscall.WaitStatus {
	t.Helper()
	select {
	case <-r.Done:
	case <-time.After(Patience):
		t.Fatalf("pidleash has not ended\n%s", r.Stderr())
	}
	return r.Cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// ExpectCode fails the test unless pidleash exits with the code.
func (r *Run) ExpectCode(t testing.TB, want int) {
	t.Helper()
	if status := r.Wait(t); !status.Exited() || status.ExitStatus() != want {
		t.Errorf("pidleash ended by %s, want exit code %d\n%s", Describe(status), want, r.Stderr())
	}
}

// ExpectSignal fails the test unless pidleash dies by the signal.
func (r *Run) ExpectSignal(t testing.TB, want syscall.Signal) {
	t.Helper()
	if status := r.Wait(t); !status.Signaled() || status.Signal() != want {
		t.Errorf("pidleash ended by %s, want signal %d (%v)\n%s", Describe(status), int(want), want, r.Stderr())
	}
}

// Describe says how a process has ended.
func Describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return fmt.Sprintf("signal %d (%v)", int(s.Signal()), s.Signal())
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}

// ExpectOneLine fails the test unless standard error holds exactly one line, and
// that one matches the pattern.
func (r *Run) ExpectOneLine(t testing.TB, pattern string) {
	t.Helper()
	text := r.Stderr()
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "pidleash: ") {
		t.Errorf("standard error has %q, want one line of pidleash", text)
	}
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("standard error has %q, want a match of %q", text, pattern)
	}
}

// ExpectQuiet fails the test if anything was written to standard error.
func (r *Run) ExpectQuiet(t testing.TB) {
	t.Helper()
	if text := r.Stderr(); text != "" {
		t.Errorf("standard error has %q, want nothing", text)
	}
}

// AwaitStderr returns when standard error matches the pattern.
func (r *Run) AwaitStderr(t testing.TB, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	Await(t, "standard error matches "+pattern, func() bool { return re.MatchString(r.Stderr()) })
}

// Leashed starts a PROGRAM that lives until its standard input ends or TERM
// comes. It returns when PROGRAM runs.
func Leashed(t testing.TB, h How, args ...string) (r *Run, program int) {
	t.Helper()
	r = Start(t, h, append(args, CompileC(t, "first.c"), "hold")...)
	return r, r.Number(t)
}

// Warnings counts the lines of standard error with the text.
func (r *Run) Warnings(text string) int { return strings.Count(r.Stderr(), text) }

// Obey gives an order and waits for the answer.
func (r *Run) Obey(t testing.TB, order, answer string) {
	t.Helper()
	r.Tell(t, order)
	r.Expect(t, answer)
}
