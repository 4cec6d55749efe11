package forecast

import (
	"cmp"
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// memory is what an outlook learned, without flows and pending forecasts.
type memory struct {
	speeds                         [numSpeeds]occurrence
	late                           [ageBuckets]float32
	ended                          [coolClasses]float32
	dispersion, rateMean, fillMean float64
	since                          float64 // seconds over which the two means were taken
	rhythm                         rhythm
	learnt                         [detector.NumHorizons]learnt
	proofs                         proofs
	came                           arrivals
	before                         earlier
}

// earlier has the ports that were cooling when a state was written.
type earlier struct {
	cools releaseWheel
	// written is the second in which the state was written, rate the rate of arrivals then. How many flows ended between
	// then and the start is estimated.
	written int64
	rate    float64
}

// saved is the memory of a port space, with its name and the second in which something was last added.
type saved struct {
	SpaceName
	at     collector.Time
	memory memory
}

// old reports whether the memory is too old at now to be of use.
func (v *saved) old(now collector.Time) bool { return now.Sub(v.at) > stateOld }

// until returns the memory aged to now.
func (v *saved) until(now collector.Time) memory {
	m := v.memory
	gap := max(0, now.Sub(v.at).Seconds())
	for i, tau := range hazardTaus() {
		m.speeds[i].keep(math.Exp(-gap / tau))
	}
	m.rhythm.start = Second(v.at)
	m.rhythm.skip(Second(now) / rhythmBin)
	return m
}

// SpaceName identifies a port space across a restart.
type SpaceName struct {
	Budget, VIP, Destination string
	Protocol                 collector.Protocol
}

func (n *SpaceName) compare(o *SpaceName) int {
	return cmp.Or(cmp.Compare(n.Budget, o.Budget), cmp.Compare(n.VIP, o.VIP),
		cmp.Compare(n.Destination, o.Destination), cmp.Compare(n.Protocol, o.Protocol))
}

// A state is what the forecast learned, as bytes: hold times, arrivals and its own errors,
// by budget and port space. Flows are not in it: the kernel knows them.
//
// It begins with stateMagic and the version, and ends with a CRC-32C of all before.
const (
	stateMagic   = "snatwatch state\n"
	stateVersion = 7
	// stateOld is how long a memory of a port space is of use.
	stateOld = 6 * time.Hour
)
