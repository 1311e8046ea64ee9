package atstart

import _ "unsafe" // for go:linkname

// Environ returns the environment exactly as it was at start, environ(7). It is what the runtime gives to package
// syscall; os.Environ leaves out what it takes for mistakes: all but the first entry of a name, and empty ones.
//
//go:linkname Environ syscall.runtime_envs
func Environ() []string
