package flowlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tables of flows and of ends hold what maps hold, whatever comes and goes.
func TestTablesAreMaps(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	flows, ends := newFlowTable(), newEndTable()
	wantFlows, wantEnds := map[Tuple]int64{}, map[uint64]int64{}
	for step := range 200_000 {
		tuple := Tuple{SourcePort: uint16(random.IntN(5000)), Protocol: 6}
		hash := tuple.hash()
		switch f := flows.find(&tuple, hash); {
		case f == nil:
			flows.add(live{tuple: tuple, start: int64(step + 1)}, hash)
			wantFlows[tuple] = int64(step + 1)
		case random.IntN(2) == 0:
			flows.remove(&tuple, hash)
			delete(wantFlows, tuple)
		}
		end := int64(1 + random.IntN(1000) + step)
		ends.put(ends.find(hash), hash, end)
		wantEnds[hash] = end
		if step%20_000 == 0 {
			flows.sweep(func(f *live) bool { return f.start%3 > 0 })
			for k, start := range wantFlows {
				if start%3 == 0 {
					delete(wantFlows, k)
				}
			}
			ends.sweep(int64(step))
			for k, end := range wantEnds {
				if end < int64(step) {
					delete(wantEnds, k)
				}
			}
		}
	}
	gotFlows, gotEnds := map[Tuple]int64{}, map[uint64]int64{}
	for tuple := range wantFlows {
		if f := flows.find(&tuple, tuple.hash()); f != nil {
			gotFlows[tuple] = f.start
		}
	}
	for hash := range wantEnds {
		if s := ends.find(hash); s.end != 0 {
			gotEnds[hash] = s.end
		}
	}
	if diff := cmp.Diff(wantFlows, gotFlows); diff != "" || int(flows.flows.n) != len(wantFlows) {
		t.Errorf("%d flows, want %d (-want +got):\n%s", flows.flows.n, len(wantFlows), diff)
	}
	if diff := cmp.Diff(wantEnds, gotEnds); diff != "" || ends.n != len(wantEnds) {
		t.Errorf("%d ends, want %d (-want +got):\n%s", ends.n, len(wantEnds), diff)
	}
}

// Eight bytes at a time cut a line as bytes.Split does, for lines of every length.
func TestColumns(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for length := range 60 {
		for range 50 {
			line := make([]byte, length)
			for i := range line {
				line[i] = " !,-\t\b1\xff"[random.IntN(8)]
			}
			for _, separator := range []byte{' ', ',', '\t'} {
				var c columns
				c.cut(line, separator, columnsMost)
				var got []string
				for i := range c.n {
					got = append(got, string(c.column(i)))
				}
				want := strings.Split(string(line), string(separator))
				if !slices.Equal(got, want) {
					t.Fatalf("%q: %q, want %q", line, got, want)
				}
				if c.cut(line, separator, 2); c.n != min(2, len(want)) || string(c.column(0)) != want[0] {
					t.Fatalf("%q: the first of %d columns is %q", line, c.n, c.column(0))
				}
			}
		}
	}
}

// Numbers and addresses are read as Go's own parsers read them, and what is neither is refused. (Zeros in front of a number of an
// address are taken, which Go refuses.)
func TestNumbersAndAddresses(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 300_000 {
		text := make([]byte, random.IntN(20))
		for i := range text {
			text[i] = "0123456789"[random.IntN(10)]
		}
		if len(text) > 0 && random.IntN(3) == 0 {
			text[random.IntN(len(text))] = "/:.-+ 0\x00\xb0\xff"[random.IntN(10)]
		}
		want, err := strconv.ParseUint(string(text), 10, 63)
		wantOK := err == nil && len(text) <= 18
		if n, ok := integer(text); ok != wantOK || ok && n != int64(want) {
			t.Fatalf("%q: %d %t, want %d %t", text, n, ok, want, wantOK)
		}
	}
	for range 300_000 {
		text := fmt.Appendf(nil, "%d.%d.%d.%d", random.IntN(300), random.IntN(300), random.IntN(120), random.IntN(12))
		if random.IntN(3) == 0 {
			text[random.IntN(len(text))] = "/:.-+ \x00\xb0\xff"[random.IntN(9)]
		}
		want, err := netip.ParseAddr(string(text))
		if a, ok := address(text); ok != (err == nil) || ok && a != want.As16() {
			t.Fatalf("%q: %v %t, want %v %v", text, a, ok, want, err)
		}
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want string // empty for no object
	}{
		{`{}`, "ok"},
		{` { "a" : 1.5e-3 , "b":"x" , "c":{"d":[1,{"e":"f"}],"g":true},"h":null } `, "ok .a=1.5e-3 .b=x c.d=1 d.e=f c.g=true .h="},
		{`{"a":"b\"c\\"}`, `ok .a=b\"c\\`},
		{`{"a":1`, ""},
		{`{"a":1}}`, ""},
		{`{"a":1,}`, ""},
		{`{"a" 1}`, ""},
		{`{"a":}`, ""},
		{`{"a":"b}`, ""},
		{`{a:1}`, ""},
		{`[1]`, ""},
		{strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), ""},
	} {
		var got bytes.Buffer
		o := object{take: func(parent, name, value []byte) {
			got.WriteString(" " + string(parent) + "." + string(name) + "=" + string(value))
		}}
		text := "ok"
		if err := o.walk([]byte(tt.text)); err != nil {
			text, got = "", bytes.Buffer{}
		}
		if text += got.String(); text != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, text, tt.want)
		}
	}
}
