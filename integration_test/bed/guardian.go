package bed

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a test starts dies with its test binary, however that ends: wrappers that
// restart and watchdogs in sessions of their own, too. The binary starts itself
// twice for that:
//
//	started by go test ─pipe─► guardian, a subreaper ─► the one that runs the tests
//
// Whoever loses a parent below the guardian becomes its child, so it need not know
// anything but its descendants. They are killed when the tests' process has ended,
// which is killed when the pipe is closed, which happens when the first process ends.

// roleVariable says which of the three a process is.
const roleVariable = "LEASH_TEST_ROLE"

// again is a command that runs this binary once more, in another role.
func again(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// startGuardian is what the process that go test knows does. Its end of the pipe
// closes with it.
func startGuardian() int {
	read, write, err := os.Pipe()
	if err != nil {
		return fail("guardian", err)
	}
	defer write.Close()
	guardian := again("guardian")
	guardian.ExtraFiles = []*os.File{read}
	err = guardian.Start()
	read.Close()
	if err != nil {
		return fail("guardian", err)
	}
	if err := guardian.Wait(); err != nil && guardian.ProcessState.ExitCode() < 1 {
		return fail("guardian", err)
	}
	return guardian.ProcessState.ExitCode()
}

// guard starts the tests and returns their exit code when nobody is left.
func guard() int {
	// The parent-death signal below is about the thread that forks.
	runtime.LockOSThread()
	// ^C and timeout(1) mean the whole process group. Caught, not ignored: that
	// would be inherited.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	pipe := os.NewFile(3, "pipe")
	unix.CloseOnExec(3)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fail("guardian", err)
	}
	dir, err := os.MkdirTemp("", "pidleash-test-")
	if err != nil {
		return fail("guardian", err)
	}
	defer os.RemoveAll(dir)
	// Programs of other users run the binary, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return fail("guardian", err)
	}
	tests := again(dir)
	tests.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := tests.Start(); err != nil {
		return fail("tests", err)
	}
	go func() {
		_, _ = pipe.Read(make([]byte, 1)) // nobody writes
		_ = tests.Process.Kill()
	}()
	status := reapUntil(tests.Process.Pid)
	killDescendants()
	if status.Signaled() {
		return fail("tests", fmt.Errorf("killed by %v", status.Signal()))
	}
	return status.ExitStatus()
}

func fail(who string, err error) int {
	fmt.Fprintln(os.Stderr, who+":", err)
	return 1
}

// reapUntil waits for every child that comes, as PID 1 would, until this one ends.
func reapUntil(pid int) (status syscall.WaitStatus) {
	for {
		switch child, err := syscall.Wait4(-1, &status, 0, nil); {
		case child == pid:
			return status
		case err != nil && err != syscall.EINTR:
			return 0xff00 // the tests' process is not ours any more
		}
	}
}

// killDescendants returns when there are none. They go on forking meanwhile. The
// keeper of a systemd removes its cgroups first, for which it has some time.
func killDescendants() {
	patience := time.Now().Add(Patience)
	for {
		for _, pid := range Descendants(os.Getpid()) {
			if time.Now().After(patience) || !isKeeper(pid) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		for {
			child, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == syscall.ECHILD {
				return
			}
			if child <= 0 {
				break
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// isKeeper recognises startKeeper's process and those that clean up with it.
func isKeeper(pid int) bool {
	text, _ := os.ReadFile(ProcFile(pid, "environ"))
	return bytes.Contains(text, []byte("\x00LAB_KEEPER="))
}
