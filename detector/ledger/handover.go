package ledger

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// A handover is what an agent that ends leaves to the next agent, beside what the forecast learned. It has the counts,
// so that they go on, and the flows that they count, so that a flow that opens or ends between the two agents counts
// once. It must not be used twice: the counts would go back.
//
// It begins with handoverMagic and ends with a CRC-32C of all before.
const (
	handoverMagic = "snatwatch handover 1\n"
	// handoverFresh is how old a handover's flows may be: conntrack forgets a flow two minutes after its FIN, and what
	// both opened and ended meanwhile is no longer seen.
	handoverFresh = 2 * time.Minute
	// handoverFlows bounds the flows of a handover, of handedBytes each; beyond it, flows that open between the agents
	// do not count.
	handoverFlows = 1 << 20
	handedBytes   = 18
	// handoverLists bounds its accounts and its namespaces.
	handoverLists = noNumber
)

// renumber gives flows the numbers of the accounts that are in place now. old maps the number of each new account to
// the number of the old account whose counts it goes on with.
func (h *handed) renumber(old map[uint32]uint32) {
	now := map[uint16]uint16{}
	for n, was := range old {
		if was < noNumber {
			now[uint16(was)] = uint16(min(n, noNumber))
		}
	}
	for i := range h.flows {
		f := &h.flows[i]
		if n, kept := now[f.account]; kept {
			f.account = n
		} else {
			f.account = noNumber
		}
	}
}

// AppendHandover appends what another ledger needs to go on counting, for TakeOver. l is not used any more.
func (l *Ledger) AppendHandover(b []byte) []byte {
	first := len(b)
	b = append(b, handoverMagic...)
	u64 := func(xs ...uint64) {
		for _, x := range xs {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
	}
	accounts := l.spaces.accounts[:min(len(l.spaces.accounts), handoverLists)]
	u64(l.matcher.secret[0], l.matcher.secret[1], uint64(l.clock.now), uint64(len(accounts)))
	for _, a := range accounts {
		u64(uint64(len(a.budget.Name)))
		b = append(b, a.budget.Name...)
		u64(uint64(a.protocol))
		for _, x := range a.counts() {
			u64(*x)
		}
	}
	var known []*netns
	flows := 0
	for _, n := range l.namespaces.list {
		if n != nil && n.complete != 0 && n.exact && len(known) < handoverLists && flows+n.flows.count <= handoverFlows {
			known = append(known, n)
			flows += n.flows.count
		}
	}
	u64(uint64(len(known)))
	for _, n := range known {
		list := make([]handedFlow, 0, n.flows.count)
		l.flows.table.each(&n.flows, func(_ uint32, f *flow) { list = append(list, l.handOver(f)) })
		slices.SortFunc(list, func(a, b handedFlow) int { return cmp.Compare(a.key, b.key) })
		u64(n.inode, uint64(n.complete), uint64(len(list)))
		for _, h := range list {
			b = binary.LittleEndian.AppendUint64(b, h.key)
			b = binary.LittleEndian.AppendUint32(b, h.id)
			b = binary.LittleEndian.AppendUint32(b, uint32(h.ago))
			rest := h.account | uint16(h.reason)<<11
			if h.ended {
				rest |= 1 << 15
			}
			b = binary.LittleEndian.AppendUint16(b, rest)
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[first:], crc32.MakeTable(crc32.Castagnoli)))
}

// handOver returns what a handover says of f.
func (l *Ledger) handOver(f *flow) handedFlow {
	h := handedFlow{
		key: f.key.hi, id: f.id, ago: agoUnknown, reason: f.reason, ended: f.phase != phaseLive, account: noNumber,
	}
	moment := f.moment
	if !h.ended {
		h.account, moment = uint16(min(f.place.accountIn(l.spaces.accountBy), noNumber)), f.opened
	}
	if ago := l.clock.now.Sub(moment).Milliseconds(); moment != 0 && ago > -agoUnknown && ago < agoUnknown {
		h.ago = int32(ago)
	}
	return h
}

// counts are the counters of a that go on after a restart.
func (a *account) counts() []*uint64 {
	out := []*uint64{&a.opened, &a.unanswered, &a.refused, &a.noPorts}
	for r := range a.closed {
		out = append(out, &a.closed[r])
	}
	return out
}

// TakeOver goes on with the counts of a handover; call it before the first event. Where the bytes are no handover it
// returns an error that is forecast.ErrState, and the ledger is as it was.
func (l *Ledger) TakeOver(b []byte, now collector.Time) error {
	r := &handoverReader{b: b}
	if len(b) < len(handoverMagic)+4 || string(b[:len(handoverMagic)]) != handoverMagic {
		return fmt.Errorf("%w: no handover", forecast.ErrState)
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return fmt.Errorf("%w: the handover is damaged", forecast.ErrState)
	}
	r.b = body[len(handoverMagic):]
	secret := [2]uint64{r.u64(), r.u64()}
	at := collector.Time(r.u64())
	type counts struct {
		account *account
		values  []uint64
	}
	var all []counts
	var numbers []uint16 // of this ledger's accounts, by the number in the handover
	for range r.length(handoverLists) {
		name, protocol := r.text(), collector.Protocol(r.u64())
		i := slices.IndexFunc(l.spaces.accounts, func(a *account) bool {
			return a.budget.Name == name && a.protocol == protocol
		})
		c := counts{}
		for range len((&account{}).counts()) {
			c.values = append(c.values, r.u64())
		}
		number := uint16(noNumber) // unless this ledger has such an account
		if i >= 0 {
			number, c.account = uint16(min(i, noNumber)), l.spaces.accounts[i]
			all = append(all, c)
		}
		numbers = append(numbers, number)
	}
	of := map[uint64]*handed{}
	for range r.length(handoverLists) {
		inode, h := r.u64(), &handed{at: at, complete: collector.Time(r.u64())}
		for range r.length(handoverFlows) {
			h.flows = append(h.flows, r.flow(numbers))
		}
		of[inode] = h
	}
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%w: the handover is not whole", forecast.ErrState)
	}
	for _, c := range all {
		for i, x := range c.account.counts() {
			*x = c.values[i]
		}
	}
	if age := now.Sub(at); age >= 0 && age <= handoverFresh {
		l.matcher.secret, l.spaces.secret = secret, secret
		l.namespaces.handed = of
	}
	return nil
}

// handoverReader reads what AppendHandover wrote; bad says that it is cut off or out of bounds.
type handoverReader struct {
	b   []byte
	bad bool
}

func (r *handoverReader) u64() uint64 {
	if len(r.b) < 8 {
		r.bad, r.b = true, nil
		return 0
	}
	x := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return x
}

// flow reads a flow; numbers maps the number of an account in the handover to that in this ledger.
func (r *handoverReader) flow(numbers []uint16) (f handedFlow) {
	if len(r.b) < handedBytes {
		r.bad, r.b = true, nil
		return f
	}
	rest := binary.LittleEndian.Uint16(r.b[16:])
	f = handedFlow{
		key: binary.LittleEndian.Uint64(r.b), id: binary.LittleEndian.Uint32(r.b[8:]),
		ago: int32(binary.LittleEndian.Uint32(r.b[12:])), account: noNumber,
		reason: collector.Reason(rest >> 11 & 15), ended: rest>>15 != 0,
	}
	if n := int(rest & (1<<11 - 1)); n < len(numbers) {
		f.account = numbers[n]
	}
	r.bad = r.bad || f.reason >= collector.NumReasons
	r.b = r.b[handedBytes:]
	return f
}

func (r *handoverReader) length(most int) int {
	n := r.u64()
	if n > uint64(most) || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *handoverReader) text() string {
	n := r.length(handoverLists)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
