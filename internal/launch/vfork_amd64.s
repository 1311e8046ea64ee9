#include "textflag.h"

#define SYS_clone	56

// func vfork() (pid, errno uintptr)
//
// The child runs on the caller's stack while the parent waits, and what it calls overwrites the slot of this
// function's return address: it is kept in a register, of which each has its own.
TEXT ·vfork(SB), NOSPLIT|NOFRAME, $0-16
	MOVL	$0x4111, DI	// CLONE_VFORK | CLONE_VM | SIGCHLD
	XORL	SI, SI	// the same stack
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$SYS_clone, AX
	POPQ	R12
	SYSCALL
	PUSHQ	R12
	CMPQ	AX, $-4095
	JCC	failed
	MOVQ	AX, pid+0(FP)
	MOVQ	$0, errno+8(FP)
	RET
failed:
	NEGQ	AX
	MOVQ	$0, pid+0(FP)
	MOVQ	AX, errno+8(FP)
	RET
