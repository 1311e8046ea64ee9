//go:build !linux

package main

// The build ends here with a line that says why.
func main() { pidleash_runs_on_Linux_only() }
