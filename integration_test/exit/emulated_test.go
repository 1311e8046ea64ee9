package exit

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// emulators run a binary for another machine, qemu-user(1). PROGRAM is one of this machine in every case: what such a
// binary executes, the kernel executes. amd64 runs what is for 386 itself.
//
// What is not tried: -daemon and -sidecar execute /proc/self/exe, which is the emulator there; and where CLONE_VM or
// the entry code matter there is nothing to try, only amd64 has them.
var emulators = map[string]string{
	"386": "", "arm": "qemu-arm-static", "arm64": "qemu-aarch64-static",
	"mips": "qemu-mips-static", "mipsle": "qemu-mipsel-static", "mips64": "qemu-mips64-static", "mips64le": "qemu-mips64el-static",
	"ppc64": "qemu-ppc64-static", "ppc64le": "qemu-ppc64le-static", "riscv64": "qemu-riscv64-static", "s390x": "qemu-s390x-static",
}

// TestEmulated tries the binary for arm64, and the one with 32 bits that this machine runs itself, or those that GOARCHS
// names, or "all".
func TestEmulated(t *testing.T) {
	names := strings.Fields(os.Getenv("GOARCHS"))
	switch {
	case len(names) == 0 && runtime.GOARCH == "amd64":
		names = []string{"arm64", "386"}
	case len(names) == 0:
		names = []string{"arm64"}
	case names[0] == "all":
		names = names[:0]
		for name := range emulators {
			names = append(names, name)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if name == runtime.GOARCH {
				t.Skip("this machine's: every other test is about it")
			}
			h := bed.How{File: t.TempDir() + "/pidleash"}
			if emulators[name] != "" {
				emulator, err := exec.LookPath(emulators[name])
				if err != nil {
					bed.Missing(t, "%v", err)
				}
				h.Before = []string{emulator}
			}
			build := exec.Command("make", "-s", "-C", bed.ModuleFile(), "build", "OUT="+h.File)
			build.Env = append(os.Environ(), "GOARCH="+name)
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if err := exec.Command(h.File, "-version").Run(); len(h.Before) == 0 && errors.Is(err, syscall.ENOEXEC) {
				t.Skip("a kernel without IA32 emulation runs none for 386")
			}
			smoke(t, h)
		})
	}
}

// smoke is what must work on every architecture: each case goes through other system calls whose numbers, arguments
// and structures differ.
func smoke(t *testing.T, h bed.How) {
	t.Run("exit code", func(t *testing.T) {
		dir := bed.OpenDir(t)
		r := bed.Start(t, h, "-pidfile", dir+"/p.pid", "sh", "-c", `[ "$(cat "$0/p.pid")" = $$ ] && exit 3`, dir)
		r.ExpectCode(t, 3)
		r.ExpectQuiet(t)
		bed.ExpectEmptyDir(t, dir)
	})
	t.Run("removal", func(t *testing.T) {
		dir := bed.OpenDir(t)
		r, program := bed.Leashed(t, h, "-pidfile", dir+"/p.pid", "-settle", "0")
		if got := bed.PIDIn(t, dir+"/p.pid"); got != program {
			t.Errorf("the file names PID %d, PROGRAM is %d", got, program)
		}
		bed.RemoveFile(t, dir+"/p.pid")
		r.ExpectSignal(t, syscall.SIGTERM)
		r.ExpectOneLine(t, "p.pid: removed, stopping PID "+strconv.Itoa(program))
	})
	t.Run("forwarded signals", func(t *testing.T) {
		r := bed.Start(t, h, "sh", "-c", `trap "echo usr1" USR1; trap "echo hup; exit 5" HUP; echo up; while :; do read x; done`)
		r.Expect(t, "up")
		for _, c := range []struct {
			sig  syscall.Signal
			word string
		}{{syscall.SIGUSR1, "usr1"}, {syscall.SIGHUP, "hup"}} {
			r.Signal(c.sig)
			r.Expect(t, c.word)
		}
		r.ExpectCode(t, 5)
	})
	t.Run("dispositions", func(t *testing.T) {
		// No real-time signals: the emulator gives them other numbers.
		r := bed.Start(t, h, "-ignore", "USR1,HUP", "grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status")
		text := r.Rest(t)
		r.ExpectCode(t, 0)
		for name, want := range map[string]uint64{"SigBlk": 0, "SigIgn": 1<<(syscall.SIGUSR1-1) | 1<<(syscall.SIGHUP-1)} {
			if !strings.Contains(text, name+":\t"+pad(want)+"\n") {
				t.Errorf("%s is not %s:\n%s", name, pad(want), text)
			}
		}
	})
	t.Run("user", func(t *testing.T) {
		bed.NeedRoot(t)
		r := bed.Start(t, h, "-user", "70000:70001", "-umask", "027", "-nice", "5", "sh", "-c", "id -u; id -g; id -G; umask; nice")
		for _, want := range []string{"70000", "70001", "70001", "0027", "5"} {
			r.Expect(t, want)
		}
		r.ExpectCode(t, 0)
	})
	t.Run("limit", func(t *testing.T) {
		limited := h
		limited.Before = append([]string{"prlimit", "--nofile=256:"}, h.Before...)
		r := bed.Start(t, limited, "sh", "-c", "ulimit -n")
		r.Expect(t, "256")
	})
	t.Run("commands", func(t *testing.T) { expectCommands(t, h) })
	t.Run("commands after a year", func(t *testing.T) { // an int of 32 bits has no room for the start times then
		bed.NeedRoot(t)
		old := h
		old.Before = append([]string{"unshare", "--time", "--boottime", "31536000", "--fork", "--kill-child"}, h.Before...)
		if out, err := exec.Command("unshare", append(old.Before[1:6:6], "true")...).CombinedOutput(); err != nil {
			bed.Missing(t, "unshare --time: %v: %s", err, out)
		}
		expectCommands(t, old)
	})
	t.Run("restart", func(t *testing.T) {
		dir := bed.OpenDir(t)
		r := bed.Start(t, h, "-pidfile", dir+"/p.pid", "-restart", "on-failure", "-restart-delay", "0s", "sh", "-c",
			`[ -e "$0/once" ] || { touch "$0/once"; exit 1; }; echo again`, dir)
		r.Expect(t, "again")
		r.ExpectCode(t, 0)
		bed.ExpectFiles(t, dir, "once")
	})
	t.Run("mistake", func(t *testing.T) {
		r := bed.Start(t, h, "-pidfle", "x", "true")
		r.ExpectCode(t, 125)
		r.ExpectOneLine(t, "no option -pidfle; hint: did you mean -pidfile")
	})
}

func expectCommands(t *testing.T, h bed.How) {
	dir := bed.OpenDir(t)
	r, _ := bed.Leashed(t, h, "-pidfile", dir+"/p.pid")
	bed.Start(t, h, "status", dir+"/p.pid").ExpectCode(t, 0)
	second := bed.Start(t, h, "-pidfile", dir+"/p.pid", "true")
	second.ExpectCode(t, 120)
	bed.Start(t, h, "signal", "CONT", dir+"/p.pid").ExpectCode(t, 0)
	stop := bed.Start(t, h, "stop", dir+"/p.pid")
	stop.ExpectCode(t, 0)
	r.ExpectSignal(t, syscall.SIGTERM)
	bed.ExpectEmptyDir(t, dir)
}

// pad writes a set as proc_pid_status(5) does.
func pad(set uint64) string {
	text := strconv.FormatUint(set, 16)
	return strings.Repeat("0", 16-len(text)) + text
}
