package signals

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"pidleash/internal/atstart"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests run this binary again, as a process that signals are sent to: once as
// it is, and once linked with our entry code, as the released binary is.

// roleVariable has the role of such a process and its argument.
const roleVariable = "PIDLEASH_SIGNALS_TEST"

// roles do not return if they are not to exit with 0.
var roles = map[string]func(arg string){
	"collect": playCollect,
	"full":    playFull,
	"stop":    playStop,
	"die":     func(arg string) { Die(number(arg)) },
	"default": playDefault,
	"outlive": playOutlive,
	"program": playProgram,
	"release": playRelease,
	"settle":  playSettle,
}

func TestMain(m *testing.M) {
	role, arg, _ := strings.Cut(os.Getenv(roleVariable), " ")
	if role == "" {
		// Whoever runs the tests may ignore some of the C library's signals, which Go leaves so.
		for sig := syscall.Signal(32); sig <= 64; sig++ {
			if setAction(sig, nil)[0] == sigIgn {
				setAction(sig, byDefault)
			}
		}
		code := m.Run()
		if dir := entryDir(); dir != "" {
			os.RemoveAll(dir)
		}
		os.Exit(code)
	}
	if start := os.Getenv(startVariable); start != "" {
		startAgain(start)
	}
	roles[role](arg)
	os.Exit(0)
}

// startVariable has the signals to start with: ignored, blocked.
const startVariable = "PIDLEASH_SIGNALS_START"

// startAgain executes this binary with signals ignored and blocked.
func startAgain(start string) {
	var ignored, blocked uint64
	fmt.Sscan(start, &ignored, &blocked)
	runtime.LockOSThread()
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if ignored&(1<<(sig-1)) != 0 {
			setAction(sig, ignore)
		}
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, sigset(atstart.SignalSet(blocked)), nil)
	os.Unsetenv(startVariable)
	panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

var entryBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "signals")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "signals.test")
	build := exec.Command("go", "test", "-c", "-o", path, "-tags", "entry",
		"-ldflags", "-E pidleash/internal/atstart.entry -checklinkname=0", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

var built bool

func entryDir() string {
	if !built {
		return ""
	}
	path, _ := entryBinary()
	return filepath.Dir(path)
}

// binaries runs a test for each kind of this binary.
func binaries(t *testing.T, test func(t *testing.T, binary string)) {
	t.Run("plain", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		test(t, self)
	})
	t.Run("entry", func(t *testing.T) {
		if runtime.GOARCH != "amd64" {
			t.Skip("there is entry code for amd64 only")
		}
		built = true
		path, err := entryBinary()
		if err != nil {
			t.Fatal(err)
		}
		test(t, path)
	})
}

func hasEntry(t *testing.T) bool { return strings.Contains(t.Name(), "/entry") }

// child is a process in a role.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

func start(t *testing.T, binary, role string, signals ...uint64) *child {
	t.Helper()
	c := prepare(t, binary, role, signals...)
	c.start()
	return c
}

// prepare makes a child in a process group of its own, with signals ignored and
// blocked.
func prepare(t *testing.T, binary, role string, signals ...uint64) *child {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	if len(signals) == 2 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d %d", startVariable, signals[0], signals[1]))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	return &child{t, cmd, in, bufio.NewReader(out)}
}

func (c *child) start() {
	c.t.Helper()
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
}

// expect reads the next line.
func (c *child) expect(want string) {
	c.t.Helper()
	if got := c.line(); got != want {
		c.t.Fatalf("the child says %q, want %q", got, want)
	}
}

func (c *child) line() string {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	if err != nil {
		c.t.Fatalf("the child says %q, then %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (c *child) send(sig syscall.Signal) {
	c.t.Helper()
	if err := unix.Kill(c.cmd.Process.Pid, sig); err != nil {
		c.t.Fatal(err)
	}
}

// tell lets the child go on.
func (c *child) tell() {
	c.t.Helper()
	if _, err := c.in.Write([]byte("\n")); err != nil {
		c.t.Fatal(err)
	}
}

// told waits for it, in the child; false: the test has ended.
func told() bool {
	_, err := os.Stdin.Read(make([]byte, 1))
	return err == nil
}

// end returns how the child has ended.
func (c *child) end() syscall.WaitStatus {
	_ = c.cmd.Wait()
	return c.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func (c *child) diesBy(sig syscall.Signal) {
	c.t.Helper()
	if status := c.end(); !status.Signaled() || status.Signal() != sig {
		c.t.Errorf("status %#x, want an end by signal %d", status, sig)
	}
}

func number(text string) syscall.Signal {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return syscall.Signal(n)
}
