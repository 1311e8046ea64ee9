package bed

import "testing"

// differs lists the tests that the build without the entry code cannot pass, and
// why. docs/transparency.md has what that build loses.
var differs = map[string]string{}

// NeedEntry skips a test of the list on a build without the entry code.
func NeedEntry(t testing.TB) {
	t.Helper()
	reason, known := differs[t.Name()]
	if !known {
		t.Fatalf("%s is not in the list of tests that need the entry code", t.Name())
	}
	if withoutEntry {
		t.Skipf("built without the entry code: %s", reason)
	}
}
