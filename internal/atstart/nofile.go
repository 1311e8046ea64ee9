// Package atstart knows what this process was given before Go changed it, so that the program can be given the same.
//
// The limit of open files. Package syscall raises the soft RLIMIT_NOFILE to the hard one in its own
// initialisation, and what it remembers it hands to its own ForkExec and Exec only. The program that pidleash
// starts by itself must get the limit that the user set: select(2) breaks above 1,024 descriptors.
//
// The order makes it possible: packages whose imports are initialised are initialised in the order of their import
// paths (Go specification, "Package initialization"; cmd/link sorts by path since Go 1.21). This one imports nothing
// but unsafe, and its path sorts before "syscall". A test of the built binary fails if that ever changes.
package atstart

import _ "unsafe" // for go:linkname

// Rlimit is struct rlimit64 of prlimit(2).
type Rlimit struct{ Cur, Max uint64 }

// prlimit is package syscall's, which is not imported, because it would be initialised first. The compiler accepts the
// missing body because this package has an assembly file.
//
//go:linkname prlimit syscall.prlimit
func prlimit(pid, resource int, limit, old *Rlimit) error

// nofile is written once, before main, and only read afterwards.
var nofile, nofileKnown = readNofile()

func readNofile() (Rlimit, bool) {
	var l Rlimit
	err := prlimit(0, rlimitNofile, nil, &l)
	return l, err == nil
}

// Nofile returns RLIMIT_NOFILE as it was at start; ok is false when the kernel did not tell.
func Nofile() (limit Rlimit, ok bool) { return nofile, nofileKnown }
