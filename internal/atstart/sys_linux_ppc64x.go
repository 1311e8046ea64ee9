//go:build ppc64 || ppc64le

package atstart

const sysPrlimit64 = 325
