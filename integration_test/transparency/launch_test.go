package transparency

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// Package syscall raises the soft limit at start; PROGRAM must not see that.
func TestLimitOfDescriptors(t *testing.T) {
	t.Parallel()
	const limits = `ulimit -Sn; ulimit -Hn; echo .`
	want := func(soft string) string {
		out, err := exec.Command("sh", "-c", "ulimit -Sn "+soft+"; "+limits).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	for _, soft := range []string{"64", "256", "1024"} {
		h := bed.How{Before: []string{"sh", "-c", `ulimit -Sn "$0"; exec "$@"`, soft}}
		r := bed.Start(t, h, "sh", "-c", limits)
		r.ExpectCode(t, 0)
		if got := r.Rest(t); got != want(soft) || !strings.HasPrefix(got, soft+"\n") {
			t.Errorf("soft and hard limit %q, want %q", got, want(soft))
		}
	}
}

// Bytes, not text: the kernel's own copies are compared.
func TestArgumentsAndEnvironment(t *testing.T) {
	t.Parallel()
	args := []string{"hold", "", " ", "a b", "--", "-x", "--pidfile=x", "-h", "status", "\n", "\xff\xfe", "*", "$HOME", strings.Repeat("x", 100_000)}
	env := []string{"Z=1", "A=2", "EMPTY=", "SPACE=a b", "LINE=a\nb", "BYTES=\xff", "EQUALS=a=b", "PIDLEASH=1", "PIDLEASHX=1", "HOME=/", "_=x"}
	consumed := []string{"PIDLEASH_LOG_LEVEL=warn", "PIDLEASH_SETTLE=1s"}
	program := bed.CompileC(t, "first.c")
	dir := bed.OpenDir(t)
	r := bed.Start(t, bed.How{OnlyIn: append(consumed, env...)}, append([]string{"-pidfile", dir + "/p.pid", "--", program}, args...)...)
	pid := r.Number(t)
	if got, want := bed.ReadFile(t, bed.ProcFile(pid, "cmdline")), zeroed(append([]string{program}, args...)); got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	if got, want := bed.ReadFile(t, bed.ProcFile(pid, "environ")), zeroed(env); got != want {
		t.Errorf("environment %q, want %q", got, want)
	}
	r.Stdin.Close()
	r.ExpectCode(t, 0)
	r.ExpectQuiet(t)
}

func zeroed(list []string) string { return strings.Join(list, "\x00") + "\x00" }

// What PROGRAM is given beside arguments and environment: descriptors, group,
// parent, directory, umask.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	r := bed.Start(t, bed.How{Dir: dir, Umask: "037"}, "-pidfile", "p.pid", bed.CompileC(t, "first.c"), "hold")
	pid := r.Number(t)
	plain := bed.Launch(t, exec.Command(bed.CompileC(t, "first.c"), "hold"))
	bed.ExpectDescriptors(t, pid, plain.Number(t))
	if cwd, err := os.Readlink(bed.ProcFile(pid, "cwd")); err != nil || cwd != dir {
		t.Errorf("working directory %s, %v; want %s", cwd, err, dir)
	}
	if status := bed.ReadFile(t, bed.ProcFile(pid, "status")); !strings.Contains(status, "\nUmask:\t0037\n") || !strings.Contains(status, fmt.Sprintf("\nPPid:\t%d\n", r.PID())) {
		t.Errorf("want umask 037 and the parent %d:\n%s", r.PID(), status)
	}
	group, err := syscall.Getpgid(pid)
	if err != nil || group != pid {
		t.Errorf("process group %d, %v; want %d", group, err, pid)
	}
	if st, err := os.Stat(dir + "/p.pid"); err != nil || st.Mode() != 0o644 {
		t.Errorf("mode of the PID file %v, %v; want 0644", st.Mode(), err)
	}
	r.Stdin.Close()
	r.ExpectCode(t, 0)
	bed.ExpectEmptyDir(t, dir)
}

// What pidleash was given beyond 0, 1 and 2 is PROGRAM's: sockets and pipes of
// a service manager.
func TestInheritedDescriptors(t *testing.T) {
	t.Parallel()
	read, write := bed.NewPipe(t)
	defer read.Close()
	defer write.Close()
	extra := []*os.File{read, write}
	plain := exec.Command(bed.CompileC(t, "first.c"), "hold")
	plain.ExtraFiles = extra
	r := bed.Start(t, bed.How{Extra: extra}, "-pidfile", bed.OpenDir(t)+"/p.pid", bed.CompileC(t, "first.c"), "hold")
	bed.ExpectDescriptors(t, r.Number(t), bed.Launch(t, plain).Number(t))
	r.Stdin.Close()
	r.ExpectCode(t, 0)
}
