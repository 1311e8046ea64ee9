//go:build !mips && !mipsle && !mips64 && !mips64le

package signals

import "syscall"

const stackFault = syscall.SIGSTKFLT
