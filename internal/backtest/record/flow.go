// Package record holds flows as a backtest replays them, and reads recorded ones from files.
package record

import (
	"cmp"
	"iter"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Flow is one flow of a record or of a scenario.
type Flow struct {
	// Start and End are on the clock of the replay.
	Start, End collector.Time
	// Destination and Source are indexes into the names of the record.
	Destination, Source int32
	Protocol            collector.Protocol
	Reason              collector.Reason
	// VIP is one of the record's, from 1 on; 0 where it does not tell.
	VIP uint16
}

// ByStart orders flows as a replay needs them.
func ByStart(a, b Flow) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Destination, b.Destination))
}

// Epoch is where time 0 of a record with relative times, and of a scenario,
// is put: a midnight (2023-11-14 UTC), because zero means unknown to the ledger.
const Epoch = collector.Time(19675 * 24 * int64(time.Hour))

// Change is a pool that has Nodes from At on.
type Change struct {
	At    collector.Time
	Nodes int
	// Ports is the ceiling of one port space from then on. ToEdge more nodes change
	// nothing; one more than that and it is Beyond.
	Ports, ToEdge, Beyond int
}

// Source is what a replay reads.
type Source struct {
	// Flows in order of Start.
	Flows iter.Seq[Flow]
	// Changes of the pool in order of time; the first, if any, is at the start.
	Changes []Change
	// From and To bound the replay.
	From, To collector.Time
}

// Seconds is s seconds as a time or a span of the replay.
func Seconds(s float64) collector.Time { return collector.Time(s * 1e9) }
