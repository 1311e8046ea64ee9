//go:build riscv64 || loong64

package launch

import "golang.org/x/sys/unix"

// sysRename is the only rename(2) of these architectures: without flags, with zeros behind its arguments.
const sysRename = unix.SYS_RENAMEAT2
