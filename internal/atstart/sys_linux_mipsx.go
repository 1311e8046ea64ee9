//go:build mips || mipsle

package atstart

const sysPrlimit64 = 4338
