package launch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
	"pidleash/internal/fault"
	"pidleash/internal/plan"
)

// helperVariable makes the test binary do what its value says, instead of the tests.
const helperVariable = "LAUNCH_HELPER"

// order is what a helper is to do: a Spec that can be sent.
type order struct {
	Become           bool // else Start
	Program          string
	Args, Env        []string // SELF in Env is the helper's PID
	Context          *plan.Context
	Ignored, Blocked atstart.SignalSet
	DeathSignal      syscall.Signal
	Inherit          []Descriptor
	Threads          bool // others are made meanwhile
}

func TestMain(m *testing.M) {
	text, isHelper := os.LookupEnv(helperVariable)
	if !isHelper {
		os.Exit(m.Run())
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	os.Exit(o.carryOut())
}

// carryOut returns the code for the helper's end.
func (o *order) carryOut() int {
	runtime.LockOSThread()
	program, err := Find(o.Program, "")
	if err != nil {
		panic(err)
	}
	if o.Context == nil {
		o.Context = &plan.Context{}
	}
	files, err := Open(o.Context)
	if err != nil {
		panic(err)
	}
	for i := range o.Env {
		o.Env[i] = strings.ReplaceAll(o.Env[i], "SELF", pidText(os.Getpid()))
	}
	s := &Spec{
		Program: program, Args: o.Args, Env: o.Env, Context: o.Context, Files: files,
		Ignored: o.Ignored, Blocked: o.Blocked, DeathSignal: o.DeathSignal, Inherit: o.Inherit,
	}
	if o.Become {
		if o.Threads {
			makeThreads()
		}
		err = Become(s)
		fmt.Fprintf(os.Stderr, "%v|%s|%d\n", err, fault.Hint(err), fault.Code(err))
		return fault.Code(err)
	}
	pid, err := Start(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return fault.Code(err)
	}
	if o.DeathSignal != 0 { // the program must outlive nobody
		return 0
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		panic(err)
	}
	return status.ExitStatus()
}

// makeThreads makes threads without end: the Go runtime ends one with its goroutine.
func makeThreads() {
	for range 4 {
		go func() {
			for {
				done := make(chan struct{})
				go func() {
					runtime.LockOSThread()
					close(done)
				}()
				<-done
			}
		}()
	}
}

// helper is a command that carries the order out.
func helper(t *testing.T, o order) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperVariable+"="+string(text))
	return cmd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shellSpec runs a script, without anything else.
func shellSpec(script string) *Spec {
	return &Spec{Program: Shell(), Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

// startLocked calls Start as it must be: locked to a thread.
func startLocked(s *Spec) (pid int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return Start(s)
}

func wait(t *testing.T, pid int) syscall.WaitStatus {
	t.Helper()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if err != syscall.EINTR {
			must(t, err)
			return status
		}
	}
}

// output starts the program with a pipe as its standard output, waits for it, and returns its
// PID and what it has written.
func output(t *testing.T, s *Spec) (pid int, text string) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	s.Files = &Files{Stdio: [3]int{asFound, int(w.Fd()), asFound}}
	pid, err = startLocked(s)
	w.Close()
	must(t, err)
	var buffer bytes.Buffer
	_, err = buffer.ReadFrom(r)
	must(t, err)
	if status := wait(t, pid); status != 0 {
		t.Errorf("%q has ended with %#x", s.Args, status)
	}
	return pid, strings.TrimSuffix(buffer.String(), "\n")
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// expectFault compares all that a message is made of.
func expectFault(t *testing.T, err error, want fault.Error) {
	t.Helper()
	var got *fault.Error
	if !errors.As(err, &got) {
		t.Fatalf("got %v, which is no fault", err)
	}
	if got.Object != want.Object || got.Problem != want.Problem || !errors.Is(got.Err, want.Err) || got.Hint != want.Hint || got.Code != want.Code {
		t.Errorf("got %+v\nwant %+v", *got, want)
	}
}

// write makes a file with its directories.
func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), mode))
	must(t, os.Chmod(path, mode))
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return string(content)
}

// names lists the directory, hidden files included.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// field is a line's value in a file of /proc.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, is := strings.CutPrefix(line, name+":"); is {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// openDescriptors counts those of this process.
func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func pidText(pid int) string { return strconv.Itoa(pid) }

// noChildren reports that nobody is left to be waited for.
func noChildren() bool {
	_, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
	return err == unix.ECHILD
}
