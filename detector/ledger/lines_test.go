package ledger

import (
	"testing"
	"unsafe"
)

// cacheLine is how many bytes of memory a processor fetches at least.
const cacheLine = 64

// What an event touches is in as few lines of the processor's cache as its comments say.
func TestLines(t *testing.T) {
	t.Parallel()
	var s portSpace
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"an entry", unsafe.Sizeof(flow{}), cacheLine},
		{"a bucket", unsafe.Sizeof(bucket{}), cacheLine},
		{"an answer", unsafe.Sizeof(match{}), cacheLine},
		{"a port space", unsafe.Sizeof(s), 4 * cacheLine},
		{"what flows touch of it", unsafe.Offsetof(s.used) + unsafe.Sizeof(s.used), 2*cacheLine - 7},
	} {
		if c.got != c.want {
			t.Errorf("%s has %d bytes, want %d", c.name, c.got, c.want)
		}
	}
}
