package cli

import (
	"runtime"
	"strings"
	"testing"
)

// What neither the Makefile nor the Go command has known is said to be so. The binary of a test has no commit.
func TestVersion(t *testing.T) {
	if got, want := version(), "pidleash devel (commit unknown, "+runtime.Version()+")\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	builtVersion, builtCommit = "1.2.3", "0123abcd"
	defer func() { builtVersion, builtCommit = "", "" }()
	if got := version(); !strings.HasPrefix(got, "pidleash 1.2.3 (commit 0123abcd, go") {
		t.Errorf("got %q", got)
	}
}
