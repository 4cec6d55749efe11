//go:build amd64 || arm64

package detector

import "unsafe"

// prefetch has the processor fetch n lines of memory, of which the places are at first, and does not
// wait for them: Go has no other way to say so. A place need not be one that can be read.
//
//go:noescape
func prefetch(first *unsafe.Pointer, n int)
