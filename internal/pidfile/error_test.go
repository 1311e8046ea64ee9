package pidfile

import "testing"

func TestNameOf(t *testing.T) {
	if name := nameOf(program(t)); name != " (cat)" {
		t.Errorf("nameOf(cat's PID) = %q", name)
	}
	if name := nameOf(deadPID(t)); name != "" {
		t.Errorf("nameOf(no process) = %q", name)
	}
}
