package races

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// Of several starts one runs, and the others are refused and touch nothing.
func TestStartAgainstStart(t *testing.T) { run(t, startAgainstStart) }

func startAgainstStart(r *race) error {
	prefix := fmt.Sprintf("%s/%d", r.other, r.random.Uint32()) // one lock for all programs
	var all []*competitor
	for range 2 + r.random.IntN(2) {
		all = append(all, r.startAs(r.anyMode(), prefix))
		r.pause(r.span / 2)
	}
	defer func() {
		for _, c := range all {
			c.clear()
		}
	}()
	var first uint64 // the first inode that was seen
	if !bed.Poll(func() bool {
		if first == 0 {
			first = r.inode()
		}
		return refused(all) == len(all)-1
	}) {
		return fmt.Errorf("one should run and all others be refused: %s", describe(all))
	}
	winner := all[0]
	for _, c := range all {
		if !c.wasRefused() {
			winner = c
		}
	}
	r.ends[winner.mode.name]++
	if err := r.expectRunning(winner); err != nil {
		return fmt.Errorf("%w: %s", err, describe(all))
	}
	if winner.wasTwo() {
		return errors.New("two programs ran: " + describe(all))
	}
	if first != 0 && first != r.inode() && !winner.mode.forks { // a daemon is looked for under another file
		return errors.New("the file was replaced: " + describe(all))
	}
	return r.remove(winner)
}

func refused(all []*competitor) (n int) {
	for _, c := range all {
		if c.wasRefused() {
			n++
		}
	}
	return n
}

func describe(all []*competitor) string {
	var texts []string
	for _, c := range all {
		texts = append(texts, c.describe())
	}
	return strings.Join(texts, "\n\t")
}

// expectRunning waits until the program is up, and has everybody say so.
func (r *race) expectRunning(c *competitor) error {
	pid := r.awaitUp(c)
	if pid == 0 {
		return errors.New("the start has failed: " + c.describe())
	}
	status := r.status()
	if !strings.HasPrefix(status, fmt.Sprintf("running, PID %d (racer), ", pid)) || !strings.Contains(status, ", held by pidleash PID ") {
		return fmt.Errorf("PID %d runs, status says %q: %s", pid, status, c.describe())
	}
	return nil
}

// remove ends it by its file.
func (r *race) remove(c *competitor) error {
	if err := os.Remove(r.file); err != nil {
		return err
	}
	return c.expectEnd(r, syscall.SIGTERM)
}

// The command ends what runs when it begins, and neither harms nor waits for a start that comes meanwhile: that is
// refused, or it is the next one.
func TestStopAgainstStart(t *testing.T) { run(t, stopAgainstStart) }

func stopAgainstStart(r *race) error {
	old := r.start(r.anyMode())
	defer old.clear()
	program := r.awaitUp(old)
	if program == 0 {
		return errors.New("the start has failed: " + old.describe())
	}
	stop := exec.Command(bed.Pidleash, "stop", r.file)
	var out strings.Builder
	stop.Stderr = &out
	var next *competitor
	mode := r.anyMode()
	r.toss(3*r.span, func() { bed.Must(r.t, stop.Start()) }, func() { next = r.start(mode) })
	defer next.clear()
	if err := stop.Wait(); err != nil || out.Len() > 0 {
		return fmt.Errorf("stop: %w, %q", err, out.String())
	}
	if !bed.Ended(program) {
		return fmt.Errorf("stop has returned, and the program runs: %s", old.describe())
	}
	if err := old.expectEnd(r, syscall.SIGTERM); err != nil {
		return err
	}
	pid := r.awaitUp(next)
	switch {
	case next.wasRefused():
		r.ends["refused"]++
		return nil
	case pid == 0 || pid == program:
		return fmt.Errorf("PID %d: %s", pid, next.describe())
	}
	r.ends["started"]++
	if err := r.expectRunning(next); err != nil {
		return err
	}
	return r.remove(next)
}

// Who ends touches no file but its own, and its status is its program's, whoever starts meanwhile.
func TestEndAgainstStart(t *testing.T) { run(t, endAgainstStart) }

func endAgainstStart(r *race) error {
	old := r.start(r.anyMode())
	defer old.clear()
	program := r.awaitUp(old)
	if program == 0 {
		return errors.New("the start has failed: " + old.describe())
	}
	mode := r.anyMode()
	var next *competitor
	r.toss(r.span, func() { exit(program) }, func() { next = r.start(mode) })
	// The keeper of a program that ended within a second of "up" stays in the file for a second more.
	for begin := time.Now(); r.awaitUpOther(next, program) == 0; {
		if !next.wasRefused() || time.Since(begin) > bed.Patience {
			defer next.clear()
			return errors.New("the next start: " + next.describe())
		}
		next.clear()
		next = r.start(mode)
	}
	defer next.clear()
	inode := r.inode()
	if err := old.expectEnd(r, 0); err != nil {
		return err
	}
	if r.inode() != inode && !mode.forks {
		return errors.New("the next one's file was touched: " + next.describe())
	}
	r.ends[next.mode.name]++
	if err := r.expectRunning(next); err != nil {
		return err
	}
	return r.remove(next)
}

// awaitUpOther waits for a program that is not this one.
func (r *race) awaitUpOther(c *competitor, former int) (pid int) {
	for begin := time.Now(); time.Since(begin) < bed.Patience; {
		if pid = r.awaitUp(c); pid != former {
			return pid
		}
	}
	return 0
}

// Between the claim of a path and its file somebody may lock the path for a daemon: there was nothing to see yet.
func TestPathIsLockedBeforeTheFileIsThere(t *testing.T) {
	for _, options := range [][]string{nil, {"-daemon"}, {"-sidecar"}, {"-while", "/"}} {
		t.Run(fmt.Sprint(options), func(t *testing.T) {
			dir := bed.OpenDir(t)
			r := &race{t: t, random: bed.Random(t), mark: bed.NewMark(t), dir: dir, file: dir + "/p.pid", other: bed.OpenDir(t), program: bed.CompileC(t, "racer.c")}
			words := append([]string{"-pidfile", r.file}, options...)
			g := bed.StartGated(t, bed.How{Env: []string{string(r.mark)}}, []string{"linkat *"}, append(words, r.program, r.other+"/first")...)
			g.AwaitCall(t)
			fifo, prefix := bed.NewFIFO(t), r.other+"/second"
			script := `: >"$1.begins"; read x <"$0"; exec "$2" "$1" daemon`
			forking := &competitor{modes[1], bed.Start(t, bed.How{Env: []string{string(r.mark)}},
				"-pidfile", r.file, "-forking", "sh", "-c", script, fifo, prefix, r.program), prefix}
			defer forking.clear()
			bed.Await(t, "the other one's program runs", func() bool { return !bed.IsGone(prefix + ".begins") })
			g.Open()
			g.ExpectCode(t, 120)
			if !bed.IsGone(r.other + "/first.alone") {
				t.Error("both programs have run")
			}
			bed.OpenGate(t, fifo)
			bed.Must(t, r.expectRunning(forking))
			bed.Must(t, r.remove(forking))
			r.mark.ExpectNobody(t)
			bed.ExpectEmptyDir(t, dir)
		})
	}
}

// A keeper has unlocked the path, as its file was removed. The program that another start publishes there is no
// successor of the daemon that the keeper stops.
func TestNextStartIsNoSuccessor(t *testing.T) {
	dir := bed.OpenDir(t)
	r := &race{t: t, random: bed.Random(t), mark: bed.NewMark(t), dir: dir, file: dir + "/p.pid", other: bed.OpenDir(t), program: bed.CompileC(t, "racer.c")}
	g := bed.StartGated(t, bed.How{Env: []string{string(r.mark)}}, []string{"unlinkat ..p.pid.lock.pidleash-*"},
		"-pidfile", r.file, "-settle", "0", "-stop", "TERM/500ms/KILL", "-daemon", "-forking",
		"sh", "-c", `trap "" TERM; setsid sleep 600 >/dev/null 2>&1 &`)
	bed.Await(t, "the daemon is known", func() bool { return r.named() != 0 })
	daemon := r.named()
	inode, err := os.Open(r.file)
	bed.Must(t, err)
	defer inode.Close()
	bed.RemoveFile(t, r.file)
	_, keeper := g.AwaitCall(t)     // it unlocks the path
	bed.Must(t, inode.Chmod(0o600)) // this hint has it look at the path once more
	next := r.start(foreground)
	defer next.clear()
	bed.Must(t, r.expectRunning(next))
	g.Open()
	bed.Await(t, "the keeper's end", func() bool { return bed.Ended(keeper) })
	if !bed.Ended(daemon) {
		t.Error("the daemon was not stopped")
	}
	bed.Must(t, r.expectRunning(next))
	bed.Must(t, r.remove(next))
	r.mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, dir)
}
