package atstart

// entry is where the kernel enters a binary linked with -E, see entry_amd64.s.
// It is never called.
func entry()
