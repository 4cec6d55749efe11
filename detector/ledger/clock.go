package ledger

import "github.com/snatwatch/snatwatch/collector"

// clock is the time that the ledger was brought to, and the one at which the agent started, 0 until it is known.
type clock struct{ now, start collector.Time }
