package forecast

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// epoch is the start of every test's clock.
const epoch = collector.Time(1_700_000_000 * int64(time.Second))

func at(seconds float64) collector.Time {
	return epoch + collector.Time(math.Round(seconds*1e9))
}

func exactly(seconds float64) collector.Interval {
	return collector.Interval{From: at(seconds), To: at(seconds)}
}
