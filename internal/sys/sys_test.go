package sys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAgain: an interrupted call is made until it is answered, and any other answer is the caller's.
func TestAgain(t *testing.T) {
	for _, want := range []error{nil, unix.EIO, unix.EAGAIN} {
		calls := 0
		answer := func() error {
			if calls++; calls < 4 {
				return unix.EINTR
			}
			return want
		}
		if err := Again(answer); err != want || calls != 4 {
			t.Errorf("got %v after %d calls, want %v after 4", err, calls, want)
		}
		calls = 0
		if n, err := value(func() (int, error) { err := answer(); return calls, err }); n != 4 || err != want {
			t.Errorf("got %d and %v, want 4 and %v", n, err, want)
		}
	}
}

// TestReadFile: the size of the first piece does not matter.
func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := ReadFile(path, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, want := range []string{"", "ab", "a longer text"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, room := range []int{1, 2, 100} {
			if got, err := ReadFile(path, room); string(got) != want || err != nil {
				t.Errorf("%d bytes at first: %q, %v; want %q", room, got, err, want)
			}
		}
	}
	if _, err := ReadFile(filepath.Dir(path), 1); !errors.Is(err, unix.EISDIR) {
		t.Errorf("a directory: %v", err)
	}
}
