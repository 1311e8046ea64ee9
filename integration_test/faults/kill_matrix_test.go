package faults

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

var (
	killStep = flag.Int("kill-step", 0, "TestKilledAtEveryStep: kill at this one only, ten times")
)

const (
	mostFaults  = 6               // of one process in one mode: more say nothing new
	killSample  = 60              // kills of one process in one mode, at most
	killTime    = 3 * time.Second // for all of them
	killsAtOnce = 12              // most of the time they wait
)

// killModes are the ways to start a program in the background.
var killModes = []struct {
	name    string
	whom    []string
	options []string
	program []string
}{
	{"daemon", two, []string{"-daemon"}, []string{"sleep", "600"}},
	{"forking", []string{"caller", "starter", "keeper"}, []string{"-daemon", "-forking"},
		[]string{"sh", "-c", `setsid sh -c "sleep 600 </dev/null >/dev/null 2>&1 & :"`}},
	{"sidecar", two, []string{"-sidecar"}, []string{"sleep", "600"}},
	{"restart", two, []string{"-daemon", "-restart", "always"}, []string{"sleep", "600"}},
}

var two = []string{"caller", "keeper"}

// Whoever of the two is killed, and wherever it is then: PROGRAM either does not run, or it is
// what the PID file says, and keeps the next start away. The calls at which one of them is
// killed are its own and the other's, and those of their children before execve.
func TestKilledAtEveryStep(t *testing.T) {
	killer := bed.CompileC(t, "killer.c")
	random := bed.Random(t)
	for _, mode := range killModes {
		for _, whom := range mode.whom {
			t.Run(mode.name+" "+whom, func(t *testing.T) {
				k := &killing{t: t, killer: killer, whom: whom, options: mode.options, program: mode.program}
				whole, err := k.once(0, false)
				if err != nil {
					t.Fatal(err)
				}
				steps := random.Perm(whole.calls + 1)
				if !bed.Long() {
					steps = steps[:min(killSample, len(steps))]
				}
				begin := time.Now()
				if *killStep > 0 {
					for range 10 {
						k.start(*killStep, random.IntN(2) == 0)
					}
				} else {
					for _, step := range steps {
						if !bed.Long() && bed.Since(begin) > killTime {
							break
						}
						k.start(step+1, random.IntN(2) == 0)
					}
				}
				k.wait.Wait()
				t.Logf("%d system calls; %v in %.1f s", whole.calls, k.ends, time.Since(begin).Seconds())
			})
		}
	}
}

// killing is of one process in one mode.
type killing struct {
	t       *testing.T
	killer  string
	whom    string
	options []string
	program []string

	wait  sync.WaitGroup
	slots [killsAtOnce]sync.Mutex
	next  int

	faults atomic.Int32
	mu     sync.Mutex
	ends   map[string]int
}

// start does it once, beside others.
func (k *killing) start(step int, earlier bool) {
	slot := &k.slots[k.next%killsAtOnce]
	k.next++
	slot.Lock()
	if k.faults.Load() >= mostFaults {
		slot.Unlock()
		return
	}
	k.wait.Go(func() {
		defer slot.Unlock()
		a, err := k.once(step, earlier)
		if err != nil {
			k.faults.Add(1)
			k.t.Errorf("step %d, earlier child %v: PID %d killed at system call %d of PID %d: %v\n%s", step, earlier, a.killed, a.call, a.by, err, a.stderr.String())
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.ends == nil {
			k.ends = map[string]int{}
		}
		k.ends[a.end]++
	})
}

// struck is a start, one of whose processes is killed.
type struck struct {
	dir    string // of the PID file, and nothing else
	file   string
	mark   bed.Mark
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{}

	earlier int // PID of the child from before pidleash; 0: none
	calls   int // system calls that were counted
	killed  int // who was
	by      int // who made the last of the calls
	call    int // its number

	end string // what came of it
}

// once kills the process at a step, 0: never, and looks at what is left.
func (k *killing) once(step int, earlier bool) (a *struck, err error) {
	a = &struck{mark: bed.NewMark(k.t), done: make(chan struct{}), end: "failed"}
	if a.dir, err = os.MkdirTemp("", "pidleash-killed-"); err != nil {
		return a, err
	}
	defer os.RemoveAll(a.dir)
	a.file = filepath.Join(a.dir, "p.pid")
	read, write, err := os.Pipe()
	if err != nil {
		return a, err
	}
	defer read.Close()
	log, err := os.CreateTemp("", "pidleash-stderr-")
	if err != nil {
		write.Close()
		return a, err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	words := append([]string{k.whom, fmt.Sprint(step), "0", bed.Pidleash, "-pidfile", a.file}, k.options...)
	if earlier {
		words[2] = "1"
	}
	a.cmd = exec.Command(k.killer, append(words, k.program...)...)
	a.cmd.Env = append(os.Environ(), string(a.mark))
	a.cmd.ExtraFiles = []*os.File{write}
	a.cmd.Stderr = log
	err = a.cmd.Start()
	write.Close()
	if err != nil {
		return a, err
	}
	go func() {
		_ = a.cmd.Wait() // the state says it
		close(a.done)
	}()
	defer a.clear()
	defer func() {
		text, _ := os.ReadFile(log.Name())
		a.stderr.Write(text)
	}()
	_ = read.SetReadDeadline(time.Now().Add(bed.Patience))
	if _, err := fmt.Fscan(read, &a.earlier, &a.calls, &a.killed, &a.by, &a.call); err != nil {
		return a, fmt.Errorf("the tracer says nothing: %w", err)
	}
	if err := a.judge(k.whom == "caller", k.whom == "keeper" && slices.Contains(k.options, "-restart")); err != nil {
		return a, err
	}
	if a.earlier != 0 && bed.Ended(a.earlier) {
		return a, errors.New("the earlier child has ended")
	}
	return a, nil
}

// clear ends all that is left.
func (a *struck) clear() {
	for _, pid := range append(a.mark.Bearers(), a.earlier) {
		if pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	<-a.done
}

// judge waits until all is quiet, and looks whether that is as it is to be. A PROGRAM that dies
// with its keeper does so after a good start, too.
func (a *struck) judge(callerKilled, dies bool) error {
	var left []int
	var isUp bool
	var lostSince time.Time
	if !bed.Poll(func() bool {
		left = a.mark.Bearers()
		isUp = a.isUp(left, callerKilled)
		if isUp || !a.isLost(left) {
			lostSince = time.Time{}
		} else if lostSince.IsZero() {
			lostSince = time.Now()
		} else if time.Since(lostSince) > lostLasts {
			return true
		}
		return isUp || len(left) == 0 && len(a.mark.Bearers()) == 0
	}) || !lostSince.IsZero() {
		return fmt.Errorf("somebody is left whom the PID file does not name: %s", a.describe(left))
	}
	keeper := a.mark.Watchdog()
	switch {
	case !isUp:
		return a.judgeNobody(dies)
	case keeper != 0:
		return a.judgeUp(fmt.Sprintf("held by pidleash PID %d", keeper), left)
	}
	return a.judgeUp("held by nobody", left)
}

// isUp reports that whoever lives has nothing to do any more: the caller has ended well or has
// become PROGRAM, and the keeper has left it, or is gone.
func (a *struck) isUp(left []int, callerKilled bool) bool {
	keeper := 0
	for _, pid := range left {
		words, _ := os.ReadFile(bed.ProcFile(pid, "cmdline"))
		switch name, _, _ := strings.Cut(string(words), "\x00"); {
		case name == bed.Pidleash:
			return false // the caller, or a child on its way
		case strings.HasPrefix(name, "pidleash-"):
			keeper = pid
		case strings.HasSuffix(name, "/killer"):
			return false
		}
	}
	if pid, ok := a.named(); !ok || pid == keeper || !slices.Contains(left, pid) || bed.Ended(pid) {
		return false // somebody stops it, or it is lost
	}
	if keeper != 0 {
		link, _ := os.Readlink(bed.ProcFile(keeper, "fd/3")) // the first that is free
		return !strings.HasPrefix(link, "socket:") && !bed.Ended(keeper)
	}
	select {
	case <-a.done: // it cannot be that it has failed, and still somebody lives
		return true
	default:
		return !callerKilled // the caller is PROGRAM
	}
}

// lostLasts is how long somebody must have lived whom nobody of pidleash's is there to stop.
const lostLasts = 300 * time.Millisecond

// isLost reports that somebody lives, and neither the caller nor the keeper does.
func (a *struck) isLost(left []int) bool {
	select {
	case <-a.done:
	default:
		return false
	}
	for _, pid := range left {
		words, _ := os.ReadFile(bed.ProcFile(pid, "cmdline"))
		if name, _, _ := strings.Cut(string(words), "\x00"); name == bed.Pidleash || strings.HasPrefix(name, "pidleash-") || name == "" {
			return false
		}
	}
	return len(left) > 0
}

func (a *struck) describe(pids []int) string {
	var text strings.Builder
	for _, pid := range pids {
		words, _ := os.ReadFile(bed.ProcFile(pid, "cmdline"))
		fmt.Fprintf(&text, "PID %d, %q, in state %s; ", pid, words, bed.ProcessState(pid))
	}
	content, _ := os.ReadFile(a.file)
	fmt.Fprintf(&text, "the PID file has %q", content)
	return text.String()
}

// judgeNobody: the start has left nothing, or what the next one removes.
func (a *struck) judgeNobody(dies bool) error {
	<-a.done
	a.end = "nothing left"
	if state := a.cmd.ProcessState.Sys().(syscall.WaitStatus); state.Exited() && state.ExitStatus() == 0 {
		if !dies {
			return errors.New("nobody is left, and the start was a success")
		}
		a.end = "it was up, nothing left"
	}
	if !bed.IsEmpty(a.dir) {
		a.end = "files left: " + a.names()
	}
	return a.nextStart()
}

// nextStart works, and leaves nothing.
func (a *struck) nextStart() error {
	out, code := command("-pidfile", a.file, "true")
	if code != 0 {
		return fmt.Errorf("the next start ends with %d: %s", code, out)
	}
	if !bed.IsEmpty(a.dir) {
		return fmt.Errorf("the next start leaves %s", a.names())
	}
	return nil
}

func (a *struck) names() string {
	entries, _ := os.ReadDir(a.dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// judgeUp: the PID file names one who lives, all commands say so, and it ends as it should.
func (a *struck) judgeUp(holder string, left []int) error {
	a.end = "up, " + strings.TrimRight(holder, " 0123456789")
	status, code := command("status", a.file)
	if code != 0 || !strings.Contains(status, ": running, PID ") || !strings.Contains(status, holder) {
		return fmt.Errorf("%s, but status says %d: %s", a.describe(left), code, status)
	}
	if out, code := command("-pidfile", a.file, "true"); code != 120 {
		return fmt.Errorf("%s, but the next start ends with %d: %s", a.describe(left), code, out)
	}
	watched := holder != "held by nobody"
	if watched {
		if err := os.Remove(a.file); err != nil {
			return err
		}
	} else {
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if !bed.Poll(func() bool { left = a.mark.Bearers(); return len(left) == 0 }) {
		return fmt.Errorf("it does not end: %s", a.describe(left))
	}
	if watched && !bed.IsEmpty(a.dir) {
		return fmt.Errorf("the keeper has left %s", a.names())
	}
	return a.nextStart()
}

// named is whom the PID file names.
func (a *struck) named() (pid int, ok bool) {
	content, _ := os.ReadFile(a.file)
	_, err := fmt.Sscan(string(content), &pid)
	return pid, err == nil
}

// command runs pidleash and returns what it says, and its exit code.
func command(words ...string) (out string, code int) {
	cmd := exec.Command(bed.Pidleash, words...)
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}
