package main

import "testing"

// The lines that are changed are in the sources still.
func TestOverlayFits(t *testing.T) {
	if _, err := writeOverlay("../..", t.TempDir(), "/counters"); err != nil {
		t.Error(err)
	}
}
