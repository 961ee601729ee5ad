#include "textflag.h"

#define SYS_clone 56

// func clone(flags uintptr, stack, calls unsafe.Pointer, pidfd *int32) (pid int)
//
// The child makes the system calls of the table, {number, first, second, third argument}, the last of which ends it. The kernel
// keeps R12 for it; it has no stack worth the name, and touches no memory but the table.
TEXT ·clone(SB), NOSPLIT, $0-40
	MOVQ flags+0(FP), DI
	MOVQ stack+8(FP), SI
	MOVQ calls+16(FP), R12
	MOVQ pidfd+24(FP), DX
	XORL R10, R10
	XORL R8, R8
	MOVL $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JEQ  next
	MOVQ AX, pid+32(FP)
	RET

next:
	MOVQ 0(R12), AX
	MOVQ 8(R12), DI
	MOVQ 16(R12), SI
	MOVQ 24(R12), DX
	SYSCALL
	ADDQ $32, R12
	JMP  next
