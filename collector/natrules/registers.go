package natrules

import (
	"encoding/binary"
	"math/bits"
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

type field uint8

const (
	noField field = iota
	fieldOIFName
	fieldOIF
	fieldProtocol
	fieldFamily // NFPROTO_IPV4 or NFPROTO_IPV6
)

// draw is the numbers that numgen draws from, or that a hash is one of: count of them from first on. network says that
// they stand in network byte order. The zero value is of what else is drawn.
type draw struct {
	first, count uint32
	network      bool
}

// among returns the elements that are drawn at all, and whether every draw gives one of them; so it is taken to be
// where the numbers are not known.
func (d draw) among(es []element) (drawn []element, all bool) {
	if d.count == 0 {
		return es, true
	}
	covered := uint64(0)
	for i := range es {
		e := &es[i]
		if e.all {
			return append(drawn, es[i]), true
		}
		if len(e.key) != 4 || len(e.last) != 4 {
			return es, false
		}
		from, to := uint64(d.number(e.key)), uint64(d.number(e.last))
		if e.open && to > 0 {
			to--
		}
		from, to = max(from, uint64(d.first)), min(to, uint64(d.first)+uint64(d.count)-1)
		if from <= to {
			drawn = append(drawn, es[i])
			covered += to - from + 1
		}
	}
	return drawn, covered >= uint64(d.count)
}

// bits are those that differ between the numbers, or may.
func (d draw) bits() uint32 {
	if d.count == 0 {
		return allBits
	}
	return uint32(1)<<bits.Len32(d.first+d.count-1) - 1
}

func (d draw) number(key []byte) uint32 {
	if d.network {
		return binary.BigEndian.Uint32(key)
	}
	return binary.NativeEndian.Uint32(key)
}

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

// numgen draws a number for each packet.
func (r *registers) numgen(f *fields) {
	numbers := draw{first: f.u32(unix.NFTA_NG_OFFSET), count: f.u32(unix.NFTA_NG_MODULUS)}
	r.set(f.u32(unix.NFTA_NG_DREG), 1, word{text: "numgen", drawn: true, draw: numbers})
}

// hash makes a number of a register, the same for the same.
func (r *registers) hash(f *fields) {
	w := r.get(f.u32(unix.NFTA_HASH_SREG))
	numbers := draw{first: f.u32(unix.NFTA_HASH_OFFSET), count: f.u32(unix.NFTA_HASH_MODULUS)}
	text := describe("hash of "+w.text, f, unix.NFTA_HASH_SREG, unix.NFTA_HASH_DREG)
	r.set(f.u32(unix.NFTA_HASH_DREG), 1, word{text: text, mark: w.mark, draw: numbers})
}

// byteorder turns a number round: of one that is drawn it is known still from which numbers.
func (r *registers) byteorder(f *fields) {
	numbers := r.get(f.u32(unix.NFTA_BYTEORDER_SREG)).draw
	r.change("byteorder", f, unix.NFTA_BYTEORDER_SREG, unix.NFTA_BYTEORDER_DREG, f.u32(unix.NFTA_BYTEORDER_LEN))
	if i, ok := at(f.u32(unix.NFTA_BYTEORDER_DREG)); ok {
		numbers.network = !numbers.network
		r[i].draw = numbers
	}
}

// bitwise masks and flips bits. What is left of an address is a prefix, and of a mark some bits.
func (r *registers) bitwise(f *fields) {
	w, size := r.get(f.u32(unix.NFTA_BITWISE_SREG)), f.u32(unix.NFTA_BITWISE_LEN)
	r.change("bitwise", f, unix.NFTA_BITWISE_SREG, unix.NFTA_BITWISE_DREG, size)
	mask, err := value(f[unix.NFTA_BITWISE_MASK])
	flip, err2 := value(f[unix.NFTA_BITWISE_XOR])
	i, ok := at(f.u32(unix.NFTA_BITWISE_DREG))
	if err != nil || err2 != nil || !ok || len(mask) == 0 || len(mask) != len(flip) {
		return
	}
	if w.mark != 0 && len(mask) == 4 {
		keeps, flips := binary.NativeEndian.Uint32(mask), binary.NativeEndian.Uint32(flip)
		r[i].mark, r[i].kept = w.mark&keeps, keeps&^flips
	}
	if bits, ok := ones(mask); ok && w.side != noSide && w.part == 0 && zero(flip) {
		for k := i; k < min(i+(len(mask)+3)/4, len(r)); k++ {
			r[k].side, r[k].bits = w.side, bits
		}
	}
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
