package web

import (
	"fmt"
	"math"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// pageAllowance is EC2's own connection tracking of an interface.
type pageAllowance struct {
	Interface string
	Left      uint64
	Gone      string // when nothing is left at this pace, empty if that is not near
}

func pageAllowances(v *metrics.View) (out []pageAllowance) {
	for i := range v.Allowances {
		a := &v.Allowances[i]
		if a.Known {
			out = append(out, pageAllowance{a.Interface, a.Available, within(a.Forecast, a.SecondsToExhaustion, "used up")})
		}
	}
	return out
}

// within says when something is as what says, empty if that is not near or not known.
func within(known bool, seconds float64, what string) string {
	switch {
	case !known || math.IsInf(seconds, 1):
		return ""
	case seconds == 0:
		return what
	}
	return what + " in " + span(seconds) + " at this pace"
}

// pageTable is a conntrack table, which is a limit for flows of any kind.
type pageTable struct {
	Netns   string // that it is of, where there are several
	Entries uint32
	Most    int
	Full    string // when it is full at this pace, empty if that is not near
}

// ofNetns names the network namespace of a conntrack table where there are several tables.
func ofNetns(v *metrics.View, k *metrics.Kernel) string {
	if len(v.Kernel) < 2 {
		return ""
	}
	return fmt.Sprintf(" of network namespace %d", k.Netns)
}

func pageTables(v *metrics.View) (out []pageTable) {
	for i := range v.Kernel {
		k := &v.Kernel[i]
		if k.EntriesMax <= 0 {
			continue
		}
		out = append(out, pageTable{ofNetns(v, k), k.Entries, k.EntriesMax, within(k.Forecast, k.SecondsToFull, "full")})
	}
	return out
}
