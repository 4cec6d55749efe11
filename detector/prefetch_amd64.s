#include "textflag.h"

// func prefetch(first *unsafe.Pointer, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ first+0(FP), SI
	MOVQ n+8(FP), CX
	LEAQ (SI)(CX*8), DI
	JMP  more

line:
	MOVQ       (SI), AX
	PREFETCHT0 (AX)
	ADDQ       $8, SI

more:
	CMPQ SI, DI
	JB   line
	RET
