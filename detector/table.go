package detector

import "time"

// When a conntrack table is about to be full: it holds TableNear of its limit, or at its pace it is full within
// TableSoon. The agent's notice and the ticket both read these numbers.
const (
	TableNear = 0.85
	TableSoon = 10 * time.Minute
)

// RaceRate is how many flows a second conntrack fails to insert when that is told: below RaceFill of a budget it is not
// for lack of ports, but two flows take the same one at once. The agent's notice and the ticket both read it.
const (
	RaceRate = 0.1
	RaceFill = 0.5
)
