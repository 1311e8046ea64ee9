package containers

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

const unseen = "held by a process that cannot be seen from here"

// elsewhere is how pidleash runs in a PID namespace of its own, with its own /proc.
func elsewhere() bed.How {
	return bed.How{Before: []string{"unshare", "--pid", "--mount-proc", "--fork", "--kill-child"}}
}

// heldElsewhere is a file of a pidleash in another PID namespace, which names an innocent process here.
func heldElsewhere(t *testing.T, options ...string) (file string, holder *bed.Run, innocent int) {
	t.Helper()
	bed.NeedRoot(t)
	file = bed.OpenDir(t) + "/p.pid"
	holder = bed.Start(t, elsewhere(), append(append([]string{"-pidfile", file}, options...), bed.CompileC(t, "first.c"), "hold")...)
	holder.Line(t)
	return file, holder, bed.PIDIn(t, file)
}

// A number of another PID namespace means nothing here; the lock does.
func TestCommandsInAnotherNamespace(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{nil, {"-restart", "always"}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			t.Parallel()
			file, holder, innocent := heldElsewhere(t, options...)
			here := elsewhere()
			// An innocent process has that number in the namespace of the commands.
			here.Before = append(here.Before, "sh", "-c", `
				file=$0 pid=$1; shift
				while sleep 600 & [ $! -lt $pid ]; do kill $!; wait $!; done
				[ $! = $pid ] || exit 99
				"$@"; code=$?
				kill -0 $pid && exit $code; exit 98`, file, fmt.Sprint(innocent))
			for _, c := range []struct {
				code  int
				words []string
			}{{4, []string{"status", file}}, {4, []string{"signal", "KILL", file}}, {4, []string{"wait", file}},
				{4, []string{"wait", "-until", "running", file}}, {120, []string{"-pidfile", file, "true"}}} {
				r := bed.Start(t, here, c.words...)
				r.ExpectCode(t, c.code)
				if text := r.Rest(t) + r.Stderr(); !strings.Contains(text, unseen) {
					t.Errorf("%v says %q", c.words, text)
				}
			}
			program := programBelow(t, holder)
			r := bed.Start(t, here, "stop", "-timeout", "20s", "-stop", "KILL", file)
			r.ExpectCode(t, 0)
			if !bed.Ended(program) {
				t.Error("PROGRAM runs")
			}
			holder.Wait(t)
			bed.ExpectEmptyDir(t, strings.TrimSuffix(file, "/p.pid"))
		})
	}
}

// programBelow is PROGRAM's PID here: unshare has a pidleash as its child, and that has PROGRAM.
func programBelow(t *testing.T, holder *bed.Run) int {
	t.Helper()
	for _, pidleash := range bed.ChildPIDs(holder.PID()) {
		for _, program := range bed.ChildPIDs(pidleash) {
			return program
		}
	}
	t.Fatal("there is no PROGRAM")
	return 0
}

// The pidleash of a container can be seen from the host; the PID that it has written is of the container.
func TestCommandsOnNestedNamespace(t *testing.T) {
	t.Parallel()
	file, holder, _ := heldElsewhere(t, "-restart", "always")
	for _, words := range [][]string{{"status", file}, {"signal", "KILL", file}, {"wait", file}} {
		r := bed.Start(t, bed.How{}, words...)
		r.ExpectCode(t, 4)
		if text := r.Rest(t) + r.Stderr(); !strings.Contains(text, "is in another PID namespace") {
			t.Errorf("%v says %q", words, text)
		}
	}
	bed.Start(t, bed.How{}, "stop", "-timeout", "20s", file).ExpectCode(t, 0)
	holder.Wait(t)
}

// -while-running holds as long as the file is held, whoever has its number here.
func TestWhileRunningInAnotherNamespace(t *testing.T) {
	t.Parallel()
	file, holder, _ := heldElsewhere(t)
	r := bed.Start(t, elsewhere(), "-while-running", file, bed.CompileC(t, "first.c"), "hold")
	r.Line(t)
	r.AwaitStderr(t, "while-running "+file+": "+unseen+"\n")
	if r.Warnings("\n") != 1 {
		t.Errorf("want one warning:\n%s", r.Stderr())
	}
	holder.Stdin.Close()
	holder.Wait(t)
	r.AwaitStderr(t, "while-running "+file+": not running, stopping PID ")
	r.Wait(t)
}

// A killed pidleash holds nothing, and its file is stale everywhere.
func TestKilledInAnotherNamespace(t *testing.T) {
	t.Parallel()
	file, holder, _ := heldElsewhere(t)
	for _, pid := range bed.ChildPIDs(holder.PID()) {
		bed.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	holder.Wait(t)
	bed.WriteFile(t, file, bed.NoSuchPID, 0o644)
	bed.Start(t, elsewhere(), "-pidfile", file, "true").ExpectCode(t, 0)
}

// hiding are ways in which /proc shows less than there is.
var hiding = map[string][]string{
	"subset=pid":        {"sh", "-c", `mount -t proc -o subset=pid proc /proc && exec "$@"`, "sh"},
	"hidepid, no locks": {"sh", "-c", `mount -t proc -o subset=pid,hidepid=2 proc /proc && exec setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace "$@"`, "sh"},
	"no /proc":          {"sh", "-c", `mount -t tmpfs none /proc && exec "$@"`, "sh"},
	"no pidfds":         {"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS"},
	"pidfds forbidden":  {"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=EPERM"},
	"locks masked":      {"sh", "-c", `mount --bind /dev/null /proc/locks && exec "$@"`, "sh"},
}

// Not visible is never nobody: the wrapper stops its program, by its own schedule, and does not start it again.
func TestStopWhereProcHides(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for name, before := range hiding {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := exec.Command("unshare", append(append([]string{"--mount"}, before...), "true")...).Run(); err != nil {
				bed.Missing(t, "%s: %v", name, err)
			}
			dir := bed.OpenDir(t)
			file := dir + "/p.pid"
			p := bed.StartTeller(t, bed.How{}, 2, "-pidfile", file, "-restart", "always", "-stop", "USR1")
			h := bed.How{Before: append([]string{"unshare", "--mount"}, before...)}
			next := bed.Start(t, h, "-pidfile", file, "true")
			next.ExpectCode(t, 120)
			stop := bed.Start(t, h, "stop", "-timeout", "20s", "-stop", "KILL", file)
			p.GotWithCont(t, syscall.SIGUSR1)
			stop.ExpectCode(t, 0)
			if !bed.Ended(p.Program) {
				t.Error("PROGRAM runs")
			}
			p.Wait(t)
			if _, err := os.Stat(file); err == nil {
				t.Error("the file is there")
			}
		})
	}
}

// Where /proc is that of another namespace, its numbers mean nothing here: who has one of them here is not signaled.
func TestProcOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for mode, program := range map[string]string{"mixed": `rm "$0"; sleep 0.5`, "tree": `rm "$0"; exec sleep 600`} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			// The wrapper gets the number that the parent has in this namespace, an innocent process that of its child.
			parent := exec.Command("sh", "-c", "sleep 600 & echo $!; read x; kill $!; wait")
			input, err := parent.StdinPipe()
			bed.Must(t, err)
			output, err := parent.StdoutPipe()
			bed.Must(t, err)
			bed.Must(t, parent.Start())
			defer func() {
				input.Close()
				_ = parent.Wait() // by its child's signal
			}()
			var child int
			_, err = fmt.Fscan(output, &child)
			bed.Must(t, err)
			const script = `
				mkdir "$0/proc"; mount -t proc none "$0/proc"; last="$0/proc/sys/kernel/ns_last_pid"
				parent=$1 child=$2; shift 2
				echo $((child - 1)) >"$last"; sleep 600 & innocent=$!
				echo $((parent - 1)) >"$last"; "$@" & wrapper=$!
				wait $wrapper || :
				echo $((innocent - child)) $((wrapper - parent))
				kill -0 $innocent`
			dir := bed.OpenDir(t)
			r := bed.Start(t, bed.How{Before: []string{"unshare", "--pid", "--fork", "--kill-child", "--mount",
				"sh", "-ec", script, dir, fmt.Sprint(parent.Process.Pid), fmt.Sprint(child)}},
				"-stop", "KILL", "-kill-mode", mode, "-pidfile", dir+"/p.pid", "sh", "-c", program, dir+"/p.pid")
			r.Expect(t, "0 0")
			r.ExpectCode(t, 0)
		})
	}
	for option, line := range map[string]string{
		"-forking": "-forking: cannot tell the daemon without /proc: /proc is that of another PID namespace; hint: mount /proc",
		"-daemon":  "keeper: /proc is that of another PID namespace; hint: mount /proc",
		"-sidecar": "keeper: /proc is that of another PID namespace; hint: mount /proc",
	} {
		dir := bed.OpenDir(t)
		h := bed.How{Before: []string{"unshare", "--pid", "--fork", "--kill-child", "sh", "-c", `"$@"; exit $?`, "sh"}}
		r := bed.Start(t, h, option, "-pidfile", dir+"/p.pid", "sleep", "600")
		r.ExpectCode(t, 125)
		r.ExpectOneLine(t, line)
		bed.ExpectEmptyDir(t, dir)
	}
}

// A program that was started without pidleash is running, whoever has its number in the /proc of another namespace; and
// without any /proc a number that is the start's own is stale.
func TestNumbersWithoutOwnProc(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for name, proc := range map[string]string{"another": ":", "none": "mount -t tmpfs none /proc"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/p.pid"
			here := bed.How{Before: []string{"unshare", "--pid", "--fork", "--kill-child", "--mount", "sh", "-ec", proc + `
				sleep 600 & echo $! >"$0"; touch -d "1 hour ago" "$0"
				"$@" && exit 99; echo $?
				cat "$0" >&2; echo 1 >"$0"; exec "$@"`, file}}
			r := bed.Start(t, here, "-pidfile", file, "cat", file)
			r.Expect(t, "120")
			if pid := r.Line(t); pid == "1" {
				t.Error("the program has not written its own PID")
			}
			r.ExpectCode(t, 0)
			r.AwaitStderr(t, "pidfile "+file+": already running as PID [23], held by nobody: it was started without pidleash; ")
			r.AwaitStderr(t, "\n[23]\n")
		})
	}
}
