package detector

import "time"

// When a conntrack table is about to be full: it holds TableNear of its limit, or at its pace it is full within
// TableSoon. The agent's notice and the ticket both read these numbers.
const (
	TableNear = 0.85
	TableSoon = 10 * time.Minute
)

// RaceRate is the least rate of failed inserts, a second, that is reported. Below RaceFill of a budget conntrack fails
// to insert flows because two take the same port at once, not because ports lack. The agent's notice and the ticket
// read both.
const (
	RaceRate = 0.1
	RaceFill = 0.5
)
