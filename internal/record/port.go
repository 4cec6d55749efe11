package record

import (
	"hash/maphash"

	"github.com/snatwatch/snatwatch/collector"
)

// portOf is a hash of what no two flows have at a time.
func (t *table) portOf(e *entry) uint64 {
	return maphash.Comparable(t.seed, struct {
		vip, destination side
		zone             uint16
		protocol         collector.Protocol
	}{e.vip, e.destination, e.zone, e.protocol})
}

// give notes that the flow of an entry has its port now. It opened after the one that had it was last seen.
func (t *table) give(i uint32) {
	e := &t.entries[i]
	port := t.portOf(e)
	if h := t.holder(e, port); h != nil && h.phase == live {
		t.bound(e, h.last)
	}
	t.holders[port] = i
}

// holder is the flow, other than e, that the port of e was given to last; nil for none.
func (t *table) holder(e *entry, port uint64) *entry {
	i, ok := t.holders[port]
	if h := &t.entries[i]; ok && h != e && h.vip == e.vip && h.destination == e.destination && h.zone == e.zone &&
		h.protocol == e.protocol {
		return h
	}
	return nil
}

// before bounds the end of a flow that was last seen live at last, was found gone at a time, and had to end before
// another opened.
func before(last, gone collector.Time, opened collector.Interval) collector.Interval {
	if opened.To != 0 {
		gone = min(gone, opened.To)
	}
	return collector.Interval{From: min(last, gone), To: gone}
}
