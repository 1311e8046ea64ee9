package file

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// taking are the calls by which a file can be taken away from the path.
func taking(name string) []string {
	return []string{"unlink " + name, "unlinkat " + name, "rename " + name + " *", "renameat2 " + name + " *"}
}

// putOver renames another file over the one at the path, and returns what is there then.
func putOver(t *testing.T, file, text string) syscall.Stat_t {
	t.Helper()
	bed.WriteFile(t, file+".new", text, 0o644)
	bed.Must(t, os.Rename(file+".new", file))
	return inode(t, file)
}

// expectUntouched allows for the time of the last change of the inode, which a rename(2) sets.
func expectUntouched(t *testing.T, file, text string, before syscall.Stat_t) {
	t.Helper()
	if bed.IsGone(file) {
		t.Fatalf("%s is gone: it was another's", file)
	}
	after := inode(t, file)
	after.Ctim = before.Ctim
	if after != before || bed.ReadFile(t, file) != text {
		t.Errorf("it was %+v, is %+v with %q", before, after, bed.ReadFile(t, file))
	}
}

// Between the last look at the path and the call that takes the file away somebody puts another one there.
func TestOthersFileInTheLastMoment(t *testing.T) {
	t.Run("end", func(t *testing.T) {
		t.Parallel()
		dir := bed.OpenDir(t)
		file, others := dir+"/p.pid", fmt.Sprintln(bed.PlainProgram(t))
		g := bed.StartGated(t, bed.How{}, taking("p.pid"), "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
		g.Number(t)
		g.Stdin.Close()
		g.AwaitCall(t)
		there := putOver(t, file, others)
		g.Pass(t)
		g.Open()
		g.ExpectCode(t, 0)
		expectUntouched(t, file, others, there)
		bed.ExpectFiles(t, dir, "p.pid")
	})
	t.Run("stale", func(t *testing.T) {
		t.Parallel()
		dir, pid := bed.OpenDir(t), bed.PlainProgram(t)
		file, others := dir+"/p.pid", fmt.Sprintln(pid)
		bed.WriteFile(t, file, bed.NoSuchPID, 0o644)
		g := bed.StartGated(t, bed.How{}, taking("p.pid"), "-pidfile", file, "touch", dir+"/marker")
		g.AwaitCall(t)
		there := putOver(t, file, others)
		g.Pass(t)
		g.Open()
		g.ExpectCode(t, 120)
		g.ExpectOneLine(t, fmt.Sprintf("p.pid: already running as PID %d ", pid))
		expectUntouched(t, file, others, there)
		bed.ExpectFiles(t, dir, "p.pid")
	})
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		dir := bed.OpenDir(t)
		file, others := dir+"/p.pid", fmt.Sprintln(bed.PlainProgram(t))
		r := bed.Start(t, bed.How{}, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
		r.Number(t)
		g := bed.StartGated(t, bed.How{}, taking("p.pid"), "stop", file)
		g.AwaitCall(t)
		there := putOver(t, file, others)
		g.Pass(t)
		g.Open()
		g.ExpectCode(t, 0)
		r.ExpectSignal(t, syscall.SIGTERM)
		expectUntouched(t, file, others, there)
		bed.ExpectFiles(t, dir, "p.pid")
	})
	t.Run("path lock", func(t *testing.T) {
		t.Parallel()
		a := bed.NewAttempt(t)
		a.Shell("sleep 600 &")
		a.Program = a.Program[:3]
		g := bed.StartGated(t, bed.How{Env: []string{string(a.Mark)}}, taking(".p.pid.lock"),
			append([]string{"-pidfile", a.PIDFile, "-forking"}, a.Program...)...)
		bed.Await(t, "the daemon is known", a.IsSleeping)
		bed.RemoveFile(t, a.PIDFile)
		g.AwaitCall(t)
		there := putOver(t, a.Dir+"/.p.pid.lock", "")
		g.Pass(t)
		g.Open()
		g.ExpectSignal(t, syscall.SIGTERM)
		expectUntouched(t, a.Dir+"/.p.pid.lock", "", there)
		bed.ExpectFiles(t, a.Dir, ".p.pid.lock")
		a.Mark.ExpectNobody(t)
	})
}

// When the place is taken once more, the other's file stays under its hidden name, and a warning says so.
func TestOthersFileCannotGoBack(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	file, others := dir+"/p.pid", fmt.Sprintln(bed.PlainProgram(t))
	patterns := append(taking("p.pid"), "renameat2 .p.pid.pidleash-* p.pid")
	g := bed.StartGated(t, bed.How{}, patterns, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	g.Number(t)
	g.Stdin.Close()
	g.AwaitCall(t)
	putOver(t, file, others)
	g.Pass(t)
	call, _ := g.AwaitCall(t)
	bed.WriteFile(t, file, "third\n", 0o644)
	g.Pass(t)
	g.Open()
	g.ExpectCode(t, 0)
	_, hidden, _ := strings.Cut(call, " ")
	hidden, _, _ = strings.Cut(hidden, " ")
	g.ExpectOneLine(t, "pidfile "+file+": .*"+hidden)
	if got := bed.ReadFile(t, file) + bed.ReadFile(t, dir+"/"+hidden); got != "third\n"+others {
		t.Errorf("the files have %q", got)
	}
}

// With -settle 0 a file that somebody holds in his hand for a moment is not removed yet.
func TestSettleZeroLooksAgain(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/p.pid"
	g := bed.StartGated(t, bed.How{}, []string{"statx p.pid nofollow"}, "-pidfile", file, "-settle", "0", bed.CompileC(t, "first.c"), "hold")
	g.AwaitCall(t) // the first look
	g.Pass(t)
	g.Number(t)
	bed.Must(t, os.Rename(file, file+".away"))
	g.AwaitCall(t) // it is not there
	g.Pass(t)
	g.AwaitCall(t)
	bed.Must(t, os.Rename(file+".away", file))
	g.Pass(t)
	g.Open()
	g.Stdin.Close()
	g.ExpectCode(t, 0)
	bed.ExpectEmptyDir(t, dir)
}
