package natrules

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// registers follow what a rule loads before its nat expression. nf_tables has 64
// bytes of them, named as 4 of 16 bytes (NFT_REG_1..4) or 16 of 4 bytes
// (NFT_REG32_00..15): include/uapi/linux/netfilter/nf_tables.h.
type registers [16]word

// word is the origin of four bytes.
type word struct {
	kind origin
	// data is the value of a constant.
	data [4]byte
	// elements is what a map lookup can give, offset which bytes of each.
	elements [][]byte
	offset   int
	// loaded counts what was loaded in the rule up to this word.
	loaded int
	// field of the packet that it holds, part which four bytes of it.
	field field
	part  int
	// text says for a comparison where the value comes from: equal text is an equal value.
	text string
	// draw are the numbers that it is drawn from, or one of, where they are known.
	draw draw
	// drawn: it may be another for the next packet of the flow.
	drawn bool
	// mark are the bits of the packet's or connection's mark that it hangs on, kept those that are as the mark has them.
	mark, kept uint32
	// side says that it is an address of the packet, of which it holds the first bits.
	side side
	bits int
}

type origin uint8

const (
	fromFlow origin = iota // the same for each packet of a flow
	fromRule               // a constant
	fromMap
)

// allBits are those of a mark.
const allBits = ^uint32(0)

// side is an address of a packet.
type side uint8

const (
	noSide side = iota
	source
	destination
	source6
	destination6
)

func (s side) String() string {
	return [...]string{"nothing", "source", "destination", "source", "destination"}[s]
}

type field uint8

const (
	noField field = iota
	fieldOIFName
	fieldOIF
	fieldProtocol
	fieldFamily // NFPROTO_IPV4 or NFPROTO_IPV6
)

// at returns the index of a register's first word, ok false where there is none.
func at(reg uint32) (i int, ok bool) {
	switch {
	case reg >= unix.NFT_REG_1 && reg <= unix.NFT_REG_4:
		return int(reg-unix.NFT_REG_1) * 4, true
	case reg >= unix.NFT_REG32_00 && reg <= unix.NFT_REG32_15:
		return int(reg - unix.NFT_REG32_00), true
	}
	return 0, false
}

func (r *registers) get(reg uint32) word {
	i, ok := at(reg)
	if !ok {
		return word{text: "nothing"}
	}
	return r[i]
}

// set writes w as the first of n words, which differ in their part alone.
func (r *registers) set(reg uint32, n int, w word) {
	i, ok := at(reg)
	w.loaded = r.next()
	for k := i; ok && k < min(i+n, len(r)); k++ {
		r[k] = w
		w.part++
	}
}

// next is the number of what is loaded next.
func (r *registers) next() (n int) {
	for i := range r {
		n = max(n, r[i].loaded)
	}
	return n + 1
}

// key is the words of a key that begins in reg: each was loaded after the one before it, and what is older was left
// behind by something else.
func (r *registers) key(reg uint32) []word {
	i, ok := at(reg)
	if !ok || r[i].text == "" {
		return nil
	}
	k := i + 1
	for k < len(r) && r[k].text != "" && r[k].loaded >= r[k-1].loaded {
		k++
	}
	return r[i:k]
}

// forget makes the value of every register unknown.
func (r *registers) forget() {
	for i := range r {
		r[i] = word{text: "unknown"}
	}
}

// load puts something of the packet into the register that attribute dreg names.
func (r *registers) load(name string, f *fields, dreg uint16, w word) {
	w.text = describe(name, f, dreg)
	r.set(f.u32(dreg), 4, w)
}

// change is an expression that works on the words of one register and writes another.
func (r *registers) change(name string, f *fields, sreg, dreg uint16, size uint32) {
	w := r.get(f.u32(sreg))
	to := word{text: describe(name+" "+w.text, f, sreg, dreg), drawn: w.drawn, mark: w.mark}
	r.set(f.u32(dreg), int(min(size, 64)+3)/4, to)
}

// keyText tells apart what a key in reg is made of.
func (r *registers) keyText(reg uint32) string {
	var b strings.Builder
	for _, w := range r.key(reg) {
		b.WriteString(w.text)
		b.WriteByte('.')
	}
	return b.String()
}

// hangsOn completes a key of several words: whether one of them is drawn, or hangs on a mark.
func (r *registers) hangsOn(reg uint32, key word, es []element) word {
	longest := 0
	for i := range es {
		longest = max(longest, len(es[i].key))
	}
	i, ok := at(reg)
	for k := i; ok && k < len(r) && (k-i)*4 < longest; k++ {
		key.drawn, key.mark = key.drawn || r[k].drawn, key.mark|r[k].mark
	}
	return key
}

func (r *registers) constant(reg uint32, data []byte) {
	i, ok := at(reg)
	for ; ok && i < len(r) && len(data) > 0; i++ {
		w := word{kind: fromRule, loaded: r.next()}
		data = data[copy(w.data[:], data):]
		w.text = "constant " + string(w.data[:])
		r[i] = w
	}
}

// lookup writes what a map gives for a key that may be drawn anew for the next packet.
func (r *registers) lookup(key word, reg uint32, elements [][]byte) {
	longest := 0
	for _, e := range elements {
		longest = max(longest, len(e))
	}
	i, ok := at(reg)
	loaded := r.next()
	for k := 0; ok && k*4 < longest && i+k < len(r); k++ {
		r[i+k] = word{
			kind: fromMap, elements: elements, offset: k * 4,
			text: "map of " + key.text, drawn: key.drawn, mark: key.mark, loaded: loaded,
		}
	}
}

// bytes returns n bytes from a register as element e of its map has them; any e
// gives the same for a constant. ok is false where the rule does not say.
func (r *registers) bytes(reg uint32, n, e int) (b []byte, ok bool) {
	i, ok := at(reg)
	for ; ok && len(b) < n; i++ {
		if i >= len(r) {
			return nil, false
		}
		switch w := r[i]; w.kind {
		case fromRule:
			b = append(b, w.data[:]...)
		case fromMap:
			if e >= len(w.elements) || len(w.elements[e]) < w.offset+min(4, n-len(b)) {
				return nil, false
			}
			b = append(b, w.elements[e][w.offset:min(w.offset+4, len(w.elements[e]))]...)
		default:
			return nil, false
		}
	}
	if len(b) < n {
		return nil, false
	}
	return b[:n], ok
}

func (r *registers) addr(reg uint32, family byte, e int) (netip.Addr, bool) {
	n := 4
	if family == unix.NFPROTO_IPV6 {
		n = 16
	}
	b, ok := r.bytes(reg, n, e)
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b)
}

// port reads two bytes in network byte order.
func (r *registers) port(reg uint32, e int) (uint16, bool) {
	b, ok := r.bytes(reg, 2, e)
	if !ok {
		return 0, false
	}
	return uint16(b[0])<<8 | uint16(b[1]), true
}
