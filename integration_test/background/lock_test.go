package background

import (
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// prober tries a path's lock all the time.
type prober struct {
	quit chan struct{}
	wg   sync.WaitGroup
	got  int
}

func probeLock(t testing.TB, path string) *prober {
	t.Helper()
	file, err := os.Open(path)
	bed.Must(t, err)
	p := &prober{quit: make(chan struct{})}
	p.wg.Go(func() {
		defer file.Close()
		for {
			select {
			case <-p.quit:
				return
			default:
			}
			if unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
				p.got++
				unix.Flock(int(file.Fd()), unix.LOCK_UN)
			}
		}
	})
	return p
}

func (p *prober) stop(t testing.TB) {
	t.Helper()
	close(p.quit)
	p.wg.Wait()
	if p.got > 0 {
		t.Errorf("the lock was free %d times", p.got)
	}
}

// The watchdog takes the lock over without anybody else having a chance.
func TestLockIsNeverFree(t *testing.T) {
	t.Parallel()
	for _, m := range []bed.StartMode{bed.StartModes[2], bed.StartModes[3]} {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				handOverLocked(t, m)
			}
		})
	}
}

func handOverLocked(t *testing.T, m bed.StartMode) {
	a := bed.NewAttempt(t)
	a.NewGate(t)
	a.Options = []string{"-ready", "fd:3"}
	a.Shell(`read x <"$0/gate"; echo >&3; exec sleep 600`)
	locked := a.PIDFile
	if len(m.Options) > 1 {
		a.Program[2] = "{ " + a.Program[2] + "; } &"
		locked = a.Dir + "/.p.pid.lock"
	}
	r := a.Start(t, m)
	bed.Await(t, "PROGRAM runs", func() bool { _, err := os.Stat(a.PIDFile); return err == nil })
	p := probeLock(t, locked)
	a.Open(t)
	others := 0
	for ; others < 5 || !slices.Equal(bed.StillRunning([]*bed.Run{r}), nil); others++ {
		second := bed.Start(t, bed.How{}, "-pidfile", a.PIDFile, "touch", a.Other+"/marker")
		bed.Conclusion{Code: 120, Line: "p.pid: already running as PID .* held by PID .*; hint: remove the file"}.Expect(t, second)
	}
	r.ExpectCode(t, 0)
	p.stop(t)
	a.Leave(t)
}
