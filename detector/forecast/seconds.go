package forecast

// fewSeconds counts what happens in one of a few seconds from first on, in little room: a
// quarter of a line of the processor's cache.
type fewSeconds struct {
	first  int64
	counts [8]uint8
}

// past reports that the seconds counted are over by second at, so that they should be taken and others
// be counted.
func (f *fewSeconds) past(at int64) bool { return at-f.first >= int64(len(f.counts)) }

// add counts one in second at, from which on it counts if those before are over. false means that it is
// not counted: its second came before, or has as many as it can have.
func (f *fewSeconds) add(at int64) bool {
	if f.past(at) {
		f.first = at
	}
	d := uint64(at - f.first)
	if d >= uint64(len(f.counts)) || f.counts[d] == 1<<8-1 {
		return false
	}
	f.counts[d]++
	return true
}

// take returns what was counted by second, and counts from nothing.
func (f *fewSeconds) take() (counts [8]uint8) {
	counts, f.counts = f.counts, counts
	return counts
}
