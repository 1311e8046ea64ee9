package pidfile

import (
	"os"
	"testing"
)

// File systems such as ext4 give the number of an inode to the next file at once.
func TestHoldRemovesNoLaterFile(t *testing.T) {
	path := in(t, "p.pid")
	pid := program(t)
	write(t, path, line(pid))
	h := Take(path)
	defer h.Close()
	if h.Verdict != Running {
		t.Fatalf("%v: %s", h.Verdict, h.Reason)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, line(pid))
	if err := h.Remove(); err != nil {
		t.Error(err)
	}
	if got := read(t, path); got != string(line(pid)) {
		t.Errorf("the file has %q", got)
	}
}

func TestHoldRemoves(t *testing.T) {
	path := in(t, "p.pid")
	write(t, path, line(program(t)))
	h := Take(path)
	defer h.Close()
	for range 2 {
		if err := h.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file: %v", err)
	}
}
