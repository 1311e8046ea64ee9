package background

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// session is that of a process, and the number of its terminal.
func session(t testing.TB, pid int) (sid, tty string) {
	t.Helper()
	_, rest, _ := strings.Cut(bed.ReadFile(t, bed.ProcFile(pid, "stat")), ") ")
	fields := strings.Fields(rest)
	return fields[3], fields[4]
}

// linksOf are the files that a process has open, by number.
func linksOf(t testing.TB, pid int) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(bed.ProcFile(pid, "fd"))
	bed.Must(t, err)
	links := map[string]string{}
	for _, e := range entries {
		links[e.Name()], _ = os.Readlink(bed.ProcFile(pid, "fd/") + e.Name())
	}
	return links
}

// expectDevNull fails the test unless the standard descriptors are /dev/null.
func expectDevNull(t testing.TB, who string, pid int) {
	t.Helper()
	links := linksOf(t, pid)
	for _, fd := range []string{"0", "1", "2"} {
		if links[fd] != "/dev/null" {
			t.Errorf("the %s has %q as descriptor %s", who, links[fd], fd)
		}
	}
}

func TestDaemonLeavesTerminal(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	c := bed.NewConsole(t, []string{string(a.Mark)}, append([]string{bed.Pidleash, "-daemon", "-pidfile", a.PIDFile}, a.Program...)...)
	// It returns when nobody has the terminal open any more.
	if status := c.Wait(); !status.Exited() || status.ExitStatus() != 0 {
		t.Fatalf("pidleash ended by %s: %q", bed.Describe(status), c.All())
	}
	program, watchdog := bed.PIDIn(t, a.PIDFile), a.Mark.Watchdog()
	seen := map[string]bool{strconv.Itoa(c.Cmd.Process.Pid): true}
	for who, pid := range map[string]int{"PROGRAM": program, "watchdog": watchdog} {
		expectDevNull(t, who, pid)
		sid, tty := session(t, pid)
		if seen[sid] || tty != "0" {
			t.Errorf("%s has session %s, terminal %s; other sessions: %v", who, sid, tty, seen)
		}
		seen[sid] = true
	}
	if group, _ := unix.Getpgid(program); group != program {
		t.Errorf("PROGRAM, PID %d, has process group %d", program, group)
	}
	a.Leave(t)
}

// PROGRAM has the caller's directory, and with -sidecar the caller's further descriptors; in
// the background nobody has those. The watchdog holds nothing that keeps a pipe open or a file system mounted.
func TestWatchdogHoldsNothing(t *testing.T) {
	t.Parallel()
	for _, m := range []bed.StartMode{bed.StartModes[2], bed.StartModes[4]} {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			file, err := os.Create(a.Other + "/held")
			bed.Must(t, err)
			defer file.Close()
			a.How = bed.How{Dir: a.Other, Extra: []*os.File{file}}
			r := a.Start(t, m)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			program, watchdog := bed.PIDIn(t, a.PIDFile), a.Mark.Watchdog()
			want := ""
			if m.Name == "sidecar" {
				want = a.Other + "/held"
			}
			got := ""
			if !bed.Poll(func() bool { got = linksOf(t, program)["3"]; return got == want }) { // it may still load its libraries
				t.Errorf("PROGRAM has %q as descriptor 3, want %q", got, want)
			}
			if dir, _ := os.Readlink(bed.ProcFile(program, "cwd")); dir != a.Other {
				t.Errorf("PROGRAM is in %q", dir)
			}
			bed.Await(t, "the watchdog lets the caller's things go", func() bool {
				dir, _ := os.Readlink(bed.ProcFile(watchdog, "cwd")) // it may be in "/" before it lets the descriptors go
				return dir == "/" && linksOf(t, watchdog)["2"] == "/dev/null"
			})
			if name := bed.ReadFile(t, bed.ProcFile(watchdog, "comm")); name != "pidleash\n" {
				t.Errorf("the watchdog is called %q", name)
			}
			expectDevNull(t, "watchdog", watchdog)
			callers := []string{a.Other + "/held"}
			for _, file := range []*os.File{r.Stdin, r.Pipe} {
				callers = append(callers, linksOf(t, os.Getpid())[strconv.Itoa(int(file.Fd()))])
			}
			for fd, link := range linksOf(t, watchdog) {
				if slices.Contains(callers, link) {
					t.Errorf("the watchdog has %s as descriptor %s", link, fd)
				}
			}
			a.Leave(t)
			if m.Name == "sidecar" {
				r.ExpectSignal(t, syscall.SIGTERM)
			}
		})
	}
}

// What is sent to all processes of a unit ends PROGRAM, not its watchdog.
func TestWatchdogSurvivesSignals(t *testing.T) {
	t.Parallel()
	for _, m := range []bed.StartMode{bed.StartModes[2], bed.StartModes[3], bed.StartModes[4]} {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			if m.Name == "daemon forking" {
				a.Program = []string{"sh", "-c", "sleep 600 &"}
			}
			a.Start(t, m)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			watchdog := a.Mark.Watchdog()
			for _, sig := range []syscall.Signal{
				syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
				syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGCONT,
				syscall.SIGVTALRM, syscall.SIGIO, syscall.SIGPWR, syscall.SIGXCPU, 35, 64,
			} {
				bed.Must(t, syscall.Kill(watchdog, sig))
				// It has had it, or ignores it.
				bed.Await(t, sig.String()+" is not pending", func() bool { return !bed.IsPending(watchdog, sig) })
				if bed.Ended(watchdog) {
					t.Fatalf("%v has ended the watchdog", sig)
				}
			}
			a.Leave(t)
		})
	}
}

// awaitFile returns when there is a file of this name in the other directory.
func awaitFile(a *bed.Attempt, t testing.TB, name string) {
	t.Helper()
	bed.Await(t, name+" is there", func() bool { _, err := os.Stat(a.Other + "/" + name); return err == nil })
}

// canBeLocked takes the lock for a moment.
func canBeLocked(t testing.TB, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // a child that another test forks has the descriptor, too
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
}

// A PROGRAM in the background does not depend on its watchdog, and nor does the
// next start's judgement.
func TestKilledWatchdogLeavesProgram(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.NewGate(t)
	a.Shell(`read x <"$0/gate"; : >"$0/alive"; exec sleep 600`)
	program := a.InBackground(t)
	watchdog := a.Mark.Watchdog()
	bed.Must(t, syscall.Kill(watchdog, syscall.SIGKILL))
	// Its first thread may be gone while another one still holds the lock.
	bed.Await(t, "the lock is free", func() bool { return canBeLocked(t, a.PIDFile) })
	a.Open(t)
	awaitFile(a, t, "alive")
	second := bed.Start(t, bed.How{}, "-pidfile", a.PIDFile, "touch", a.Other+"/marker")
	bed.Conclusion{Code: 120, Line: fmt.Sprintf("already running as PID %d .*held by nobody.*; hint: ", program)}.Expect(t, second)
	bed.Must(t, syscall.Kill(program, syscall.SIGKILL))
	bed.Await(t, "PROGRAM is gone", func() bool { return bed.Ended(program) })
	third := bed.Start(t, bed.How{}, "-pidfile", a.PIDFile, "true")
	bed.Conclusion{}.Expect(t, third)
	bed.ExpectEmptyDir(t, a.Dir)
}

// Of the sockets that the service manager has passed a script in between may have closed some: their numbers are those of
// what the watchdog has opened itself, and it goes on with all of that. PROGRAM has what was left.
func TestSocketsThatAreClosed(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		for _, said := range []string{"1", "8", "100", "1000000"} {
			if !strings.HasPrefix(m.Name, "daemon") {
				continue
			}
			t.Run(m.Name+" "+said, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				a.How.Before = []string{"sh", "-c", `export LISTEN_PID=$$ LISTEN_FDS=` + said + `; exec "$@" 3<"$0"`, a.Other}
				if a.Program = []string{"sleep", "600"}; strings.Contains(m.Name, "forking") {
					a.Shell("sleep 600 &")
				}
				bed.Conclusion{}.Expect(t, a.Start(t, m))
				bed.Await(t, "PROGRAM is executed", a.IsSleeping)
				if got := linksOf(t, bed.PIDIn(t, a.PIDFile))["3"]; got != a.Other {
					t.Errorf("PROGRAM has %q as descriptor 3", got)
				}
				r := bed.Start(t, bed.How{}, "status", a.PIDFile)
				r.ExpectCode(t, 0)
				if line := r.Line(t); !strings.HasSuffix(line, fmt.Sprintf("held by pidleash PID %d", a.Mark.Watchdog())) {
					t.Errorf("status: %s", line)
				}
				a.Leave(t)
			})
		}
	}
}
