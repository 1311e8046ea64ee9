package integration

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runTimeout bounds every wait of these tests. Nothing in them takes a tenth of
// it, however busy the machine: who reaches it hangs.
const runTimeout = 30 * time.Second

// A run is one pidleash, started by a test and ended with it at the latest.
type run struct {
	cmd *exec.Cmd
	// stdin is the other end of PROGRAM's standard input. A PROGRAM that reads it
	// ends when it is closed, and so with the test's process, however that ends.
	stdin  *os.File
	pipe   *os.File
	stdout *bufio.Reader
	log    string // the file with its standard error
	done   chan struct{}
}

// how says in which surroundings a run starts; the zero value is the test's own.
type how struct {
	env    []string // in addition to the test's environment
	onlyIn []string // instead of the test's environment, if not nil
	dir    string   // the working directory
	// before is a command that becomes pidleash at its end, such as
	// {"setpriv", "--reuid=65534"}.
	before []string
	attr   *syscall.SysProcAttr
	umask  string // octal; set by a shell in front
	// file is the path of the binary, if not the one under test itself.
	file string
	// extra are descriptors 3 and up.
	extra []*os.File
}

// nobody is the unprivileged user of these tests: the one that Linux shows for
// users who have no number.
const nobody = 65534

// asNobody runs pidleash without privileges.
func asNobody() how {
	return how{attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}}
}

// start runs pidleash with args.
func start(t testing.TB, h how, args ...string) *run {
	t.Helper()
	words := append([]string{pidleash}, args...)
	if h.file != "" {
		words[0] = h.file
	}
	if h.umask != "" {
		words = append([]string{"/bin/sh", "-c", `umask "$0"; exec "$@"`, h.umask}, words...)
	}
	words = append(append([]string{}, h.before...), words...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = h.dir, h.attr, h.extra
	cmd.Env = append(os.Environ(), h.env...)
	if h.onlyIn != nil {
		cmd.Env = h.onlyIn
	}
	return launch(t, cmd)
}

// launch starts a command with pipes of the test's own.
func launch(t testing.TB, cmd *exec.Cmd) *run {
	t.Helper()
	stdin, toProgram := newPipe(t)
	fromProgram, stdout := newPipe(t)
	// A file, not a pipe: it can be read at any time, and no descendant that
	// keeps it open delays anything.
	log, err := os.CreateTemp("", "pidleash-stderr-")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, log
	r := &run{
		cmd: cmd, stdin: toProgram, pipe: fromProgram, stdout: bufio.NewReader(fromProgram),
		log: log.Name(), done: make(chan struct{}),
	}
	err = cmd.Start()
	stdin.Close()
	stdout.Close()
	log.Close()
	if err != nil {
		os.Remove(r.log)
		t.Fatal(err)
	}
	t.Cleanup(r.end)
	go func() {
		cmd.Wait() // its error is in the status
		close(r.done)
	}()
	return r
}

func newPipe(t testing.TB) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return read, write
}

// end leaves no process behind. After a test that has waited for the run there
// is nothing but descriptors to clean up.
func (r *run) end() {
	r.stdin.Close()
	r.pipe.Close()
	defer os.Remove(r.log)
	select {
	case <-r.done:
		return
	default:
	}
	family := descendants(r.cmd.Process.Pid)
	r.cmd.Process.Kill()
	for _, pid := range family {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-r.done
}

// descendants lists the children of pid and theirs.
func descendants(pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

// pid is that of pidleash, when nothing stands before it that forks.
func (r *run) pid() int { return r.cmd.Process.Pid }

// line is the next line of standard output.
func (r *run) line(t testing.TB) string {
	t.Helper()
	r.pipe.SetReadDeadline(time.Now().Add(runTimeout))
	line, err := r.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("read %q from standard output: %v\n%s", line, err, r.stderr())
	}
	return strings.TrimSuffix(line, "\n")
}

// expect fails the test unless the next line of standard output is want.
func (r *run) expect(t testing.TB, want string) {
	t.Helper()
	if line := r.line(t); line != want {
		t.Fatalf("PROGRAM wrote %q, want %q\n%s", line, want, r.stderr())
	}
}

// number is the next line of standard output, a PID.
func (r *run) number(t testing.TB) int {
	t.Helper()
	line := r.line(t)
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatalf("PROGRAM wrote %q, want a number\n%s", line, r.stderr())
	}
	return n
}

// rest is what standard output still holds until every writer has closed it.
func (r *run) rest(t testing.TB) string {
	t.Helper()
	r.pipe.SetReadDeadline(time.Now().Add(runTimeout))
	text, err := io.ReadAll(r.stdout)
	if err != nil {
		t.Fatalf("read %q from standard output: %v\n%s", text, err, r.stderr())
	}
	return string(text)
}

// tell writes a line to PROGRAM's standard input.
func (r *run) tell(t testing.TB, line string) {
	t.Helper()
	if _, err := r.stdin.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// stderr is what pidleash and PROGRAM have written to standard error so far.
func (r *run) stderr() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// signal sends sig to pidleash.
func (r *run) signal(sig syscall.Signal) {
	r.cmd.Process.Signal(sig)
}

// wait returns how pidleash ended.
func (r *run) wait(t testing.TB) syscall.WaitStatus {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(runTimeout):
		t.Fatalf("pidleash has not ended\n%s", r.stderr())
	}
	return r.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// expectCode fails the test unless pidleash exits with the code.
func (r *run) expectCode(t testing.TB, want int) {
	t.Helper()
	if status := r.wait(t); !status.Exited() || status.ExitStatus() != want {
		t.Errorf("pidleash ended by %s, want exit code %d\n%s", describe(status), want, r.stderr())
	}
}

// expectSignal fails the test unless pidleash dies by the signal.
func (r *run) expectSignal(t testing.TB, want syscall.Signal) {
	t.Helper()
	if status := r.wait(t); !status.Signaled() || status.Signal() != want {
		t.Errorf("pidleash ended by %s, want signal %d (%v)\n%s", describe(status), int(want), want, r.stderr())
	}
}

func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return fmt.Sprintf("signal %d (%v)", int(s.Signal()), s.Signal())
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}

// expectOneLine fails the test unless standard error holds exactly one line, and
// that one matches the pattern.
func (r *run) expectOneLine(t testing.TB, pattern string) {
	t.Helper()
	text := r.stderr()
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "pidleash: ") {
		t.Errorf("standard error has %q, want one line of pidleash", text)
	}
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("standard error has %q, want a match of %q", text, pattern)
	}
}

// expectQuiet fails the test if anything was written to standard error.
func (r *run) expectQuiet(t testing.TB) {
	t.Helper()
	if text := r.stderr(); text != "" {
		t.Errorf("standard error has %q, want nothing", text)
	}
}

// await returns when the condition holds, for what gives no handshake.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(runTimeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("has not happened: %s", what)
		}
	}
}

// awaitStderr returns when standard error matches the pattern.
func (r *run) awaitStderr(t testing.TB, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	await(t, "standard error matches "+pattern, func() bool { return re.MatchString(r.stderr()) })
}

// gone reports that no process has the PID, not even as a zombie.
func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// openDir makes a directory that every user may enter and write to.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pidleash-run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// needRoot skips the test where it may not change users or mounts.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "needs root")
	}
}

// writeFile writes a file whose mode the umask does not touch.
func writeFile(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	// A child that is forked meanwhile would hold the descriptor until its
	// execve, and an execve of this file would fail with ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// readFile returns a file's text.
func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// expectEmptyDir fails the test unless nothing, hidden or not, is in the
// directory.
func expectEmptyDir(t testing.TB, dir string) {
	t.Helper()
	expectFiles(t, dir)
}

// expectFiles fails the test unless the directory has these files and no other.
func expectFiles(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("%s has %q, want %q", dir, have, want)
	}
}
