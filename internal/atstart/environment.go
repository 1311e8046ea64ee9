package atstart

import _ "unsafe" // for go:linkname

// runtimeEnvs is what package syscall is given by the runtime. It is here because os.Environ leaves out what
// it takes for mistakes: all but the first entry of a name, and empty ones.
//
//go:linkname runtimeEnvs syscall.runtime_envs
func runtimeEnvs() []string

// Environ returns the environment exactly as it was at start, environ(7).
func Environ() []string { return runtimeEnvs() }
