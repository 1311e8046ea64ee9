//go:build entry

package atstart

// entry is where the kernel enters a binary linked with -E, see entry_amd64.s. It is never called.
//
//lint:ignore U1000 the linker names it, see the Makefile
func entry()
