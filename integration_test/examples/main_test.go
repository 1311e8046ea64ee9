package examples

import (
	"testing"

	"pidleash/integration_test/bed"
)

func TestMain(m *testing.M) { bed.Main(m) }
