package detector

import "time"

// When a conntrack table is about to be full: it holds TableNear of its limit, or at its pace it is full within
// TableSoon. The agent's notice and the ticket both read these numbers.
const (
	TableNear = 0.85
	TableSoon = 10 * time.Minute
)
