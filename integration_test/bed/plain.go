package bed

import "testing"

// lost lists the tests that the build without the entry code does not pass, and
// why: Go's runtime has changed what they ask for before the first line of
// pidleash runs. docs/transparency.md says it to users.
var lost = map[string]string{
	"TestTransparency":              "it compares both builds by itself",
	"TestNoPreemption":              "only the Makefile sets that default",
	"TestSignalsEarly/3":            "Go prints its goroutines at QUIT until somebody asks for it",
	"TestSignalsEarly/10":           "Go drops USR1 until somebody asks for it",
	"TestSignalsEarly/40":           "Go drops real-time signals until somebody asks for them",
	"TestIgnore/ignore=13,ignore=1": "Go has a handler for PIPE",
	"TestSignalDispositions/ignore=3,ignore=10,ignore=13,ignore=15,ignore=17,ignore=34,ignore=64":  "Go has handlers for them",
	"TestSignalDispositions/block=10,block=12,block=15,block=64":                                   "Go unblocks TERM",
	"TestSignalDispositions/block=1,block=6,block=11,block=13,block=17,block=23,block=27,block=34": "Go unblocks most of them",
}

// NeedEntry skips a test that is in the list, on a build without the entry code.
func NeedEntry(t testing.TB) {
	t.Helper()
	if reason, ok := lost[t.Name()]; ok && withoutEntry {
		t.Skipf("built without the entry code: %s", reason)
	}
}
