// Package detector holds the words that metrics, API, page and boards share: what the ledger knows at one
// moment. It and the packages below it have no clock, do no I/O and log nothing: time and events are
// arguments, and the same input gives the same bytes.
package detector

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Snapshot is all that the ledger knows at one moment. It is immutable: any
// number of readers may share it.
type Snapshot struct {
	At collector.Time
	// Warming: ports closed before the start may still be cooling unseen, or
	// no complete dump has been taken yet.
	Warming bool
	// Netns has one entry for each namespace that a source reads, in order of Netns.
	Netns   []NetnsSnapshot
	Budgets []BudgetSnapshot
}

// NetnsSnapshot says how well one namespace is seen.
type NetnsSnapshot struct {
	Netns uint64
	// Exact: a complete dump was taken since the last overrun or gap, and the ledger agreed with it.
	Exact      bool
	EventsLost uint64 // overruns; each hides an unknown number of events
	Resyncs    uint64 // complete dumps that repaired an overrun
	// Mismatches counts flows that a complete dump showed live and the ledger did not have as live, or in another state,
	// and those that a dump showed first although the kernel announces new flows. Each makes the ledger inexact until
	// the next complete dump.
	Mismatches uint64
	// Vanished counts flows that a complete dump lacked a moment after they had a packet, and of whose end nothing told:
	// the table was flushed, or entries deleted. Others may have opened and vanished unseen, so each makes the ledger
	// inexact until the next complete dump.
	Vanished uint64
	// Reopened counts flows that dumps showed on the port of one that had opened two dumps ago at most, where they were
	// more than one in a hundred: others may have opened and ended on such a port unseen. Each makes the ledger inexact
	// too.
	Reopened uint64
	Flows    int // flows that the ledger knows here, ended ones included
	// OtherProtocols counts flows there that are neither TCP nor UDP.
	OtherProtocols uint64
}

// BudgetSnapshot is one budget and what is held of it.
type BudgetSnapshot struct {
	Budget    *budget.Budget
	Protocols []AccountSnapshot // those with ports, TCP first
	// Contradicted: what is seen cannot be under this budget; Contradiction says why.
	Contradicted  bool
	Contradiction string
	// Brier is the mean Brier score of its own past probabilities by horizon, NaN
	// until there is one.
	Brier [NumHorizons]float64
}

// AccountSnapshot is one account: one protocol of a budget.
type AccountSnapshot struct {
	Protocol collector.Protocol
	Terms    budget.Terms
	// Held, Live and Cooling are sums over all port spaces.
	Held, Live, Cooling int
	// Busiest is the held ports of the fullest port space.
	Busiest int
	// PortsInUse is how many local ports the flows of one namespace hold towards all destinations together; 0 where ports
	// are not local. A socket that is bound before it connects needs one more.
	PortsInUse int
	// Opening counts live flows without an answer; Stalled the opening ones whose first
	// packet was sent again.
	Opening, Stalled int
	Opened           uint64
	Closed           [collector.NumReasons]uint64
	Lifetime, Hold   Histogram
	// Failures of opens: unanswered while the space was not at its ceiling, refused,
	// and for lack of ports (unanswered while at the ceiling).
	Unanswered, Refused, NoPorts uint64

	// Tracked port spaces have an entry of their own; Folded ones are counted
	// together because the limit is reached. FoldedMax is the most ports held in one port space that
	// Other sums, tracked or not: a sum over nodes can miss that many of a destination.
	Tracked, Folded, FoldedMax int
	// Spaces are the exported ones, the fullest first; Other sums the rest.
	Spaces []SpaceSnapshot
	Other  SpaceSnapshot
	// Forecast is the forecast of all port spaces together.
	Forecast Totals
	// Owners are those that Spaces name, unknown and other left out, in order of Number.
	Owners []OwnerTotals
}

// SpaceSnapshot is one port space.
type SpaceSnapshot struct {
	// VIP is empty where VIPs form one port space, and the source address where ports are
	// local; Destination is as the metric label shows it.
	VIP, Destination string
	// Class narrows the ports that the budget's terms give: see budget.Terms.OfClass. VIP names it too.
	Class               budget.PortClass
	Held, Live, Cooling int
	Opening, Stalled    int
	Opened              uint64
	// OpensPerSecond is the current rate; MeanHold the mean hold time, 0 where unknown.
	OpensPerSecond float64
	MeanHold       time.Duration
	// Forecast is nil for a space that is not busy enough to have one.
	Forecast *Forecast
	// Owners hold the ports, the largest first; the last of them may sum the rest (collector.OwnerOther). Their Held
	// add up to the space's. Nil where nobody counts owners.
	Owners []OwnerHeld
}

// OwnerHeld is what one owner holds of a port space.
type OwnerHeld struct {
	Number collector.OwnerNumber
	collector.Owner
	Held int
}

// OwnerTotals are an owner's flows in all port spaces of a budget and protocol.
type OwnerTotals struct {
	Number collector.OwnerNumber
	collector.Owner
	// Opened counts flows since the start whose owner was known while they were open. MeanLifetime is the mean of the
	// latest that ended, 0 where none did.
	Opened       uint64
	MeanLifetime time.Duration
}

// NumHorizons is how many horizons a forecast has.
const NumHorizons = 4

// Horizons are the times ahead that a forecast is made for, in the order of
// every array indexed by horizon.
func Horizons() [NumHorizons]time.Duration {
	return [NumHorizons]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}
}

// Forecast is what one port space will hold.
type Forecast struct {
	// Mean and Variance of held ports at each horizon; the variance does not fall from one
	// horizon to the next.
	Mean, Variance [NumHorizons]float64
	// Probability that the effective ceiling is reached by the horizon; it does not
	// fall from one horizon to the next.
	Probability [NumHorizons]float64
	// TimeToExhaustion is the median, in seconds: 0 when exhausted, +Inf beyond
	// the longest horizon.
	TimeToExhaustion float64
	// Inexact: events were lost, or ports closed before the start may be cooling unseen;
	// the variance is larger for it.
	Inexact bool
	// Urgency is that of the page, from 0 to 1: PageUrgency.
	Urgency float32
}

// Totals are over all port spaces of a budget and protocol that have a forecast, exported or not.
type Totals struct {
	// Spaces is how many there are.
	Spaces int
	// Mean and Variance are sums, the latter as if destinations were independent; Probability is the highest.
	Mean, Variance, Probability [NumHorizons]float64
}

// Add adds f, unless it is nil.
func (t *Totals) Add(f *Forecast) {
	if f == nil {
		return
	}
	t.Spaces++
	for i := range f.Mean {
		t.Mean[i] += f.Mean[i]
		t.Variance[i] += f.Variance[i]
		t.Probability[i] = max(t.Probability[i], f.Probability[i])
	}
}

// Histogram counts durations in seconds. Counts[i] is the number not above Bounds[i]
// and above the bound before it; the last count, beyond all bounds, has no bound.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
	// Zero and Native are the same durations in the buckets of a native histogram: Native[i]
	// is the number in the bucket of index NativeFirst+i, Zero that in the zero bucket.
	Zero   uint64
	Native []uint64
}

// A native histogram of schema 3 has eight buckets for each power of two, from 1 ms or so on.
const (
	NativeSchema = 3
	// NativeZero is what the zero bucket reaches up to, in seconds: 2^-10.
	NativeZero = 1.0 / 1024
	// NativeFirst is the index of the first bucket above it.
	NativeFirst = -10*8 + 1
)
