package transparency

import (
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

func TestProcessGroup(t *testing.T) {
	t.Parallel()
	p := bed.StartTeller(t, bed.How{}, bed.ForEver)
	if p.Group != p.Program {
		t.Errorf("PROGRAM %d is in process group %d, want one of its own", p.Program, p.Group)
	}
	p.Finish(t)
	p = bed.StartTeller(t, bed.How{Attr: &syscall.SysProcAttr{Setpgid: true}}, bed.ForEver, "-same-group")
	if p.Group != p.PID() {
		t.Errorf("with -same-group PROGRAM is in process group %d, want pidleash's, %d", p.Group, p.PID())
	}
	p.Finish(t)
}

func TestProgramIsChild(t *testing.T) {
	t.Parallel()
	p := bed.StartTeller(t, bed.How{}, bed.ForEver)
	if p.Parent != p.PID() {
		t.Errorf("PROGRAM's parent is %d, want pidleash, %d", p.Parent, p.PID())
	}
	p.Finish(t)
}
