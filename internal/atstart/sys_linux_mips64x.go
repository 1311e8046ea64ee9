//go:build mips64 || mips64le

package atstart

const sysPrlimit64 = 5297
