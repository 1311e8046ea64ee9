// Package races has two things happen to one PID file at the same time, again and again, at moments that are drawn.
package races

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

const (
	longRounds  = 1000
	shortRounds = 30
	shortTime   = 700 * time.Millisecond
	mostFaults  = 3 // of one race: more say nothing new
)

// race is many rounds, each on the same empty directory.
type race struct {
	t        *testing.T
	random   *rand.Rand
	mark     bed.Mark
	dir      string // of the PID file, and of nothing else
	file     string
	other    string // of what the programs make
	program  string
	spinners []int
	starts   int
	span     time.Duration // from a start until it is up, about
	ends     map[string]int
}

// run runs the rounds of a race, on a machine as it is and on one that is busy.
func run(t *testing.T, round func(r *race) error) {
	for _, load := range []string{"idle", "busy"} {
		t.Run(load, func(t *testing.T) {
			dir := bed.OpenDir(t)
			r := &race{
				t: t, random: bed.Random(t), mark: bed.NewMark(t), dir: dir, file: dir + "/p.pid", other: bed.OpenDir(t),
				program: bed.CompileC(t, "racer.c"), ends: map[string]int{},
			}
			bed.WriteFile(t, r.other+"/cond", "", 0o600)
			bed.WriteFile(t, r.other+"/cond.pid", fmt.Sprintln(os.Getpid()), 0o600)
			if load == "busy" {
				r.spinners = occupy(t)
			}
			r.span = r.measureSpan()
			rounds, begin, faults := 0, time.Now(), 0
			for ; rounds < longRounds && faults < mostFaults; rounds++ {
				if !bed.Long() && (rounds >= shortRounds || rounds > 0 && bed.Since(begin) > shortTime) {
					break
				}
				if err := r.once(round); err != nil {
					faults++
					t.Errorf("round %d: %v", rounds, err)
				}
			}
			r.mark.ExpectNobody(t)
			t.Logf("%d rounds; a start takes %v; %v", rounds, r.span, r.ends)
		})
	}
}

// occupy keeps every processor busy to the end of the test.
func occupy(t *testing.T) (pids []int) {
	for range runtime.NumCPU() {
		spinner := exec.Command("sh", "-c", "while :; do :; done")
		bed.Must(t, spinner.Start())
		t.Cleanup(func() {
			_ = spinner.Process.Kill()
			_ = spinner.Wait()
		})
		pids = append(pids, spinner.Process.Pid)
	}
	return pids
}

// measureSpan takes the middle of some starts.
func (r *race) measureSpan() time.Duration {
	var spans []time.Duration
	for range 3 {
		begin := time.Now()
		c := r.start(foreground)
		r.awaitUp(c)
		spans = append(spans, time.Since(begin))
		bed.RemoveFile(r.t, r.file)
		c.wait(r)
		c.clear()
	}
	slices.Sort(spans)
	return spans[1]
}

// once runs a round and looks at what is left.
func (r *race) once(round func(r *race) error) error {
	err := round(r)
	if err == nil && !r.nobodyIsLeft() {
		err = fmt.Errorf("left: %s", r.describe())
	}
	if err == nil && !bed.IsEmpty(r.dir) {
		err = fmt.Errorf("left: %s", r.describe())
	}
	if err != nil {
		r.clear()
	}
	return err
}

func (r *race) nobodyIsLeft() bool { return bed.Poll(func() bool { return len(r.left()) == 0 }) }

// left are all processes of the tests but those that keep the machine busy. Whoever loses a parent becomes a child
// of the tests' guardian, package bed. To look for a mark would be to read every process of the machine.
func (r *race) left() []int {
	return slices.DeleteFunc(bed.Descendants(os.Getppid()), func(pid int) bool {
		return pid == os.Getpid() || slices.Contains(r.spinners, pid)
	})
}

// clear makes room for the next round.
func (r *race) clear() {
	for _, pid := range r.left() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	r.nobodyIsLeft()
	entries, _ := os.ReadDir(r.dir)
	for _, e := range entries {
		_ = os.Remove(r.dir + "/" + e.Name())
	}
}

// describe says who and what is left.
func (r *race) describe() string {
	var text strings.Builder
	for _, pid := range r.left() {
		words, _ := os.ReadFile(bed.ProcFile(pid, "cmdline"))
		fmt.Fprintf(&text, "PID %d, %q; ", pid, words)
	}
	entries, _ := os.ReadDir(r.dir)
	for _, e := range entries {
		content, _ := os.ReadFile(r.dir + "/" + e.Name())
		fmt.Fprintf(&text, "%s with %q; ", e.Name(), content)
	}
	return text.String()
}

// pause lets some time pass, up to this. Only the moment is random: nothing is concluded from it.
func (r *race) pause(most time.Duration) {
	moment := time.Duration(r.random.Int64N(int64(most) + 1))
	for begin := time.Now(); time.Since(begin) < moment; {
		if moment > time.Millisecond {
			time.Sleep(moment - time.Since(begin))
		}
	}
}

// toss lets chance decide in which order two things happen, the second one a little later.
func (r *race) toss(most time.Duration, one, other func()) {
	if r.random.IntN(2) == 0 {
		one, other = other, one
	}
	one()
	r.pause(most)
	other()
}

// status is what the command says, without the file.
func (r *race) status() string {
	out, _ := exec.Command(bed.Pidleash, "status", r.file).Output() // the code says the same
	return strings.TrimPrefix(strings.TrimSuffix(string(out), "\n"), r.file+": ")
}

// inode is that of the PID file; 0: there is none.
func (r *race) inode() uint64 {
	st, err := os.Stat(r.file)
	if err != nil {
		return 0
	}
	return st.Sys().(*syscall.Stat_t).Ino
}

// named is whom the PID file names; 0: nobody.
func (r *race) named() int {
	text, _ := os.ReadFile(r.file)
	pid, _ := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
	return pid
}
