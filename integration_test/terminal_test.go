package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// A console is a terminal with somebody in front of it. It neither echoes nor
// translates anything: what is read from it is what programs have written.
type console struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	done   chan struct{}

	mu     sync.Mutex
	screen []byte
	more   chan struct{} // there is more on the screen; closed when that is all
	silent chan struct{} // closed then, too
	seen   int           // how much of the screen was expected
}

// newConsole starts a command as the leader of a session on a new terminal.
func newConsole(t *testing.T, env []string, words ...string) *console {
	t.Helper()
	master, slave, err := pty.Open()
	must(t, err)
	must(t, plain(slave))
	must(t, pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 80}))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), env...)
	return startOn(t, cmd, master, slave)
}

func startOn(t *testing.T, cmd *exec.Cmd, master, slave *os.File) *console {
	t.Helper()
	master = pollable(t, master)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	slave.Close()
	must(t, err)
	c := &console{t: t, cmd: cmd, master: master, done: make(chan struct{}), more: make(chan struct{}, 1), silent: make(chan struct{})}
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
	must(t, err)
	must(t, unix.SetNonblock(fd, true))
	return os.NewFile(uintptr(fd), file.Name())
}

// resize gives the terminal another size, as a window does.
func (c *console) resize(rows, cols uint16) {
	c.t.Helper()
	conn, err := c.master.SyscallConn() // Fd would make it block again
	must(c.t, err)
	var failed error
	must(c.t, conn.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}))
	must(c.t, failed)
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

func (c *console) read() {
	defer close(c.more)
	defer close(c.silent)
	var buffer [4096]byte
	for {
		n, err := c.master.Read(buffer[:])
		c.mu.Lock()
		c.screen = append(c.screen, buffer[:n]...)
		c.mu.Unlock()
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
func (c *console) end() {
	family := append(descendants(c.cmd.Process.Pid), c.cmd.Process.Pid)
	for _, pid := range family {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	c.master.Close()
	<-c.done
}

// types is what the person in front of it types.
func (c *console) types(text string) {
	c.t.Helper()
	_, err := c.master.WriteString(text)
	must(c.t, err)
}

const (
	ctrlC         = "\x03"
	ctrlD         = "\x04"
	ctrlZ         = "\x1a"
	ctrlBackslash = "\x1c"
)

// expect waits until the pattern is on the screen, behind what was expected
// before, and returns its groups.
func (c *console) expect(pattern string) []string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(runTimeout)
	for open := true; ; {
		if groups := c.find(re); groups != nil {
			return groups
		}
		if !open {
			c.t.Fatalf("at the end the screen has %q, and no %s", c.all(), pattern)
		}
		select {
		case _, open = <-c.more:
		case <-timeout:
			c.t.Fatalf("the screen has %q, and then no %s", c.all(), pattern)
		}
	}
}

func (c *console) find(re *regexp.Regexp) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := re.FindSubmatchIndex(c.screen[c.seen:])
	if at == nil {
		return nil
	}
	groups := re.FindStringSubmatch(string(c.screen[c.seen:]))
	c.seen += at[1]
	return groups
}

func (c *console) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.screen)
}

// transcript is the screen without what differs from run to run.
func (c *console) transcript() string {
	text := regexp.MustCompile(`# [^\n]*\n`).ReplaceAllString(c.all(), "")
	return regexp.MustCompile(`(?m)^(\[[0-9]+\]\+?) [0-9]+\b`).ReplaceAllString(text, "$1 PID")
}

// wait returns how the session's leader ended, when everything is on the screen.
func (c *console) wait() syscall.WaitStatus {
	c.t.Helper()
	timeout := time.After(runTimeout)
	for _, end := range []chan struct{}{c.done, c.silent} {
		select {
		case <-end:
		case <-timeout:
			c.t.Fatalf("the session has not ended: %q", c.all())
		}
	}
	return c.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// terminalProgram is the path of the program in testdata/terminal.c.
func terminalProgram(t testing.TB) string { return compiled(t, "terminal") }

// compiled returns the path of a static program of testdata, beside the binary
// under test, where it is removed with it.
func compiled(t testing.TB, name string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		missing(t, "%v", err)
	}
	compiledOnce.Lock()
	defer compiledOnce.Unlock()
	path := filepath.Join(filepath.Dir(pidleash), name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	gcc := exec.Command("gcc", "-static", "-O", "-Wall", "-Wextra", "-o", path, filepath.Join("testdata", name+".c"))
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", gcc, err, out)
	}
	return path
}

var compiledOnce sync.Mutex

// A shell is an interactive bash on a console. Its variable W is the way to run
// a program: jobs are shown as they were typed, so that transcripts with and
// without pidleash can be compared.
type shell struct {
	*console
	dir     string
	wrapped bool
}

const shellPrompt = `ready> `

func newShell(t *testing.T, wrapper string) *shell {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		missing(t, "%v", err)
	}
	dir := openDir(t)
	s := &shell{dir: dir, wrapped: wrapper != ""}
	s.console = newConsole(t, []string{
		"W=" + strings.ReplaceAll(wrapper, "DIR", dir), "T=" + terminalProgram(t), "DIR=" + dir,
		"PS1=" + shellPrompt, "TERM=xterm", "LESS=", "HISTFILE=", "INPUTRC=/dev/null", "LC_ALL=C",
	}, bash, "--norc", "--noprofile", "--noediting", "-i")
	s.expect(shellPrompt)
	// No core dumps: their messages depend on the machine.
	s.does("ulimit -c 0")
	return s
}

// does runs a command line in the shell up to the next prompt.
func (s *shell) does(line string) {
	s.t.Helper()
	s.types(line + "\n")
	s.expect(shellPrompt)
}

// says runs a command line and expects the text before the next prompt.
func (s *shell) says(line, pattern string) {
	s.t.Helper()
	s.types(line + "\n")
	s.expect(pattern)
	s.expect(shellPrompt)
}

// reads shows that the shell's own process group may read the terminal.
func (s *shell) reads() {
	s.t.Helper()
	s.types("read x; echo \"<$x>\"\n")
	s.types("hello\n")
	s.expect("<hello>\n")
	s.expect(shellPrompt)
}

// place is where the terminal program says it is.
type place struct{ pid, parent, group int }

func (c *console) place() (p place) {
	c.t.Helper()
	g := c.expect(`# ([0-9]+) ([0-9]+) ([0-9]+)\r?\n`)
	for i, to := range []*int{&p.pid, &p.parent, &p.group} {
		*to, _ = strconv.Atoi(g[i+1])
	}
	return p
}

// begins starts the terminal program in the shell, in the foreground.
func (s *shell) begins(line string) place {
	s.t.Helper()
	s.types(line + "\n")
	p := s.place()
	s.expect("foreground\n")
	return p
}

// cleanUp ends a terminal program that has left its tree, should a test give up.
func (s *shell) cleanUp(p place) {
	s.t.Cleanup(func() {
		if exe, _ := os.Readlink(procFile(p.pid, "exe")); exe == terminalProgram(s.t) {
			syscall.Kill(p.pid, syscall.SIGKILL)
		}
	})
}

// settled returns when pidleash, if there is one, has handled all that it was
// sent before: no second ^C is on its way then. Pending signals come in the order
// of their numbers, and each of these is higher than those of the terminal that
// come the same way: some are Go's, some are read from a descriptor.
func (s *shell) settled(p place) {
	s.t.Helper()
	for range 3 {
		outermost := p.pid
		for up := p.parent; up != s.cmd.Process.Pid; up = parentOf(s.t, up) {
			outermost = up
		}
		for _, sig := range []syscall.Signal{syscall.SIGTERM, 63} {
			must(s.t, syscall.Kill(outermost, sig))
			s.expect("# settled\n")
		}
	}
}

// stops types ^Z and returns at the shell's next prompt, when all of the job is
// stopped: the shell itself waits for its own children only, and others of them
// might read what is typed next.
func (s *shell) stops(p place) {
	s.t.Helper()
	s.types(ctrlZ)
	s.expect("Stopped")
	s.expect(shellPrompt)
	for pid := p.pid; pid != s.cmd.Process.Pid; pid = parentOf(s.t, pid) {
		await(s.t, fmt.Sprintf("PID %d is stopped", pid), func() bool { return stateOf(s.t, pid) == 'T' })
	}
}

func stateOf(t testing.TB, pid int) byte {
	t.Helper()
	stat := readFile(t, procFile(pid, "stat"))
	return stat[strings.LastIndexByte(stat, ')')+2]
}

func parentOf(t testing.TB, pid int) (parent int) {
	t.Helper()
	stat := readFile(t, procFile(pid, "stat"))
	_, err := fmt.Sscanf(stat[strings.LastIndexByte(stat, ')')+4:], "%d", &parent)
	must(t, err)
	return parent
}

var wrappers = map[string]string{
	"wrapped":    `PIDLEASH -pidfile DIR/p.pid`,
	"same group": `PIDLEASH -same-group -pidfile DIR/p.pid`,
	"twice":      `PIDLEASH PIDLEASH -pidfile DIR/p.pid`,
}

// sameDialogue has the same dialogue with a shell without pidleash, and with
// it in each of its ways, and compares what was on the screen.
func sameDialogue(t *testing.T, dialogue func(s *shell)) {
	t.Helper()
	bare := newShell(t, "")
	dialogue(bare)
	want := bare.transcript()
	for name, wrapper := range wrappers {
		t.Run(name, func(t *testing.T) {
			s := newShell(t, strings.ReplaceAll(wrapper, "PIDLEASH", pidleash))
			dialogue(s)
			if got := s.transcript(); got != want {
				t.Errorf("the screen has\n%s\nand without pidleash\n%s", got, want)
			}
			expectEmptyDir(t, s.dir)
		})
	}
}

func TestTerminalInterrupt(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		p := s.begins("$W $T talk")
		for _, k := range [][2]string{{ctrlC, "got INT\n"}, {ctrlBackslash, "got QUIT\n"}} {
			s.types(k[0])
			s.expect(k[1])
			s.settled(p)
		}
		s.says("end 5", "")
		s.says("echo $?", "5")
	})
}

// What a default action does: PROGRAM and pidleash die, the shell says of which
// signal.
func TestTerminalKeysKill(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		for _, key := range []string{ctrlC, ctrlBackslash} {
			s.types("$W sh -c 'echo ready; read x'\n")
			s.expect("ready\n")
			s.types(key)
			s.expect(shellPrompt)
			s.says("echo $?", "1[0-9]+\n")
		}
	})
}

func TestTerminalSuspend(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		p := s.begins("$W $T talk")
		for range 3 {
			s.stops(p)
			s.says("jobs", "Stopped")
			s.types("fg\n")
			s.expect("T talk\n")
			s.types("place\n")
			s.expect("foreground\n")
			s.types("hello\n")
			s.expect("read hello\n")
		}
		s.types("suspend\n")
		s.expect(shellPrompt)
		s.types("fg\n")
		s.types("hello\n")
		s.expect("read hello\n")
		s.says("end 5", "")
		s.says("echo $?", "5\n")
		s.says("jobs", "")
	})
}

func TestTerminalBackground(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		s.stops(s.begins("$W $T talk"))
		s.says("bg", "T talk &\n")
		// It reads again, and is stopped for that.
		s.awaitJob("Stopped .tty input")
		s.types("fg\n")
		s.expect("T talk\n")
		s.types("hello\n")
		s.expect("read hello\n")
		s.says("end 5", "")
		s.says("echo $?", "5\n")
	})
}

// awaitJob returns when the shell's only job looks like that. When the shell
// tells of it by itself is by chance: the transcript begins anew.
func (s *shell) awaitJob(pattern string) {
	s.t.Helper()
	re := regexp.MustCompile(`\[1\]\+ +([0-9]+ )?` + pattern)
	await(s.t, "jobs shows "+pattern, func() bool {
		s.types("jobs -l; echo looked\n")
		s.expect("looked\n")
		s.expect(shellPrompt)
		return re.MatchString(s.forget())
	})
}

// forget begins the transcript anew, after what was expected so far, and
// returns what it had.
func (s *shell) forget() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := string(s.screen[:s.seen])
	s.screen, s.seen = s.screen[s.seen:], 0
	return before
}

// A start in the background does not steal the terminal: the shell reads on.
func TestTerminalBackgroundStart(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		s.types("$W $T talk &\n")
		s.place()
		s.expect("background\n")
		s.awaitJob("Stopped .tty input")
		s.says("echo free", "free\n")
		s.types("fg\n")
		s.expect("T talk\n")
		s.types("place\n")
		s.place()
		s.expect("foreground\n")
		s.says("end 5", "")
	})
}

// A job in the background may write, unless the terminal says otherwise.
func TestTerminalBackgroundOutput(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		s.says("$W echo hello & wait; echo looked", "looked\n")
		if hello := s.forget(); !strings.Contains(hello, "hello\n") {
			s.t.Errorf("the screen has %q, and no hello", hello)
		}
		s.does("stty tostop")
		s.does("$W echo hello &")
		s.awaitJob("Stopped .tty output")
		s.says("fg", "hello\n")
		s.says("echo $?", "0\n")
	})
}

// WINCH comes to the foreground group, from the terminal.
func TestTerminalResize(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		p := s.begins("$W $T talk")
		for rows := uint16(30); rows < 33; rows++ {
			s.resize(rows, 100)
			s.expect("got WINCH\n")
			s.settled(p)
			s.types("size\n")
			s.expect(fmt.Sprintf("size %d 100\n", rows))
		}
		s.says("end 5", "")
	})
}

// The terminal goes back to the shell, however PROGRAM ended.
func TestTerminalGoesBack(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			sameDialogue(t, func(s *shell) {
				s.types("$W sh -c 'echo \"# $$ 0 0\"; echo foreground; read x'\n")
				p := s.place()
				s.expect("foreground\n")
				must(s.t, syscall.Kill(p.pid, sig))
				s.expect(shellPrompt)
				s.says("echo $?", "1[0-9]+\n")
				s.reads()
			})
		})
	}
}

// A PROGRAM that is killed leaves its own foreground job behind.
func TestTerminalGoesBackFromAJob(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		s.types("$W bash --norc --noprofile --noediting -i\n")
		s.expect(shellPrompt)
		s.types("$T idle\n")
		p := s.place()
		s.cleanUp(p)
		s.expect("foreground\n")
		must(s.t, syscall.Kill(p.parent, syscall.SIGKILL))
		s.expect("Killed")
		s.expect(shellPrompt)
		s.reads()
		syscall.Kill(p.pid, syscall.SIGKILL)
		await(s.t, "the job has ended", func() bool { return dead(p.pid) })
	})
}

// An interactive shell behind pidleash has job control of its own.
func TestTerminalShell(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		for _, inner := range []string{"$W bash --norc --noprofile --noediting -i", "exec $W bash --norc --noprofile --noediting -i"} {
			s.does(inner)
			s.begins("$T talk")
			s.types(ctrlZ)
			s.expect("Stopped")
			s.expect(shellPrompt)
			s.types("fg\n")
			s.types("hello\n")
			s.expect("read hello\n")
			s.types(ctrlC)
			s.expect("got INT\n")
			s.says("end 5", "")
			if inner[0] == '$' {
				s.says("suspend", "Stopped")
				s.says("fg", "bash")
				s.says("exit 3", "")
				s.says("echo $?", "3\n")
			}
		}
		s.types("exit 4\n")
		if status := s.wait(); status.ExitStatus() != 4 {
			s.t.Errorf("the session ended by %s, want exit code 4", describe(status))
		}
	})
}

// The other programs of a pipeline are in pidleash's own process group.
func TestTerminalPipeline(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		s.types("$W sed -u s/a/b/ | sed -u s/c/d/\n")
		s.types("ac\n")
		s.expect("bd\n")
		s.types(ctrlD)
		s.expect(shellPrompt)
		s.says("echo ac | $W sed s/a/b/ | sed s/c/d/", "bd\n")
		s.says("echo ac | sed s/a/b/ | $W sed s/c/d/", "bd\n")
		s.types("$W sed -u s/a/b/ | sed -u s/c/d/\n")
		s.types("ac\n")
		s.expect("bd\n")
		s.types(ctrlZ)
		s.expect("Stopped")
		s.expect(shellPrompt)
		s.types("fg\n")
		s.expect("sed.*\n")
		s.types("ac\n")
		s.expect("bd\n")
		s.types(ctrlC)
		s.expect(shellPrompt)
		s.says("echo ${PIPESTATUS[*]}", "130")
	})
}

// Whoever in a pipeline wants the terminal gets it.
func TestTerminalPipelineReader(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		s.types("$W echo x | sh -c 'cat; read y </dev/tty; echo $y'\n")
		s.expect("x\n")
		s.says("hello", "hello\n")
		s.types("echo x | $W sh -c 'cat; read y </dev/tty; echo $y'\n")
		s.expect("x\n")
		s.says("hello", "hello\n")
	})
}

// A script runs on behind PROGRAM, or is interrupted together with it.
func TestTerminalScript(t *testing.T) {
	for _, sh := range []string{"dash", "bash"} {
		t.Run(sh, func(t *testing.T) {
			sameDialogue(t, func(s *shell) {
				s.types(sh + " -c '$W cat; echo done'\n")
				s.types("hello\n")
				s.expect("hello\n")
				s.types(ctrlD)
				s.expect("done\n")
				s.expect(shellPrompt)
				s.stops(s.begins(sh + " -c '$W $T talk; echo done'"))
				s.types("fg\n")
				s.types("hello\n")
				s.expect("read hello\n")
				s.says("end 5", "done\n")
				s.types(sh + " -c '$W cat; echo done'\n")
				s.types("hello\n")
				s.expect("hello\n")
				s.types(ctrlC)
				s.expect(shellPrompt)
				s.says("echo $?", "130\n")
			})
		})
	}
}

// pidleash is killed, and PROGRAM with it: the shell has its terminal again, a
// script runs on.
func TestTerminalKilledWatchdog(t *testing.T) {
	s := newShell(t, pidleash+" -pidfile DIR/p.pid")
	for _, line := range []string{"$W $T talk", "sh -c '$W $T talk; echo done'"} {
		p := s.begins(line)
		must(t, syscall.Kill(p.parent, syscall.SIGKILL))
		if line[0] == 's' {
			s.expect("done\n")
		}
		s.expect(shellPrompt)
		await(t, "PROGRAM has ended", func() bool { return gone(p.pid) })
		s.reads()
	}
}

// A shell takes its terminal back when somebody has stopped pidleash by hand: it
// is no longer lent, and PROGRAM's end takes it from nobody.
func TestTerminalTakenByTheShell(t *testing.T) {
	s := newShell(t, pidleash+" -pidfile DIR/p.pid")
	p := s.begins("$W $T idle")
	s.cleanUp(p)
	must(t, syscall.Kill(p.parent, syscall.SIGSTOP))
	s.expect("Stopped")
	s.expect(shellPrompt)
	s.does("bg")
	must(t, syscall.Kill(p.pid, syscall.SIGKILL))
	s.awaitJob("Killed")
	s.reads()
}

// A job that runs in the background comes to the foreground without a SIGCONT.
func TestTerminalForegroundWhileRunning(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		gate := s.dir + "/gate"
		must(s.t, syscall.Mkfifo(gate, 0o600))
		s.types("$W sh -c 'read x <$DIR/gate; exec $T talk' &\n")
		s.expect(shellPrompt)
		s.types("fg\n")
		s.expect("T talk'\n")
		s.forget()
		writer, err := os.OpenFile(gate, os.O_WRONLY, 0)
		must(s.t, err)
		writer.Close()
		p := s.place()
		s.expect("ground\n") // in the background until it asks for the terminal
		s.forget()
		s.types("hello\n")
		s.expect("read hello\n")
		s.types(ctrlC)
		s.expect("got INT\n")
		s.settled(p)
		s.says("end 5", "")
		must(s.t, os.Remove(gate))
	})
}

// A script's background job has its input from elsewhere, and does not want
// the script's terminal.
func TestTerminalScriptBackground(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		s.types("sh -c '$W $T idle & read x; echo \"<$x>\"; kill $!; wait $!'\n")
		s.expect("background\n")
		s.types("hello\n")
		s.expect("<hello>\n")
		s.expect(shellPrompt)
	})
}

// Editors and pagers run, and have the terminal for themselves.
func TestTerminalEditors(t *testing.T) {
	for _, program := range []string{"vi", "less", "top"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, "%v", err)
		}
	}
	sameEnd := func(t *testing.T, dialogue func(s *shell)) {
		for name, wrapper := range wrappers {
			t.Run(name, func(t *testing.T) { dialogue(newShell(t, strings.ReplaceAll(wrapper, "PIDLEASH", pidleash))) })
		}
		t.Run("bare", func(t *testing.T) { dialogue(newShell(t, "")) })
	}
	t.Run("vi", func(t *testing.T) {
		sameEnd(t, func(s *shell) {
			file := s.dir + "/text"
			s.types("$W vi -u NONE -i NONE -n " + file + "\n")
			s.expect("All|text")
			s.types("ihello\x1b")
			s.expect("hello")
			// By a command: where ^Z finds an editor or pager is by chance.
			s.types(":stop\r")
			s.expect("Stopped")
			s.expect(shellPrompt)
			s.types("fg\n")
			s.expect("hello") // it draws the screen anew
			s.types("A world\x1b:wq\r")
			s.expect(shellPrompt)
			if text := readFile(s.t, file); text != "hello world\n" {
				s.t.Errorf("the file has %q", text)
			}
		})
	})
	t.Run("less", func(t *testing.T) {
		sameEnd(t, func(s *shell) {
			for _, line := range []string{"$W less $DIR/text", "cat $DIR/text | $W less", "$W cat $DIR/text | less", "$W sh -c 'cat $DIR/text | less'"} {
				writeFile(s.t, s.dir+"/text", strings.Repeat("line\n", 1000)+"last\n", 0o644)
				s.types(line + "\n")
				s.expect("line(?s:.*)\x1b\\[K")
				s.types("G")
				s.expect("last")
				s.types("q")
				s.expect(shellPrompt)
				s.reads()
			}
		})
	})
	t.Run("top", func(t *testing.T) {
		sameEnd(t, func(s *shell) {
			s.types("$W top\n")
			s.expect("PID")
			s.types("q")
			s.expect(shellPrompt)
			s.reads()
		})
	})
}

// leaderDialogue has a dialogue with PROGRAM as, or right behind, the leader of a
// session, and compares.
func leaderDialogue(t *testing.T, before []string, dialogue func(c *console)) {
	t.Helper()
	ways := map[string][]string{"wrapped": {pidleash}, "same group": {pidleash, "-same-group"}}
	try := func(t *testing.T, wrapper []string) string {
		words := append(append(append([]string{}, before...), wrapper...), terminalProgram(t), "talk")
		c := newConsole(t, nil, words...)
		dialogue(c)
		if status := c.wait(); status.ExitStatus() != 5 {
			t.Errorf("the session ended by %s, want exit code 5", describe(status))
		}
		return c.transcript()
	}
	want := try(t, nil)
	for name, wrapper := range ways {
		t.Run(name, func(t *testing.T) {
			if got := try(t, wrapper); got != want {
				t.Errorf("the screen has\n%s\nand without pidleash\n%s", got, want)
			}
		})
	}
}

// keysWithoutShell are pressed where no shell could continue a stopped job: the
// kernel does not even stop it there.
func keysWithoutShell(c *console) {
	c.place()
	c.expect("foreground\n")
	for range 3 {
		c.types(ctrlC)
		c.expect("got INT\n")
		c.types(ctrlZ + "hello\n")
		c.expect("read hello\n")
	}
	c.types("end 5\n")
}

func TestTerminalSessionLeader(t *testing.T) {
	leaderDialogue(t, nil, keysWithoutShell)
}

func TestTerminalPID1(t *testing.T) {
	leaderDialogue(t, inPIDNamespace(t), keysWithoutShell)
}

// inPIDNamespace makes the next program PID 1.
func inPIDNamespace(t *testing.T) []string {
	t.Helper()
	needRoot(t)
	unshare := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if err := exec.Command(unshare[0], append(unshare[1:], "true")...).Run(); err != nil {
		missing(t, "%s: %v", strings.Join(unshare, " "), err)
	}
	return unshare
}

// Of a terminal that hangs up the leader of the session learns.
func TestTerminalHangup(t *testing.T) {
	for name, wrapper := range map[string][]string{"bare": nil, "wrapped": {pidleash}, "same group": {pidleash, "-same-group"}} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t, nil, append(wrapper, terminalProgram(t), "idle")...)
			p := c.place()
			c.expect("foreground\n")
			c.master.Close()
			if status := c.wait(); !status.Signaled() || status.Signal() != syscall.SIGHUP {
				t.Errorf("the session ended by %s, want SIGHUP", describe(status))
			}
			await(t, "PROGRAM has ended", func() bool { return gone(p.pid) })
		})
	}
}

// A shell as the only program of a session, or of a container, has job control.
func TestTerminalShellWithoutShell(t *testing.T) {
	for name, before := range map[string]func() []string{
		"session leader": func() []string { return nil },
		"PID 1":          func() []string { return inPIDNamespace(t) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, wrapper := range [][]string{{pidleash}, {pidleash, "-same-group"}} {
				words := append(append(before(), wrapper...), "bash", "--norc", "--noprofile", "--noediting", "-i")
				c := newConsole(t, []string{"PS1=" + shellPrompt, "T=" + terminalProgram(t), "LC_ALL=C"}, words...)
				c.usesJobControl()
				if status := c.wait(); status.ExitStatus() != 5 {
					t.Errorf("the session ended by %s, want exit code 5", describe(status))
				}
				if strings.Contains(c.all(), "job control") || strings.Contains(c.all(), "pidleash") {
					t.Errorf("the screen has %q", c.all())
				}
			}
		})
	}
}

// usesJobControl has a dialogue with a shell that has just started, up to its end.
func (c *console) usesJobControl() {
	c.t.Helper()
	c.expect(shellPrompt)
	c.types("$T talk\n")
	c.place()
	c.expect("foreground")
	for range 2 {
		c.types(ctrlC)
		c.expect("got INT")
		c.types(ctrlZ)
		c.expect("Stopped")
		c.expect(shellPrompt)
		c.types("fg\n")
		c.expect("T talk\r?\n")
		c.types("hello\n")
		c.expect("read hello")
	}
	c.types("end 3\n")
	c.expect(shellPrompt)
	c.types("exit 5\n")
}

func TestTerminalContainer(t *testing.T) {
	b := newPodmanBed(t)
	probe, err := os.ReadFile(terminalProgram(t))
	must(t, err)
	writeFile(t, b.dir+"/terminal", string(probe), 0o755)
	run := func(t *testing.T, opts []string, args ...string) *console {
		b.containers++
		name := fmt.Sprintf("t%d", b.containers)
		words := append([]string{"run", "-it", "--rm", "--name=" + name, "--network=none", "--sig-proxy=false",
			"--cgroup-parent=/" + b.cgroup, fmt.Sprintf("--timeout=%.0f", bedTimeout.Seconds()),
			"--volume=" + b.dir + "/terminal:/terminal:ro", "--env=T=/terminal", "--env=PS1=" + shellPrompt, "--env=LC_ALL=C",
		}, opts...)
		master, slave, err := pty.Open()
		must(t, err)
		c := startOn(t, b.command(append(append(words, bedImage), args...)...), master, slave)
		t.Cleanup(func() { b.command("rm", "--force", "--ignore", "--time=0", name).Run() })
		return c
	}
	t.Run("keys", func(t *testing.T) {
		c := run(t, nil, "/pidleash", "/terminal", "talk")
		c.place()
		c.expect("foreground")
		c.types(ctrlC)
		c.expect("got INT")
		c.types(ctrlZ)
		c.types("hello\n")
		c.expect("read hello")
		c.types("end 5\n")
		if status := c.wait(); status.ExitStatus() != 5 || strings.Count(c.all(), "got INT") != 1 {
			t.Errorf("the container ended by %s, want exit code 5, and one INT: %q", describe(status), c.all())
		}
	})
	t.Run("shell", func(t *testing.T) {
		opts := []string{"--volume=/usr:/usr:ro", "--volume=/lib:/lib:ro"}
		if _, err := os.Stat("/lib64"); err == nil {
			opts = append(opts, "--volume=/lib64:/lib64:ro")
		}
		c := run(t, opts, "/pidleash", "/usr/bin/bash", "--norc", "--noprofile", "--noediting", "-i")
		c.usesJobControl()
		if status := c.wait(); status.ExitStatus() != 5 || strings.Contains(c.all(), "job control") {
			t.Errorf("the container ended by %s, want exit code 5: %q", describe(status), c.all())
		}
	})
}

// A script reads the terminal after PROGRAM, however that ended, and whoever was
// in the foreground then: no shell takes it back for a script.
func TestTerminalScriptReadsOn(t *testing.T) {
	sameDialogue(t, func(s *shell) {
		for _, sig := range []syscall.Signal{0, syscall.SIGKILL} {
			s.types("sh -c '$W $T talk; read x; echo \"<$x>\"'\n")
			p := s.place()
			s.expect("foreground\n")
			if sig == 0 {
				s.types("end 5\n")
			} else {
				must(s.t, syscall.Kill(p.pid, sig))
			}
			await(s.t, "PROGRAM and pidleash have ended", func() bool { return gone(p.pid) && (!s.wrapped || gone(p.parent)) })
			s.types("hello\n")
			s.expect("<hello>\n")
			s.expect(shellPrompt)
		}
	})
}

// The foreground job of a PROGRAM that was killed does not keep the terminal from
// the script. Nobody takes it back from the job of a bare program.
func TestTerminalScriptReadsOnAfterAJob(t *testing.T) {
	s := newShell(t, pidleash+" -pidfile DIR/p.pid")
	s.types("sh -c '$W bash --norc --noprofile --noediting -i; read x; echo \"<$x>\"'\n")
	s.expect(shellPrompt)
	s.types("$T idle\n")
	p := s.place()
	s.cleanUp(p)
	s.expect("foreground\n")
	must(t, syscall.Kill(p.parent, syscall.SIGKILL))
	await(t, "PROGRAM has ended", func() bool { return gone(p.parent) })
	s.expect("Killed\n")
	s.types("hello\n")
	s.expect("<hello>\n")
	s.expect(shellPrompt)
	syscall.Kill(p.pid, syscall.SIGKILL)
	await(t, "the job has ended", func() bool { return dead(p.pid) })
}
