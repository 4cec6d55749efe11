package web

import (
	"math"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// pageTable is a conntrack table, which is a limit for flows of any kind.
type pageTable struct {
	Entries uint32
	Most    int
	Full    string // when it is full at this pace, empty if that is not near
}

func pageTables(v *metrics.View) (out []pageTable) {
	for i := range v.Kernel {
		k := &v.Kernel[i]
		if k.EntriesMax <= 0 {
			continue
		}
		t := pageTable{Entries: k.Entries, Most: k.EntriesMax}
		switch {
		case !k.Forecast || math.IsInf(k.SecondsToFull, 1):
		case k.SecondsToFull == 0:
			t.Full = "full"
		default:
			t.Full = "full in " + span(k.SecondsToFull) + " at this pace"
		}
		out = append(out, t)
	}
	return out
}
