//go:build !riscv64 && !loong64

package launch

import "golang.org/x/sys/unix"

// sysRename is the rename(2) of a directory descriptor and a name each.
const sysRename = unix.SYS_RENAMEAT
