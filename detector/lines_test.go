package detector

import (
	"testing"
	"unsafe"
)

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

// Nothing happens to memory that is fetched, nor where there is none.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	var p lines
	p.fetch()
	f := flow{id: 7}
	p.add(unsafe.Pointer(&f))
	p.add(nil)
	p.fetch()
	if f.id != 7 || p.n != 0 {
		t.Errorf("%+v, %d lines left", f, p.n)
	}
}
