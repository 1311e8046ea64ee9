package file

import (
	"os"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// A file that is removed in the very moment of its publication is a removal like any other.
func TestRemovedWhenPublished(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for range 10 {
				removeAtOnce(t, m)
			}
		})
	}
}

func removeAtOnce(t *testing.T, m bed.StartMode) {
	t.Helper()
	a := bed.Sleeper(t)
	if strings.Contains(m.Name, "forking") {
		a.Shell("sleep 600 & true")
	}
	a.Options = []string{"-settle", "0"}
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		for os.Remove(a.PIDFile) != nil && t.Context().Err() == nil {
		}
	}()
	r := a.Start(t, m)
	<-removed
	<-r.Done
	a.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, a.Dir)
}
