#include "textflag.h"

// A signal handler, sigaction(2): signal number in DI, siginfo_t in SI. It notes whether the signal was the
// kernel's and goes on to the handler of the Go runtime. AX is free to use here.
TEXT ·noteOrigin(SB), NOSPLIT|NOFRAME, $0
	CMPL	8(SI), $0x80	// si_code, SI_KERNEL
	JEQ	kernel
	LOCK
	BTSL	DI, ·sentByProcess(SB)
	JMP	next
kernel:
	LOCK
	BTSL	DI, ·sentByKernel(SB)
next:
	MOVQ	·runtimeHandler(SB), AX
	JMP	AX

// func noteOriginPC() uintptr
TEXT ·noteOriginPC(SB), NOSPLIT, $0-8
	LEAQ	·noteOrigin(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
