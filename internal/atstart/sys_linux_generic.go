//go:build linux && (arm64 || riscv64 || loong64)

package atstart

// The number in the table that newer architectures share, asm-generic/unistd.h.
const sysPrlimit64 = 261
