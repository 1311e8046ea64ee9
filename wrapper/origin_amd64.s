#include "textflag.h"

// A signal handler, sigaction(2): signal number in DI, siginfo_t in SI. It
// remembers that the signal was not the kernel's and goes on to the handler of
// the Go runtime. AX and CX are free to use here.
TEXT ·noteOrigin(SB), NOSPLIT|NOFRAME, $0
	CMPL	8(SI), $0x80	// si_code, SI_KERNEL
	JEQ	next
	MOVL	DI, CX
	DECL	CX
	MOVL	$1, AX
	SHLQ	CX, AX
	LOCK
	ORQ	AX, ·sentByProcess(SB)
next:
	MOVQ	·runtimeHandler(SB), AX
	JMP	AX

// func noteOriginPC() uintptr
TEXT ·noteOriginPC(SB), NOSPLIT, $0-8
	LEAQ	·noteOrigin(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
