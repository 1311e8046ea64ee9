package sys

import (
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
