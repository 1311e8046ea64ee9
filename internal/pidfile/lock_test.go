package pidfile

import (
	"fmt"
	"os"
	"os/exec"
	"pidleash/internal/safeopen"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTakersIn(t *testing.T) {
	id := identity{dev: unix.Mkdev(0xfd, 1), ino: 1234}
	const held = "1: FLOCK  ADVISORY  WRITE 812 fd:01:1234 0 EOF\n"
	for _, c := range []struct {
		name, locks string
		want        string
	}{
		{"nobody", "", "[]"},
		{"held", held, "[812]"},
		{"no line end", held[:len(held)-1], "[812]"},
		{"shared", "1: FLOCK  ADVISORY  READ 812 fd:01:1234 0 EOF\n", "[812]"},
		{"shared by two", held + "1: FLOCK  ADVISORY  READ 813 fd:01:1234 0 EOF\n", "[812 813]"},
		{"behind others", "1: POSIX  ADVISORY  WRITE 5 fd:01:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 6 fd:01:78 0 EOF\n" + held, "[812]"},
		{"before its waiters", held + "1: -> FLOCK  ADVISORY  WRITE 900 fd:01:1234 0 EOF\n", "[812]"},
		{"a waiter alone", "1: -> FLOCK  ADVISORY  WRITE 900 fd:01:1234 0 EOF\n", "[]"},
		{"fcntl locks do not count", "1: POSIX  ADVISORY  WRITE 900 fd:01:1234 0 EOF\n", "[]"},
		{"open file description locks do not count", "1: OFDLCK ADVISORY  WRITE -1 fd:01:1234 0 EOF\n", "[]"},
		{"leases do not count", "1: LEASE  ACTIVE    READ 900 fd:01:1234 0 EOF\n", "[]"},
		{"another inode", "1: FLOCK  ADVISORY  WRITE 900 fd:01:12345 0 EOF\n2: FLOCK  ADVISORY  WRITE 900 fd:01:234 0 EOF\n", "[]"},
		{"another device, no other candidate", "1: FLOCK  ADVISORY  WRITE 812 00:2f:1234 0 EOF\n", "[812]"},
		{"another device, two candidates", "1: FLOCK  ADVISORY  WRITE 812 00:2f:1234 0 EOF\n2: FLOCK  ADVISORY  WRITE 813 00:30:1234 0 EOF\n", "[]"},
		{"another device before its own", "1: FLOCK  ADVISORY  WRITE 900 00:2f:1234 0 EOF\n" + held, "[812]"},
		{"another PID namespace", "1: FLOCK  ADVISORY  WRITE 0 fd:01:1234 0 EOF\n", "[]"},
		{"garbage", "\n1:\n1: FLOCK\n1: FLOCK ADVISORY WRITE x fd:01:1234 0 EOF\n1: FLOCK ADVISORY WRITE 812 1234 0 EOF\n", "[]"},
	} {
		if pids, _ := parseLocks([]byte(c.locks)).takersOf(id); fmt.Sprint(pids) != c.want {
			t.Errorf("%s: %v, want %s", c.name, pids, c.want)
		}
	}
}

// Device numbers below 16 have a leading zero in /proc/locks.
func TestTakersInWritesDevicesLikeTheKernel(t *testing.T) {
	id := identity{dev: unix.Mkdev(0, 5), ino: 7}
	const locks = "1: FLOCK  ADVISORY  WRITE 900 00:15:7 0 EOF\n2: FLOCK  ADVISORY  WRITE 812 00:05:7 0 EOF\n"
	if pids, sure := parseLocks([]byte(locks)).takersOf(id); fmt.Sprint(pids) != "[812]" || !sure {
		t.Errorf("%v, sure %v; want 812", pids, sure)
	}
}

func TestLock(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, nil)
	fd, err := safeopen.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	id, err := identityOfFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	own := uint32(os.Geteuid())
	if s := lockOf(fd, id, own); s != (lockState{}) {
		t.Errorf("nobody holds the lock, found %+v", s)
	}
	other := lockFile(t, path)
	if err := lock(fd); err != unix.EWOULDBLOCK {
		t.Errorf("locked by another: %v, want unix.EWOULDBLOCK", err)
	}
	if s := lockOf(fd, id, own); s != (lockState{holder: os.Getpid(), held: true}) {
		t.Errorf("PID %d holds the lock, found %+v", os.Getpid(), s)
	}
	other.Close()
	if err := lock(fd); err != nil {
		t.Errorf("free again: %v", err)
	}
}

// Whoever asks whether a file is locked shares its lock for a moment, and may be interrupted in it: that is no reason to
// refuse a start at once, nor to be without the lock of an adopted file from then on.
func TestSharedLockIsWaitedFor(t *testing.T) {
	share := func(path string) {
		asker, err := os.Open(path)
		must(t, err)
		t.Cleanup(func() { asker.Close() })
		must(t, unix.Flock(int(asker.Fd()), unix.LOCK_SH|unix.LOCK_NB))
	}
	for name, lockShared := range map[string]func() error{
		"by a start": func() error {
			path := in(t, "p.pid")
			write(t, path, line(deadPID(t)))
			share(path)
			_, err := New(path, false)
			return err
		},
		"by an adoption": func() error {
			f := published(t, in(t, "p.pid"), pidInTests)
			writeOver(t, f.path, line(pidInTests))
			share(f.path)
			return f.Adopt()
		},
	} {
		began := time.Now()
		err := lockShared()
		if took := time.Since(began); took < unseenPatience {
			t.Errorf("%s: %v after %v, want a wait of %v", name, err, took, unseenPatience)
		}
	}
}

// Two file systems in memory often give the same number to an inode.
func TestLockHolderIsOfThatFileSystem(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, nil)
	defer lockFile(t, path).Close()
	id, err := identityAt(path)
	if err != nil {
		t.Fatal(err)
	}
	var proc unix.Stat_t
	if err := unix.Stat("/proc", &proc); err != nil {
		t.Fatal(err)
	}
	for _, dev := range []uint64{proc.Dev, unix.Mkdev(0xfff, 0xfff)} {
		other := id
		other.dev = dev
		if s := lockOf(-1, other, 0); s != (lockState{}) {
			t.Errorf("device %#x: found %+v", dev, s)
		}
	}
}

// The process that has taken the lock has ended, and one that has inherited the
// descriptor keeps it: the file is held, and the number that /proc/locks shows is nobody's.
func TestInheritedLockIsHeld(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, line(deadPID(t)))
	cmd := exec.Command("sh", "-c", `exec 9<"$0"; flock 9 || exit; exec cat`, path)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	fmt.Fprintln(stdin, "locked") // it is cat that answers: before that its name is another one
	var word string
	if _, err := fmt.Fscan(stdout, &word); err != nil {
		t.Skip("no flock(1)")
	}
	file, err := open(path)
	must(t, err)
	defer file.close()
	if s := lockOf(file.fd, file.id, 0); s != (lockState{holder: cmd.Process.Pid, held: true}) {
		t.Errorf("%+v, want PID %d as the holder", s, cmd.Process.Pid)
	}
	by := fmt.Sprintf(", held by PID %d (cat)", cmd.Process.Pid)
	_, err = New(path, false)
	if !isHeld(err) || !strings.Contains(err.Error(), by) {
		t.Errorf("a stale file that is locked: %v", err)
	}
	write(t, path, line(cmd.Process.Pid))
	_, err = New(path, false)
	if !isHeld(err) || !strings.Contains(err.Error(), by) {
		t.Errorf("the file of a running program: %v", err)
	}
	if r := Inspect(path); r.Verdict != Running || r.Holder != 0 {
		t.Errorf("%+v, want it running without a pidleash", r)
	}
}
