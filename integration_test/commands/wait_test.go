package commands

import (
	"os"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// Who waits does not compute: nothing but Go's own threads, and a look now and then.
func TestWaitCommandIsIdle(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/p.pid"
	pid := foreignDaemon(t, file)
	gone := bed.Start(t, bed.How{}, "wait", file)
	awaitPidfds(t, gone.PID(), 1)
	running := bed.Start(t, bed.How{}, "wait", "-until", "running", dir+"/a/b/p.pid")
	bed.Await(t, "it waits", func() bool { return bed.ProcessState(running.PID()) == "S" })
	before := map[*bed.Run]int{gone: bed.Switches(t, gone.PID()), running: bed.Switches(t, running.PID())}
	time.Sleep(2 * time.Second) // what is measured
	for r, n := range before {
		if more := bed.Switches(t, r.PID()) - n; more > 200 {
			t.Errorf("%v: %d context contextSwitches in 2 s", r.Cmd.Args[1:], more)
		}
	}
	command(t, bed.Conclusion{}, "signal", "TERM", file)
	bed.Conclusion{}.Expect(t, gone)
	if !bed.Ended(pid) {
		t.Error("it runs")
	}
	bed.Must(t, os.MkdirAll(dir+"/a/b", 0o755))
	foreignDaemon(t, dir+"/a/b/p.pid")
	bed.Conclusion{}.Expect(t, running)
}

// In every mode: waiting for PROGRAM before there is a directory, and for its end.
func TestWaitCommand(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			a.PIDFile = a.Dir + "/d/p.pid"
			if strings.Contains(m.Name, "forking") {
				a.Program = []string{"sh", "-c", "sleep 600 &"}
			}
			running := bed.Start(t, bed.How{}, "wait", "-until", "running", a.PIDFile)
			bed.Must(t, os.Mkdir(a.Dir+"/d", 0o755))
			r := a.Start(t, m)
			bed.Conclusion{}.Expect(t, running)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			if strings.HasPrefix(m.Name, "daemon") {
				bed.Conclusion{}.Expect(t, r)
			}
			gone := bed.Start(t, bed.How{}, "wait", a.PIDFile)
			awaitPidfds(t, gone.PID(), 2)
			command(t, bed.Conclusion{}, "signal", "TERM", a.PIDFile)
			bed.Conclusion{}.Expect(t, gone)
			if left := a.Mark.Bearers(); len(left) > 0 {
				t.Errorf("PIDs %v are left", left)
			}
			bed.ExpectEmptyDir(t, a.Dir+"/d")
		})
	}
}
