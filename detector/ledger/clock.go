package ledger

import "github.com/snatwatch/snatwatch/collector"

// clock is the time of the ledger: now is what Advance was given last, start is when the agent started, 0 until known.
type clock struct{ now, start collector.Time }
