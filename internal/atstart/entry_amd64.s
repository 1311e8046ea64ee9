//go:build entry

// The first instructions of the released binary, which is linked with -E pidleash/internal/atstart.entry: they write
// down what the Go runtime is about to change, block all signals, and go on to the runtime's own entry.
//
// Blocking does two things. No signal is lost or kills pidleash before it can be forwarded, from the first instruction
// on. And every thread that the runtime creates starts with these signals blocked, so that they can be read from a
// signalfd(2); os/signal takes 20 to 60 µs for each signal that it enables, one to three milliseconds in all.
//
// The runtime unblocks some signals in each thread: those for which its table says that they end the process. A thread
// that takes one may be slow to end the process, and do it after the PID file was claimed; then the file stays. So this
// code changes the table (runtime/sigtab_linux_generic.go) for HUP, INT, QUIT, ABRT and TERM: it gives them the flags
// of USR1. If the table has other flags than expected, it is left as it is, and os/signal catches these signals.
//
// The kernel enters with argc at 0(SP) and rdx 0; all else is free to use. The system calls keep every register but
// AX, CX and R11.

#include "textflag.h"

#define SYS_rt_sigaction	13
#define SYS_rt_sigprocmask	14
#define SYS_fcntl	72
#define SIG_IGN	1
#define SIG_BLOCK	0
#define F_GETFD	1
// An element of the runtime's table has flags, of 4 bytes, and a name.
#define FLAGS(sig)	runtime·sigtable+(24*sig)(SB)
#define NOTIFY	1	// _SigNotify
#define KILL	3	// _SigNotify + _SigKill
#define THROW	5	// _SigNotify + _SigThrow

TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	SUBQ	$32, SP	// a struct sigaction

	// ignored: bit N-1 for each signal N from 64 to 1 that is ignored.
	XORL	R12, R12
	MOVL	$64, DI
signal:
	SHLQ	$1, R12
	MOVL	$SYS_rt_sigaction, AX
	XORL	SI, SI
	MOVQ	SP, DX
	MOVL	$8, R10
	SYSCALL
	TESTQ	AX, AX
	JNE	next
	CMPQ	0(SP), $SIG_IGN
	JNE	next
	ORQ	$1, R12
next:
	DECL	DI
	JNE	signal
	MOVQ	R12, ·ignored(SB)

	// closed: bit N for each of the descriptors 0 to 2 that is closed; the runtime opens /dev/null there.
	XORL	R12, R12
	MOVL	$2, DI
descriptor:
	MOVL	$SYS_fcntl, AX
	MOVL	$F_GETFD, SI
	SYSCALL
	SHRQ	$63, AX	// 1 after an error
	SHLQ	$1, R12
	ORQ	AX, R12
	DECL	DI
	JGE	descriptor
	MOVQ	R12, ·closed(SB)

	MOVQ	$-1, 0(SP)
	MOVL	$SYS_rt_sigprocmask, AX
	MOVL	$SIG_BLOCK, DI
	MOVQ	SP, SI
	LEAQ	·blocked(SB), DX
	MOVL	$8, R10
	SYSCALL

	CMPL	FLAGS(1), $KILL
	JNE	done
	CMPL	FLAGS(2), $KILL
	JNE	done
	CMPL	FLAGS(3), $THROW
	JNE	done
	CMPL	FLAGS(6), $THROW
	JNE	done
	CMPL	FLAGS(15), $KILL
	JNE	done
	MOVL	$NOTIFY, FLAGS(1)
	MOVL	$NOTIFY, FLAGS(2)
	MOVL	$NOTIFY, FLAGS(3)
	MOVL	$NOTIFY, FLAGS(6)
	MOVL	$NOTIFY, FLAGS(15)
done:
	MOVB	$1, ·entered(SB)
	ADDQ	$32, SP
	XORL	DX, DX
	JMP	_rt0_amd64_linux(SB)
