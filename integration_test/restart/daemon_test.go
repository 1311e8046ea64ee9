package restart

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// A PROGRAM that writes the file itself, and removes it at its end, is restarted:
// that removal is not meant.
func TestRestartOfWriters(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]string{
		"in place":     `echo $$ >"$0"`,
		"renamed over": `echo $$ >"$0.new"; mv "$0.new" "$0"`,
		"made anew":    `rm "$0"; echo $$ >"$0"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/p.pid"
			script := write + `; echo $$; while read -r order; do eval "$order"; done`
			r := &restarted{dir: filepath.Dir(file), file: file}
			r.Run = bed.Start(t, bed.How{}, "-pidfile", file, "-settle", "3s", "-log-level", "info", "-restart", "always", "-restart-delay", "200ms", "--", "sh", "-c", script, file)
			for range 3 {
				r.program, r.before = r.Number(t), r.delays(t)
				bed.Await(t, "pidleash has locked the file", func() bool { return bed.IsLockedBy(t, file, r.PID()) })
				bed.AwaitWatched(t, r.Run, file)
				r.fails(t, `rm "$0"; exit 1`)
			}
			r.Number(t)
			// The control: without the end this is a removal.
			bed.RemoveFile(t, file)
			r.ExpectSignal(t, syscall.SIGTERM)
			bed.ExpectEmptyDir(t, r.dir)
		})
	}
}

// nginx with "daemon off" is such a PROGRAM.
func TestRestartOfNginx(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	nginx := bed.NginxDaemon.Path()
	if _, err := os.Stat(nginx); err != nil {
		bed.Missing(t, "%v", err)
	}
	dir := bed.OpenDir(t)
	argv := bed.NginxDaemon.Argv(t, dir)
	config := strings.Replace(bed.ReadFile(t, dir+"/nginx.conf"), "pid own.pid;", "pid p.pid;", 1)
	bed.WriteDaemonFile(t, dir, "nginx.conf", config)
	r := &restarted{dir: dir, file: dir + "/p.pid"}
	r.Run = bed.Start(t, bed.How{}, append([]string{"-pidfile", r.file, "-log-level", "info", "-restart", "always", "-restart-delay", "50ms", "--", nginx}, argv...)...)
	for range 3 {
		bed.Await(t, "nginx answers", func() bool { return bed.AnswersAt(dir+"/sock", bed.NginxDaemon.Ask, bed.NginxDaemon.Answer) })
		program := bed.PIDIn(t, r.file)
		bed.Must(t, syscall.Kill(program, syscall.SIGQUIT)) // by which it removes its file
		bed.Await(t, "nginx is restarted", func() bool {
			text, err := os.ReadFile(r.file)
			pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
			return err == nil && pid != program && pid != r.PID() && !bed.Ended(pid)
		})
	}
	bed.Await(t, "nginx answers", func() bool { return bed.AnswersAt(dir+"/sock", bed.NginxDaemon.Ask, bed.NginxDaemon.Answer) })
	bed.RemoveFile(t, r.file)
	r.Wait(t)
	r.AwaitStderr(t, `p\.pid: removed, stopping PID `)
}

// A -supervisor-pidfile names pidleash all the time.
func TestRestartSupervisor(t *testing.T) {
	t.Parallel()
	super := bed.OpenDir(t) + "/super.pid"
	r := startRestarted(t, bed.How{}, "-supervisor-pidfile", super, "-restart", "always", "-restart-delay", bed.Never, "-restart-signal", "USR1")
	before, err := os.Stat(super)
	bed.Must(t, err)
	r.fails(t, "exit 1")
	r.Signal(syscall.SIGUSR1)
	r.begins(t)
	after, err := os.Stat(super)
	bed.Must(t, err)
	if text := bed.ReadFile(t, super); !os.SameFile(before, after) || text != strconv.Itoa(r.PID())+"\n" {
		t.Errorf("the supervisor's file has %q, and is the same: %v", text, os.SameFile(before, after))
	}
	r.fails(t, "exit 1")
	r.leaves(t)
	if _, err := os.Lstat(super); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the supervisor's file is left: %v", err)
	}
}
