//go:build linux

// Pidleash runs a program on the leash of its PID file; see README.md.
package main

import (
	"os"

	"pidleash/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
