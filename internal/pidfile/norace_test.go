//go:build !race

package pidfile

// lookLimit is how often a look may allocate.
const lookLimit = 1
