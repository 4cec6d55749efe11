package record

import "slices"

// clockRows is how many rows decide whether a file's times are Unix times.
const clockRows = 100

// add takes one row. The first ones wait until most of them tell what clock they are on.
func (b *builder) add(line int, l *layout, r *row) {
	if b.clock {
		b.take(line, l, r)
		return
	}
	if b.early = append(b.early, early{line, *l, *r}); len(b.early) == clockRows {
		b.decide()
	}
}

// decide settles the clock, by the first of the rows if as many are on the one as on the other, and takes those that
// wait.
func (b *builder) decide() {
	if b.clock {
		return
	}
	b.clock = true
	votes := map[bool]int{}
	first := false
	for _, e := range b.early {
		start, err := parseTime(e.row[colStart], e.layout.milli[colStart])
		if err != nil || start < 0 || b.future(start) {
			continue
		}
		unix := start >= unixFrom
		if len(votes) == 0 {
			first = unix
		}
		votes[unix]++
	}
	b.rec.Unix = votes[true] > votes[false] || first && votes[true] == votes[false]
	for _, e := range b.early {
		b.take(e.line, &e.layout, &e.row)
	}
	b.early = nil
	// Of the lines before, others were found bad in the meantime.
	slices.SortStableFunc(b.rec.Faults, func(a, b Fault) int { return a.Line - b.Line })
}
