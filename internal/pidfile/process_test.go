package pidfile

import (
	"os"
	"testing"
)

func TestIsSelfOrAncestor(t *testing.T) {
	for pid, want := range map[int]bool{os.Getpid(): true, os.Getppid(): true, program(t): false, deadPID(t): false} {
		if isSelfOrAncestor(pid) != want {
			t.Errorf("isSelfOrAncestor(%d) = %v; this is %d, child of %d", pid, !want, os.Getpid(), os.Getppid())
		}
	}
}

func TestNameOf(t *testing.T) {
	if name := nameOf(program(t)); name != " (cat)" {
		t.Errorf("nameOf(cat's PID) = %q", name)
	}
	if name := nameOf(deadPID(t)); name != "" {
		t.Errorf("nameOf(no process) = %q", name)
	}
}
