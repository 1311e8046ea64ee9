package wrapper

import _ "unsafe" // for go:linkname

// beforeExec and afterExec keep the Go runtime from making a thread while another
// one calls execve(2), which fails and ends the process; golang.org/issue/19546.
// Package syscall is given them by the runtime, for its Exec.
//
//go:linkname beforeExec syscall.runtime_BeforeExec
func beforeExec()

//go:linkname afterExec syscall.runtime_AfterExec
func afterExec()
