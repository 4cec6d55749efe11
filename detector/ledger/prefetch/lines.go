//go:build amd64 || arm64

// Package prefetch has the processor read memory ahead. Go has no other way to say so than assembly.
package prefetch

import "unsafe"

// Lines has the processor read the lines of its cache that n addresses, the first at first, lie in. It does not wait
// for them.
//
//go:noescape
func Lines(first *unsafe.Pointer, n int)
