package file

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// foreign are files that somebody has put there for another purpose.
var foreign = map[string]string{
	"one word":         "leash\n", // as /etc/hostname
	"line of a log":    "a line of a log\n",
	"log":              strings.Repeat("a line of a log\n", 100),
	"configuration":    "PIDFILE=/run/p.pid\n",
	"negative":         "-1\n",
	"zero":             "0\n",
	"binary":           "\x7fELF\x1b[31m\xff\xfe\n\x00",
	"NULs and a word":  "\x00\x00\x00\x00812\n",
	"blank, then text": strings.Repeat("\n", 300) + "text",
	"long number":      strings.Repeat("7", 300),
	"number too big":   "99999999999\n",
}

// more are files that name a PID that nobody has, and do not only that.
var more = map[string]string{
	"PostgreSQL's":   bed.NoSuchPID + "/var/lib/postgresql/data\n1780000000\n5432\n",
	"sendmail's":     bed.NoSuchPID + "/usr/sbin/sendmail -bd\n",
	"same line":      strings.TrimSpace(bed.NoSuchPID) + " words\n",
	"long":           bed.NoSuchPID + strings.Repeat("x", 300),
	"blank, but big": bed.NoSuchPID + strings.Repeat(" ", 300),
}

// A file that is not a PID file, by its content, is refused and stays as it is, whichever option names it.
func TestForeignFileStays(t *testing.T) {
	t.Parallel()
	for kind, files := range map[string]map[string]string{
		"is not a PID file": foreign, "is stale and is not replaced: .*: the file has more than a PID": more,
	} {
		for name, text := range files {
			for _, m := range bed.StartModes {
				if kind == "is not a PID file" || !strings.Contains(m.Name, "forking") {
					t.Run(m.Name+", "+name, func(t *testing.T) { t.Parallel(); refuseForeign(t, m, text, kind, false) })
				}
				t.Run(m.Name+", "+name+", supervisor", func(t *testing.T) { t.Parallel(); refuseForeign(t, m, text, kind, true) })
			}
		}
	}
}

func refuseForeign(t *testing.T, m bed.StartMode, text, line string, supervisor bool) {
	t.Helper()
	a := bed.NewAttempt(t)
	file, name := a.PIDFile, "p.pid"
	if supervisor {
		a.Super = a.Dir + "/s.pid"
		file, name = a.Super, "s.pid"
	}
	bed.WriteFile(t, file, text, 0o644)
	before := inode(t, file)
	r := a.Start(t, m)
	bed.Conclusion{Code: 125, Line: "pidfile " + file + ": " + line + "; hint: remove it or name another path"}.Expect(t, r)
	bed.ExpectFiles(t, a.Dir, name)
	bed.ExpectEmptyDir(t, a.Other)
	if after := inode(t, file); after != before || bed.ReadFile(t, file) != text {
		t.Errorf("it was %+v, is %+v with %q", before, after, bed.ReadFile(t, file))
	}
}

// inode is a file in every respect but that it was read.
func inode(t *testing.T, file string) syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	bed.Must(t, syscall.Lstat(file, &st))
	st.Atim = syscall.Timespec{}
	return st
}

// What has more than a PID may still name a program that runs. And a lock says more than any content.
func TestForeignFileInUse(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			pid := bed.PlainProgram(t)
			bed.WriteFile(t, a.PIDFile, fmt.Sprintf("%d\n/var/lib/postgresql/data\n", pid), 0o600)
			bed.Conclusion{Code: 120, Line: fmt.Sprintf(`p.pid: already running as PID %d .first., held by nobody`, pid)}.Expect(t, a.Start(t, m))
			for _, text := range []string{"leash\n", bed.NoSuchPID + "words\n"} {
				bed.WriteFile(t, a.PIDFile, text, 0o600)
				file, err := os.Open(a.PIDFile)
				bed.Must(t, err)
				bed.Must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
				bed.Conclusion{Code: 120, Line: fmt.Sprintf(`p.pid: already .*, held by PID %d `, os.Getpid())}.Expect(t, a.Start(t, m))
				// A process that another test forks has the descriptor, too, until it executes something.
				bed.Must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_UN))
				file.Close()
			}
			bed.ExpectFiles(t, a.Dir, "p.pid")
			bed.ExpectEmptyDir(t, a.Other)
		})
	}
}

// What is blank is left by a power cut, or made by install(1) for a daemon.
func TestBlankFileIsReplaced(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", " \t\n", "\x00\x00\x00\x00\x00\x00"} {
		for _, m := range bed.StartModes {
			t.Run(fmt.Sprintf("%s %q", m.Name, text), func(t *testing.T) {
				t.Parallel()
				a := bed.Sleeper(t)
				if strings.Contains(m.Name, "forking") {
					a.Shell("sleep 600 & true")
				}
				bed.WriteFile(t, a.PIDFile, text, 0o644)
				a.Start(t, m)
				bed.Await(t, "PROGRAM runs", a.IsSleeping)
				a.Leave(t)
			})
		}
	}
}

// A daemon knows the file that it has left itself, and writes more than its PID.
func TestDaemonsFileIsLeftToIt(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		if !strings.Contains(m.Name, "forking") {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			old := bed.NoSuchPID + "/var/lib/postgresql/data\n"
			bed.WriteFile(t, a.PIDFile, old, 0o600)
			a.Shell(`cat "$1" >"$0/found"; sleep 600 & printf '%d\n/var/lib/postgresql/data\n' $! >"$1.new"; mv "$1.new" "$1"`)
			a.Program = append(a.Program, a.PIDFile)
			r := a.Start(t, m)
			if m.Name == "forking" {
				bed.Await(t, "the daemon has written its file", func() bool { return bed.ReadFile(t, a.PIDFile) != old })
				bed.AwaitWatched(t, r, a.PIDFile)
			} else {
				bed.Conclusion{}.Expect(t, r)
			}
			if got := bed.ReadFile(t, a.Other+"/found"); got != old {
				t.Errorf("the daemon has found %q, want %q", got, old)
			}
			a.Leave(t)
		})
	}
}
