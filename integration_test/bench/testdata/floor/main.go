// Floor is the least wrapper. It shows what of pidleash's times is Go's.
package main

import (
	"os"

	"pidleash/integration_test/bench/testdata/least"
)

func main() { least.Wrap(os.Args[1:], nil, nil) }
