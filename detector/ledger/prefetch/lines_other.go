//go:build !amd64 && !arm64

// Package prefetch has the processor read memory ahead. Go has no other way to say so than assembly.
package prefetch

import (
	"sync/atomic"
	"unsafe"
)

// Lines reads a word at each of n addresses, the first at first. None depends on another, so the processor waits for
// many of them at once.
func Lines(first *unsafe.Pointer, n int) {
	for _, at := range unsafe.Slice(first, n) {
		atomic.LoadUint32((*uint32)(at)) // the compiler keeps it
	}
}
