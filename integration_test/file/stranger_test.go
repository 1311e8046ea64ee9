package file

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// leftToStranger is the file of a pidleash that was killed, with the lock of a user who has waited for it: everybody
// may read a PID file, and lock what he can read.
func leftToStranger(t *testing.T, file, script string) {
	t.Helper()
	bed.NeedRoot(t)
	r, program := bed.Leashed(t, bed.How{}, "-pidfile", file)
	stranger := bed.Lock(t, file, script, bed.Nobody)
	bed.AwaitWaiter(t, file)
	r.Signal(syscall.SIGKILL)
	stranger.Expect(t, "locked")
	bed.Await(t, "PROGRAM ends", func() bool { return bed.Ended(program) })
}

// A lock of somebody who may not speak for the file says nothing.
func TestStrangersLockOnStaleFile(t *testing.T) {
	t.Parallel()
	for way, script := range bed.LockScripts {
		for _, m := range bed.StartModes {
			t.Run(way+" "+m.Name, func(t *testing.T) {
				t.Parallel()
				a := bed.Sleeper(t)
				if strings.Contains(m.Name, "forking") {
					a.Shell("sleep 600 & true")
				}
				leftToStranger(t, a.PIDFile, script)
				a.Super = a.Dir + "/s.pid"
				leftToStranger(t, a.Super, script)
				r := a.Start(t, m)
				bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() || !isRunning(r) && r.Stderr() != "" })
				if !a.IsSleeping() {
					t.Fatal(r.Stderr())
				}
				want := []string{"p.pid", "s.pid"}
				if strings.Contains(m.Name, "forking") {
					want = append([]string{".p.pid.lock"}, want...)
				}
				// PROGRAM may run before its pidleash goes on.
				bed.Await(t, "the other files are gone", func() bool {
					entries, err := os.ReadDir(a.Dir)
					return err == nil && len(entries) == len(want)
				})
				bed.ExpectFiles(t, a.Dir, want...)
				a.Leave(t)
			})
		}
	}
}

func isRunning(r *bed.Run) bool { return len(bed.StillRunning([]*bed.Run{r})) == 1 }

// The starts are kept apart all the same.
func TestStrangersLockOneWinner(t *testing.T) {
	t.Parallel()
	for range 3 {
		dir := bed.OpenDir(t)
		file := dir + "/p.pid"
		leftToStranger(t, file, bed.LockScripts["shared"])
		runs := startAtOnce(t, 30, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
		bed.Await(t, "all but one have ended", func() bool { return len(bed.StillRunning(runs)) <= 1 })
		left := bed.StillRunning(runs)
		if len(left) != 1 {
			t.Fatalf("no start has won; one said: %s", runs[0].Stderr())
		}
		program := left[0].Number(t)
		for _, r := range runs {
			if r != left[0] {
				r.ExpectCode(t, 120)
				r.ExpectOneLine(t, "; hint: ")
			}
		}
		// PROGRAM may run before its pidleash has returned from the launch.
		bed.Await(t, "the path's lock is gone", func() bool { return bed.IsGone(dir + "/.p.pid.lock") })
		bed.ExpectFiles(t, dir, "p.pid")
		if named := bed.PIDIn(t, file); named != program {
			t.Errorf("the file names PID %d, PROGRAM is %d", named, program)
		}
		left[0].Stdin.Close()
		left[0].ExpectCode(t, 0)
	}
}

// Control: root's lock counts, and so does that of the file's owner.
func TestTrustedLockOnStaleFile(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for way, script := range bed.LockScripts {
		for _, owner := range []int{0, bed.Nobody} {
			t.Run(fmt.Sprintf("%s %d", way, owner), func(t *testing.T) {
				t.Parallel()
				dir := bed.OpenDir(t)
				file := dir + "/p.pid"
				bed.WriteFile(t, file, bed.NoSuchPID, 0o644)
				bed.Must(t, syscall.Chown(file, owner, owner))
				bed.Lock(t, file, script, uint32(owner)).Expect(t, "locked")
				r := bed.Start(t, bed.How{}, "-pidfile", file, "true")
				r.ExpectCode(t, 120)
				r.ExpectOneLine(t, `already in use, held by PID \d+ \((sh|cat)\), which is no pidleash; hint: stop it first`)
				bed.ExpectFiles(t, dir, "p.pid")
			})
		}
	}
}
