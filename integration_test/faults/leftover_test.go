package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// making are the calls from which there may be something that a SIGKILL leaves, up to the PID file at its path.
var making = []string{"tmpfile *", "openat .p.pid*", "flock", "linkat *", "renameat2 .p.pid*"}

// A start that is killed, wherever it is, leaves no hidden file in an empty place.
func TestKilledStartLeavesNoHiddenFile(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for passed, ended := 0, false; !ended; passed++ {
				ended = killAfter(t, m, passed)
				if ended && passed < 2 {
					t.Errorf("only %d calls were seen", passed)
				}
			}
		})
	}
}

// killAfter lets some calls pass and kills everybody at the next one, or reports that there was none.
func killAfter(t *testing.T, m bed.StartMode, passes int) (ended bool) {
	t.Helper()
	a := bed.NewAttempt(t)
	words := append([]string{"-pidfile", a.PIDFile}, m.Options...)
	g := bed.StartGated(t, bed.How{Env: []string{string(a.Mark)}}, making, append(words, "true")...)
	for range passes {
		if call, _ := g.AwaitCall(t); call == "" {
			return true
		}
		g.Pass(t)
	}
	call, pid := g.AwaitCall(t)
	if call == "" {
		return true
	}
	killed := slices.DeleteFunc(append(a.Mark.Bearers(), pid), func(bearer int) bool {
		name, _ := os.ReadFile(bed.ProcFile(bearer, "comm"))
		return string(name) == "gate\n"
	})
	_ = syscall.Kill(g.PID(), syscall.SIGKILL)
	for _, pid := range killed {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range killed { // a call that is let go now would still be made
		bed.Await(t, "it is dead", func() bool { return bed.Ended(pid) })
	}
	g.Open()
	a.Mark.ExpectNobody(t)
	entries, err := os.ReadDir(a.Dir)
	bed.Must(t, err)
	if len(entries) > 0 && bed.IsGone(a.PIDFile) && bed.IsGone(a.Dir+"/.p.pid.lock") {
		t.Errorf("killed at %q: %s is left", call, entries[0].Name())
	}
	if len(entries) > 0 { // the next start sees it, and cleans up
		r := bed.Start(t, bed.How{}, "-pidfile", a.PIDFile, "true")
		r.ExpectCode(t, 0)
		bed.ExpectEmptyDir(t, a.Dir)
	}
	return false
}

// What killed starts have left goes with the next start that finds a stale file or path lock. What somebody has, or
// nobody of pidleash's has made, stays.
func TestNextStartRemovesLeftovers(t *testing.T) {
	t.Parallel()
	for _, trace := range []string{"p.pid", ".p.pid.lock"} {
		for _, m := range bed.StartModes {
			t.Run(m.Name+", "+trace, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				plain := fmt.Sprintln(bed.PlainProgram(t))
				for name, text := range map[string]string{
					trace: "", ".p.pid.pidleash-17-x": "", ".p.pid.pidleash-18-7z": bed.NoSuchPID, "..p.pid.lock.pidleash-19-x": "",
				} {
					bed.WriteFile(t, a.Dir+"/"+name, text, 0o600)
				}
				stays := map[string]string{
					".p.pid.pidleash-20-held": "", ".p.pid.pidleash-20-lives": plain, ".p.pid.pidleash-20-others": "words\n",
					".p.pid.pidleash-notes": "", ".q.pid.pidleash-20-x": "", "p.pid.bak": "",
				}
				var names []string
				for name, text := range stays {
					bed.WriteFile(t, a.Dir+"/"+name, text, 0o600)
					names = append(names, name)
				}
				slices.Sort(names)
				held, err := os.Open(a.Dir + "/.p.pid.pidleash-20-held")
				bed.Must(t, err)
				defer held.Close()
				bed.Must(t, syscall.Flock(int(held.Fd()), syscall.LOCK_EX))
				a.Program = []string{"sleep", "600"}
				if strings.Contains(m.Name, "forking") {
					a.Shell("sleep 600 & true")
				}
				a.Start(t, m)
				bed.Await(t, "PROGRAM runs", a.IsSleeping)
				bed.RemoveFile(t, a.PIDFile)
				a.Mark.ExpectNobody(t)
				bed.ExpectFiles(t, a.Dir, names...)
			})
		}
	}
}

// There is another way where the file system, the kernel or a sandbox refuses a call.
func TestOtherWaysToPublish(t *testing.T) {
	t.Parallel()
	const none, flags = syscall.EOPNOTSUPP, syscall.EINVAL
	for name, refused := range map[string]map[string]syscall.Errno{
		"no O_TMPFILE":             {"tmpfile": none},
		"O_TMPFILE unknown":        {"tmpfile": syscall.EISDIR},
		"link refused":             {"linkat": syscall.EPERM},
		"link across mounts":       {"linkat": syscall.EXDEV},
		"no /proc":                 {"linkat": syscall.ENOENT},
		"no flags":                 {"tmpfile": none, "renameat2": flags},
		"no renameat2":             {"tmpfile": none, "renameat2": syscall.ENOSYS},
		"renameat2 in a sandbox":   {"tmpfile": none, "renameat2": syscall.EPERM},
		"renameat2 denied":         {"renameat2": syscall.EACCES},
		"no renameat2, O_TMPFILE":  {"renameat2": syscall.ENOSYS},
		"no rename, only unlinkat": {"renameat2": syscall.EACCES, "renameat": syscall.EACCES},
	} {
		for _, m := range append(slices.Clone(bed.StartModes), bed.StartMode{Name: "restart", Options: []string{"-restart", "on-failure", "-restart-delay", "0"}}) {
			if m.Name == "restart" && refused["renameat"] != 0 {
				continue
			}
			t.Run(m.Name+", "+name, func(t *testing.T) { t.Parallel(); publishWithout(t, m, refused) })
		}
	}
}

const untilStop = `until [ -e "$0/stop" ]; do sleep 0.01; done`

func publishWithout(t *testing.T, m bed.StartMode, refused map[string]syscall.Errno) {
	t.Helper()
	a := bed.NewAttempt(t)
	var patterns []string
	for call := range refused {
		patterns = append(patterns, call+" *p.pid*", call+" .")
	}
	// Where its words named the file, a daemon would have to write that itself.
	script := `[ "$(cat "$NAMED")" = $$ ] && echo right >>"$0/marker"; echo run >>"$0/runs"; `
	switch {
	case m.Name == "restart":
		script += `exit $(($(wc -l <"$0/runs") < 2))`
	case strings.Contains(m.Name, "forking"):
		script = `{ until [ -s "$NAMED" ]; do sleep 0.01; done; echo right >>"$0/marker"; ` + untilStop + `; } &`
	case strings.Contains(m.Name, "daemon"):
		script += untilStop
	}
	words := append([]string{"-pidfile", a.PIDFile}, m.Options...)
	g := bed.StartGated(t, bed.How{Env: []string{string(a.Mark), "NAMED=" + a.PIDFile}}, patterns, append(words, "sh", "-c", script, a.Other)...)
	go func() { // in the background PROGRAM goes on until the caller has gone
		if m.Name != "forking" {
			<-g.Done
		}
		_ = os.WriteFile(a.Other+"/stop", nil, 0o600)
	}()
	times := 0
	g.Serve(t, func(call string) syscall.Errno {
		times++
		word, _, _ := strings.Cut(call, " ")
		return refused[word]
	})
	g.ExpectCode(t, 0)
	a.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, a.Dir)
	want := "right\n"
	if m.Name == "restart" {
		want += want
	}
	if got := bed.ReadFile(t, a.Other+"/marker"); got != want || times == 0 {
		t.Errorf("the marker has %q, want %q; standard error: %s; %d calls failed", got, want, g.Stderr(), times)
	}
}
