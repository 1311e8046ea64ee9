//go:build race

package pidfile

// lookLimit is how often a look may allocate: the race detector hinders the compiler.
const lookLimit = 2
