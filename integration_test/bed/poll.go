package bed

import (
	"testing"
	"time"
)

// Must ends the test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Await returns when the condition holds, for what gives no handshake.
func Await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !Poll(condition) {
		t.Fatalf("has not happened: %s", what)
	}
}

// Poll asks until the condition holds, and reports whether it does.
func Poll(condition func() bool) bool { return pollFor(Patience, condition) }

func pollFor(patience time.Duration, condition func() bool) bool {
	for begin := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if Since(begin) > patience {
			return false
		}
	}
	return true
}

// Patience bounds every wait of these tests, for something that will come if
// all is well. It is no measure of anything: a busy machine must not fail a test.
const Patience = 2 * time.Minute
