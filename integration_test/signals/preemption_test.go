package signals

import (
	"bytes"
	"os"
	"testing"

	"pidleash/integration_test/bed"
)

// The scheduler's signals would only be in the way of a removal: docs/decisions/no-preemption.md.
func TestNoPreemption(t *testing.T) {
	t.Parallel()
	bed.NeedEntry(t)
	binary, err := os.ReadFile(bed.Pidleash)
	bed.Must(t, err)
	if !bytes.Contains(binary, []byte("asyncpreemptoff=1")) {
		t.Error("the binary does not have the default that the Makefile gives it")
	}
}
