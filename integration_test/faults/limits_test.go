package faults

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// processes is the limit: enough for pidleash and its keeper, and little enough to be reached at once.
const processes = 60

// limitedUser runs pidleash under RLIMIT_NPROC, as a user who has no other process.
func limitedUser(t *testing.T, id int) bed.How {
	bed.NeedRoot(t)
	user := strconv.Itoa(71000 + id)
	return bed.How{Before: []string{
		"setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", "prlimit", fmt.Sprintf("--nproc=%d", processes)}}
}

// limitedGroup runs pidleash as root in a control group with a pids.max.
func limitedGroup(t *testing.T, id int) bed.How {
	bed.NeedRoot(t)
	parent := "/sys/fs/cgroup"
	if _, err := os.Stat(parent + "/pids/cgroup.procs"); err == nil { // version 1
		parent += "/pids"
	} else if err := os.WriteFile(parent+"/cgroup.subtree_control", []byte("+pids"), 0); err != nil {
		bed.Missing(t, "no control group for pids: %v", err)
	}
	group := fmt.Sprintf("%s/pidleash-test-%d-%d", parent, os.Getpid(), id)
	bed.Must(t, os.Mkdir(group, 0o755))
	t.Cleanup(func() { // after that of the marks: it was registered first
		bed.Await(t, "the control group is empty", func() bool { return os.Remove(group) == nil })
	})
	bed.Must(t, os.WriteFile(group+"/pids.max", []byte(strconv.Itoa(processes)), 0))
	return bed.How{Before: []string{"sh", "-c", `echo $$ >"$0/cgroup.procs"; exec "$@"`, group}}
}

// TestCrowd has a PROGRAM that uses up all processes: removing its file stops it all the same, in every mode.
func TestCrowd(t *testing.T) {
	t.Parallel()
	id := 0
	for _, limit := range []struct {
		name string
		how  func(*testing.T, int) bed.How
	}{{"nproc", limitedUser}, {"pids.max", limitedGroup}} {
		for _, m := range bed.StartModes {
			if strings.Contains(m.Name, "forking") { // it stays in the foreground
				continue
			}
			for _, kill := range []string{"process", "mixed", "group", "tree"} {
				if m.Name == "sidecar" && kill == "group" || (m.Name == "sidecar" || m.Name == "daemon") && kill == "tree" {
					continue // refused: the group is shared with the test, the tree is the service manager's
				}
				id++
				t.Run(limit.name+" "+m.Name+" "+kill, func(t *testing.T) { crowd(t, limit.how(t, id), m, kill) })
			}
		}
	}
}

func crowd(t *testing.T, how bed.How, m bed.StartMode, kill string) {
	a := bed.NewAttempt(t)
	a.How = how
	a.Options = []string{"-kill-mode", kill, "-settle", "0", "-stop", "TERM/200ms/KILL"}
	a.Program = []string{bed.CompileC(t, "crowd.c"), a.Other + "/full"}
	r := a.Start(t, m)
	bed.Await(t, "no process is left", func() bool { return !bed.IsGone(a.Other + "/full") })
	program := bed.PIDIn(t, a.PIDFile)
	bed.RemoveFile(t, a.PIDFile)
	bed.Await(t, "PROGRAM has ended", func() bool { return bed.Ended(program) })
	if m.Name == "foreground" {
		r.ExpectSignal(t, syscall.SIGTERM)
	}
	if kill == "process" || kill == "group" || m.Name == "sidecar" { // the children are left alone
		bed.Await(t, "the keeper has ended", func() bool { return bed.IsEmpty(a.Dir) && !hasKeeper(a) })
	} else {
		a.Mark.ExpectNobody(t)
	}
	bed.ExpectEmptyDir(t, a.Dir)
	if text := r.Stderr(); strings.Contains(text, "fatal error") || strings.Contains(text, "goroutine") {
		t.Errorf("pidleash has crashed:\n%s", text)
	}
}

func hasKeeper(a *bed.Attempt) bool {
	return slices.ContainsFunc(a.Mark.Bearers(), func(pid int) bool {
		name, _ := os.ReadFile(bed.ProcFile(pid, "comm"))
		return string(name) == "pidleash\n"
	})
}
