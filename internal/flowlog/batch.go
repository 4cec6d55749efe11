package flowlog

// batchSize is how many rows are looked up together: the tables of flows and of ends are larger than a processor's
// caches, and it waits for many reads of memory as long as for one if all of them are asked for at once.
const batchSize = 64

// batch holds rows until they are looked up together.
type batch struct {
	rows   [batchSize]Row
	hashes [batchSize]uint64
	n      int
	seen   uint64 // of what was read ahead, so that the compiler leaves the reading in
}

// Take counts one row, or keeps it until the batch is full.
func (c *Counter) Take(r *Row) {
	b := &c.batch
	b.rows[b.n] = *r
	if b.n++; b.n == batchSize {
		c.flush()
	}
}

// flush counts the rows of the batch in their order.
func (c *Counter) flush() {
	b := &c.batch
	if c.gap != 0 {
		b.ahead(c.flows, c.ends)
	}
	for i := range b.n {
		c.count(&b.rows[i], b.hashes[i])
	}
	b.n = 0
}

// ahead reads, for all rows, what counting them will look at: first the slots, then the flows that these name.
func (b *batch) ahead(flows *flowTable, ends *endTable) {
	for i := range b.n {
		b.hashes[i] = b.rows[i].Tuple.hash()
	}
	seen := uint64(0)
	flowMask, endMask := uint32(len(flows.slots)-1), uint64(len(ends.slots)-1)
	var first [batchSize]uint32
	for i := range b.n {
		h := b.hashes[i]
		seen += ends.slots[h&endMask].hash
		first[i] = flows.slots[uint32(h)&flowMask].flow
	}
	for i := range b.n {
		if first[i] != 0 {
			seen += uint64(flows.flows.at(first[i] - 1).start)
		}
	}
	b.seen = seen
}
