package main

import "testing"

// The lines before which the counters are written are in the sources still.
func TestOverlayFits(t *testing.T) {
	if _, err := writeOverlay("../..", t.TempDir()); err != nil {
		t.Error(err)
	}
}
