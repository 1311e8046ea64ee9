package file

import (
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// What PROGRAM's user, or another one, can do to a run of root's.

// hostileDir is a directory of another user's, below one that everybody may enter.
func hostileDir(t *testing.T, a *bed.Attempt, uid int) string {
	t.Helper()
	bed.NeedRoot(t)
	dir := a.Other + "/theirs"
	bed.Must(t, os.Mkdir(dir, 0o755))
	bed.Must(t, os.Chown(dir, uid, uid))
	return dir
}

// secretFile is one that only root may read.
func secretFile(t *testing.T, a *bed.Attempt) string {
	t.Helper()
	bed.WriteFile(t, a.Other+"/secret", "only root's\n", 0o600)
	return a.Other + "/secret"
}

// At the restart a link of PROGRAM's user is at the path of -stdout.
func TestLinkPlantedBeforeARestart(t *testing.T) {
	t.Parallel()
	for _, m := range []bed.StartMode{bed.StartModes[0], bed.StartModes[2]} {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			dir, secret := hostileDir(t, a, bed.Nobody), secretFile(t, a)
			a.Options = []string{"-user", "nobody", "-stdout", dir + "/log", "-stderr", a.Other + "/err",
				"-restart", "always", "-restart-delay", "10ms"}
			a.Program = []string{"sh", "-c", `echo planted; ln -s ../secret "$0/l"; mv "$0/l" "$0/log"; exec sleep 600`, dir}
			r := a.Start(t, m)
			bed.Await(t, "the link is there", func() bool {
				_, err := os.Readlink(dir + "/log")
				return err == nil && a.IsSleeping()
			})
			if m.Name != "foreground" {
				r.ExpectCode(t, 0)
			}
			bed.Must(t, syscall.Kill(bed.PIDIn(t, a.PIDFile), syscall.SIGKILL))
			refused := regexp.MustCompile("stdout .*/theirs/log: cannot be opened: symbolic link log of user 65534 leads to what is not that user's")
			bed.Await(t, "the restart is refused", func() bool {
				text, _ := os.ReadFile(a.Other + "/err")
				return refused.MatchString(r.Stderr() + string(text))
			})
			if got := bed.ReadFile(t, secret); got != "only root's\n" {
				t.Errorf("root's file has %q", got)
			}
			_ = os.Remove(a.PIDFile)
			a.Mark.ExpectNobody(t)
		})
	}
}

// The last words are read where they were written, not by name again.
func TestLastWordsOfALink(t *testing.T) {
	t.Parallel()
	for _, option := range []string{"-stdout", "-stderr", "-ready-file"} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			dir := hostileDir(t, a, bed.Nobody)
			secretFile(t, a)
			bed.WriteFile(t, dir+"/log", "", 0o666)
			a.Options = []string{"-daemon", "-user", "nobody", "-ready", "log:^never$", option, dir + "/log"}
			a.Program = []string{"sh", "-c", `echo "its last" | tee -a /dev/stderr; rm -f "$0/log"
				ln -s ../secret "$0/log"; exit 3`, dir}
			r := a.Start(t, bed.StartModes[0])
			r.ExpectCode(t, 3)
			if text := r.Stderr(); strings.Contains(text, "only root's") {
				t.Errorf("it tells everybody: %s", text)
			} else if option != "-ready-file" && !strings.Contains(text, "its last") {
				t.Errorf("it lacks the last words: %s", text)
			}
			a.Mark.ExpectNobody(t)
		})
	}
}

// Through a link of another user's the commands reach nothing of root's.
func TestCommandsFollowNobody(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	dir := hostileDir(t, a, stranger)
	bed.Must(t, os.Chmod(a.Dir, 0o755))
	bed.Must(t, os.Symlink(a.Dir, dir+"/run"))
	bed.Must(t, os.Lchown(dir+"/run", stranger, stranger))
	r, program := bed.Leashed(t, bed.How{}, "-pidfile", a.PIDFile)
	bed.WriteFile(t, a.Dir+"/stale.pid", bed.NoSuchPID, 0o644)
	for _, words := range [][]string{
		{"stop", dir + "/run/p.pid"},
		{"signal", "TERM", dir + "/run/p.pid"},
		{"status", dir + "/run/p.pid"},
		{"stop", dir + "/run/stale.pid"},
	} {
		c := bed.Start(t, bed.How{}, words...)
		if code := c.Wait(t).ExitStatus(); code != 4 {
			t.Errorf("%v: code %d\n%s", words, code, c.Stderr())
		}
	}
	c := bed.Start(t, bed.How{}, "-pidfile", dir+"/run/stale.pid", "true")
	c.ExpectCode(t, 125)
	c.ExpectOneLine(t, `pidfile .*/stale.pid: symbolic link run of user 4242 leads to what is not that user's; `)
	if err := syscall.Kill(program, 0); err != nil {
		t.Errorf("PROGRAM: %v", err)
	}
	bed.ExpectFiles(t, a.Dir, "p.pid", "stale.pid")
	bed.RemoveFile(t, a.PIDFile)
	r.ExpectSignal(t, syscall.SIGTERM)
}

// The directory of a running leash becomes a link to root's: the file is gone, and root's stay.
func TestDirectoryBecomesALink(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	dir := hostileDir(t, a, stranger)
	bed.Must(t, os.Mkdir(dir+"/run", 0o755))
	bed.WriteFile(t, a.Dir+"/p.pid", bed.NoSuchPID, 0o644)
	r, _ := bed.Leashed(t, bed.How{}, "-pidfile", dir+"/run/p.pid")
	bed.Must(t, os.Symlink(a.Dir, dir+"/link"))
	bed.Must(t, os.Lchown(dir+"/link", stranger, stranger))
	bed.Must(t, os.Rename(dir+"/run", dir+"/old"))
	bed.Must(t, os.Rename(dir+"/link", dir+"/run"))
	r.ExpectSignal(t, syscall.SIGTERM)
	if got := bed.ReadFile(t, a.Dir+"/p.pid"); got != bed.NoSuchPID {
		t.Errorf("root's file has %q", got)
	}
}

// Who is not root opens plainly: what the kernel allows can do no harm.
func TestOthersFollow(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	dir := hostileDir(t, a, stranger)
	bed.Must(t, os.Symlink(a.Dir, dir+"/run"))
	bed.Must(t, os.Lchown(dir+"/run", stranger, stranger))
	bed.WriteFile(t, a.Dir+"/stale.pid", bed.NoSuchPID, 0o644)
	how := bed.AsNobody()
	bed.Start(t, how, "status", dir+"/run/stale.pid").ExpectCode(t, 1)
	bed.Start(t, how, "-pidfile", dir+"/run/p.pid", "-stdout", dir+"/run/log", "true").ExpectCode(t, 0)
	bed.ExpectFiles(t, a.Dir, "log", "stale.pid")
}
