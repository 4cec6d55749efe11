// Package backtest replays recorded or generated flows through the ledger and
// its forecast, and scores what it said, beside what people use today, against
// what came.
//
// To try one scenario quickly:
//
//	BACKTEST=slow BACKTEST_HOURS=4 go test -run TestScenario -v ./internal/backtest
package backtest

import (
	"cmp"
	"iter"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// Flow is one flow of a record or of a scenario.
type Flow struct {
	// Start and End are on the clock of the replay.
	Start, End collector.Time
	// Destination and Source are indexes into the names of the record.
	Destination, Source int32
	Protocol            collector.Protocol
	Reason              collector.Reason
}

// byStart orders flows as a replay needs them.
func byStart(a, b Flow) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Destination, b.Destination))
}

// Epoch is where time 0 of a record with relative times, and of a scenario,
// is put: a midnight (2023-11-14 UTC), because zero means unknown to the ledger.
const Epoch = collector.Time(19675 * 24 * int64(time.Hour))

const horizons = detector.NumHorizons

// horizonNames are the horizons as the metrics' label shows them.
func horizonNames() [horizons]string { return [horizons]string{"1m", "5m", "15m", "1h"} }

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
