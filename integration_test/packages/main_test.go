// Package packages is about what is handed out: what make install and make dist make.
package packages

import (
	"testing"

	"pidleash/integration_test/bed"
)

func TestMain(m *testing.M) { bed.Main(m) }
