package exit

import (
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// inUserNamespace makes pidleash root in a user namespace that has one user, and denies setgroups(2).
var inUserNamespace = []string{"setpriv", "--groups=0", "unshare", "--user", "--map-root-user"}

// -user asks for no right that it does not need: not where pidleash is that user already, not in a user namespace
// where nobody has it, in any mode.
func TestUserThatChangesNothing(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, c := range []struct {
		name   string
		before []string
		user   string
		want   string // what id says
	}{
		{"nobody", []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, "nobody", "65534 65534"},
		{"number", []string{"setpriv", "--reuid=61234", "--regid=61235", "--groups=61235"}, "61234:61235", "61234 61235"},
		{"groups of a container", []string{"setpriv", "--reuid=61234", "--regid=61235", "--groups=61235,5"}, "61234:61235", "61234 61235"},
		{"user namespace", inUserNamespace, "root", "0 0"},
		{"user namespace by number", inUserNamespace, "0:0", "0 0"},
		{"no capability", []string{"setpriv", "--bounding-set=-setuid,-setgid", "--groups=0"}, "root", "0 0"},
	} {
		for _, mode := range bed.StartModes {
			t.Run(c.name+" "+mode.Name, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				a.How.Before = c.before
				a.Options = []string{"-user", c.user}
				a.Shell(`echo $(id -u) $(id -g) >"$0/new"; mv "$0/new" "$0/id"; exec sleep 600`)
				if strings.Contains(mode.Name, "forking") {
					a.Program[2] = "{ " + a.Program[2] + "; } &"
				}
				r := a.Start(t, mode)
				bed.Await(t, "PROGRAM runs, or not", func() bool {
					return !bed.IsGone(a.Other+"/id") && !bed.IsGone(a.PIDFile) || r.Stderr() != ""
				})
				if r.Stderr() != "" {
					t.Fatalf("standard error has %q", r.Stderr())
				}
				if text := bed.ReadFile(t, a.Other+"/id"); text != c.want+"\n" {
					t.Errorf("PROGRAM is %q, want %q", text, c.want)
				}
				bed.RemoveFile(t, a.PIDFile)
				r.Wait(t)
				a.Mark.ExpectNobody(t)
			})
		}
	}
}

// Who may set the supplementary groups does so, also for the same user.
func TestUserSetsGroups(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	h := bed.How{Before: []string{"setpriv", "--groups=0,5,61234"}}
	r := bed.Start(t, h, "-user", "0:0", "id", "-G")
	r.Expect(t, "0")
	r.ExpectCode(t, 0)
}

// Who has the rights of pidleash, and not that to look at everybody, sees who holds the file: as in a container, whose
// root has no CAP_SYS_PTRACE. The child that changes its user has had pidleash's memory for a moment.
func TestUserLeavesPidleashVisible(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	h := bed.How{Before: []string{"setpriv", "--bounding-set=-sys_ptrace"}}
	for _, mode := range bed.StartModes {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.How.Before = h.Before
			a.Options = []string{"-user", "nobody"}
			a.Shell(`exec sleep 600`)
			if strings.Contains(mode.Name, "forking") {
				a.Program[2] = "{ " + a.Program[2] + "; } &"
			}
			r := a.Start(t, mode)
			var out string
			if !bed.Poll(func() bool {
				status := bed.Start(t, h, "status", a.PIDFile)
				out = status.Rest(t)
				return status.Wait(t).ExitStatus() == 0
			}) {
				t.Errorf("status says %q", out)
			}
			bed.RemoveFile(t, a.PIDFile)
			r.Wait(t)
			a.Mark.ExpectNobody(t)
		})
	}
}

// A change that is refused is named: the call, and why.
func TestUserRefused(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, c := range []struct {
		name   string
		before []string
		user   string
		line   string
	}{
		{"groups", []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, "daemon", `setgroups\(2\): operation not permitted`},
		{"groups in a user namespace", inUserNamespace, "daemon", `setgroups\(2\): operation not permitted`},
		{"group", []string{"setpriv", "--bounding-set=-setgid", "--groups=5"}, "0:5", `setresgid\(2\): operation not permitted`},
		{"group of another's", []string{"setpriv", "--reuid=61234", "--regid=61235", "--groups=5"}, "61234:5", `setresgid\(2\): operation not permitted`},
		{"user", []string{"setpriv", "--bounding-set=-setuid"}, "nobody", `setresuid\(2\): operation not permitted`},
		{"user that is not mapped", inUserNamespace, "61236:0", `setresuid\(2\): invalid argument`},
	} {
		for _, mode := range bed.StartModes {
			t.Run(c.name+" "+mode.Name, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				a.How.Before = c.before
				a.Options = []string{"-user", c.user}
				name, _, _ := strings.Cut(c.user, ":")
				line := "^pidleash: user " + name + ": cannot become it: " + c.line + "; hint: only root can"
				bed.Conclusion{Code: 125, Line: line}.Expect(t, a.Start(t, mode))
				bed.ExpectEmptyDir(t, a.Dir)
				bed.ExpectEmptyDir(t, a.Other)
			})
		}
	}
}

// A container may let its root become another user, and not signal that user's processes: such a program would run
// without a leash.
func TestUserThatCannotBeSignaled(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, mode := range bed.StartModes {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.How.Before = []string{"setpriv", "--bounding-set=-kill"}
			a.Options = []string{"-user", "nobody"}
			line := "^pidleash: CAP_KILL: pidleash could not signal a program of user 65534; hint: "
			bed.Conclusion{Code: 125, Line: line}.Expect(t, a.Start(t, mode))
			bed.ExpectEmptyDir(t, a.Dir)
			bed.ExpectEmptyDir(t, a.Other)
		})
	}
	r := bed.Start(t, bed.How{Before: []string{"setpriv", "--bounding-set=-kill"}}, "-user", "root:0", "id", "-u")
	r.Expect(t, "0")
	r.ExpectCode(t, 0)
}
