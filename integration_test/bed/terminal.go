package bed

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A Console is a terminal with somebody in front of it. It neither echoes nor
// translates anything: what is read from it is what programs have written.
type Console struct {
	T      *testing.T
	Cmd    *exec.Cmd
	Master *os.File
	done   chan struct{}

	Mu     sync.Mutex
	Screen []byte
	more   chan struct{} // there is more on the screen; closed when that is all
	silent chan struct{} // closed then, too
	Seen   int           // how much of the screen was expected
}

// NewConsole starts a command as the leader of a session on a new terminal.
func NewConsole(t *testing.T, env []string, words ...string) *Console {
	t.Helper()
	master, slave, err := pty.Open()
	Must(t, err)
	Must(t, plain(slave))
	Must(t, pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 80}))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), env...)
	return StartOn(t, cmd, master, slave)
}

// StartOn starts a command on a terminal that is there.
func StartOn(t *testing.T, cmd *exec.Cmd, master, slave *os.File) *Console {
	t.Helper()
	master = pollable(t, master)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	slave.Close()
	Must(t, err)
	c := &Console{T: t, Cmd: cmd, Master: master, done: make(chan struct{}), more: make(chan struct{}, 1), silent: make(chan struct{})}
	go c.read()
	go func() {
		cmd.Wait() // its error is in the status
		close(c.done)
	}()
	t.Cleanup(c.end)
	return c
}

// pollable makes a file that can be closed while it is read: otherwise the
// terminal would never hang up.
func pollable(t *testing.T, file *os.File) *os.File {
	t.Helper()
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	Must(t, err)
	Must(t, unix.SetNonblock(fd, true))
	return os.NewFile(uintptr(fd), file.Name())
}

// Resize gives the terminal another size, as a window does.
func (c *Console) Resize(rows, cols uint16) {
	c.T.Helper()
	conn, err := c.Master.SyscallConn() // Fd would make it block again
	Must(c.T, err)
	var failed error
	Must(c.T, conn.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}))
	Must(c.T, failed)
}

// plain turns off echo and the translation of line ends.
func plain(tty *os.File) error {
	mode, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	mode.Lflag &^= unix.ECHO
	mode.Oflag &^= unix.ONLCR
	return unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, mode)
}

func (c *Console) read() {
	defer close(c.more)
	defer close(c.silent)
	var buffer [4096]byte
	for {
		n, err := c.Master.Read(buffer[:])
		c.Mu.Lock()
		c.Screen = append(c.Screen, buffer[:n]...)
		c.Mu.Unlock()
		if err != nil { // EIO: nobody has the other side open any more
			return
		}
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
}

// end leaves no process behind: not the session, and not those that have left
// the tree when their parents ended, which read from a terminal that is gone.
func (c *Console) end() {
	family := append(Descendants(c.Cmd.Process.Pid), c.Cmd.Process.Pid)
	for _, pid := range family {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	c.Master.Close()
	<-c.done
}

// Types is what the person in front of it types.
func (c *Console) Types(text string) {
	c.T.Helper()
	_, err := c.Master.WriteString(text)
	Must(c.T, err)
}

const (
	CtrlC         = "\x03"
	CtrlD         = "\x04"
	CtrlZ         = "\x1a"
	CtrlBackslash = "\x1c"
)

// Expect waits until the pattern is on the screen, behind what was expected
// before, and returns its groups.
func (c *Console) Expect(pattern string) []string {
	c.T.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(Patience)
	for open := true; ; {
		if groups := c.find(re); groups != nil {
			return groups
		}
		if !open {
			c.T.Fatalf("at the end the screen has %q, and no %s", c.All(), pattern)
		}
		select {
		case _, open = <-c.more:
		case <-timeout:
			c.T.Fatalf("the screen has %q, and then no %s", c.All(), pattern)
		}
	}
}

func (c *Console) find(re *regexp.Regexp) []string {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	at := re.FindSubmatchIndex(c.Screen[c.Seen:])
	if at == nil {
		return nil
	}
	groups := re.FindStringSubmatch(string(c.Screen[c.Seen:]))
	c.Seen += at[1]
	return groups
}

// All is what has been on the screen so far.
func (c *Console) All() string {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	return string(c.Screen)
}

// Wait returns how the session's leader ended, when everything is on the screen.
func (c *Console) Wait() syscall.WaitStatus {
	c.T.Helper()
	timeout := time.After(Patience)
	for _, end := range []chan struct{}{c.done, c.silent} {
		select {
		case <-end:
		case <-timeout:
			c.T.Fatalf("the session has not ended: %q", c.All())
		}
	}
	return c.Cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// A Shell is an interactive bash on a console. Its variable W is the way to run
// a program: jobs are shown as they were typed, so that transcripts with and
// without pidleash can be compared.
type Shell struct {
	*Console
	Dir     string
	Wrapped bool
}

// ShellPrompt is what the shell shows when it waits for a line.
const ShellPrompt = `ready> `

// NewShell starts bash with W as the wrapper, in which DIR is the shell's directory, and T as
// the program of terminal.c.
func NewShell(t *testing.T, wrapper string) *Shell {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		Missing(t, "%v", err)
	}
	dir := OpenDir(t)
	s := &Shell{Dir: dir, Wrapped: wrapper != ""}
	s.Console = NewConsole(t, []string{
		"W=" + strings.ReplaceAll(wrapper, "DIR", dir), "T=" + CompileC(t, "terminal.c"), "DIR=" + dir,
		"PS1=" + ShellPrompt, "TERM=xterm", "LESS=", "HISTFILE=", "INPUTRC=/dev/null", "LC_ALL=C",
	}, bash, "--norc", "--noprofile", "--noediting", "-i")
	s.Expect(ShellPrompt)
	// No core dumps: their messages depend on the machine.
	s.Does("ulimit -c 0")
	return s
}

// Does runs a command line in the shell up to the next prompt.
func (s *Shell) Does(line string) {
	s.T.Helper()
	s.Types(line + "\n")
	s.Expect(ShellPrompt)
}

// Says runs a command line and expects the text before the next prompt.
func (s *Shell) Says(line, pattern string) {
	s.T.Helper()
	s.Types(line + "\n")
	s.Expect(pattern)
	s.Expect(ShellPrompt)
}

// Reads shows that the shell's own process group may read the terminal.
func (s *Shell) Reads() {
	s.T.Helper()
	s.Types("read x; echo \"<$x>\"\n")
	s.Types("hello\n")
	s.Expect("<hello>\n")
	s.Expect(ShellPrompt)
}

// Place is where the terminal program says it is.
type Place struct{ Pid, Parent, group int }

// Place waits until the terminal program says where it is.
func (c *Console) Place() (p Place) {
	c.T.Helper()
	g := c.Expect(`# ([0-9]+) ([0-9]+) ([0-9]+)\r?\n`)
	for i, to := range []*int{&p.Pid, &p.Parent, &p.group} {
		*to, _ = strconv.Atoi(g[i+1])
	}
	return p
}

// CleanUp ends a terminal program that has left its tree, should a test give up.
func (s *Shell) CleanUp(p Place) {
	s.T.Cleanup(func() {
		if exe, _ := os.Readlink(ProcFile(p.Pid, "exe")); exe == CompileC(s.T, "terminal.c") {
			syscall.Kill(p.Pid, syscall.SIGKILL)
		}
	})
}

// Stops types ^Z and returns at the shell's next prompt, when all of the job is
// stopped: the shell itself waits for its own children only, and others of them
// might read what is typed next.
func (s *Shell) Stops(p Place) {
	s.T.Helper()
	s.Types(CtrlZ)
	s.Expect("Stopped")
	s.Expect(ShellPrompt)
	for pid := p.Pid; pid != s.Cmd.Process.Pid; pid = ParentOf(s.T, pid) {
		Await(s.T, fmt.Sprintf("PID %d is stopped", pid), func() bool { return ProcessState(pid) == "T" })
	}
}

// InPIDNamespace makes the next program PID 1.
func InPIDNamespace(t *testing.T) []string {
	t.Helper()
	NeedRoot(t)
	unshare := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if err := exec.Command(unshare[0], append(unshare[1:], "true")...).Run(); err != nil {
		Missing(t, "%s: %v", strings.Join(unshare, " "), err)
	}
	return unshare
}
