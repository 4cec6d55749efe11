#include "textflag.h"

// func Lines(first *unsafe.Pointer, n int)
TEXT ·Lines(SB), NOSPLIT, $0-16
	MOVQ first+0(FP), SI
	MOVQ n+8(FP), DI
	LEAQ (SI)(DI*8), DI

next:
	CMPQ       SI, DI
	JEQ        done
	MOVQ       (SI), AX
	PREFETCHT0 (AX)
	ADDQ       $8, SI
	JMP        next

done:
	RET
