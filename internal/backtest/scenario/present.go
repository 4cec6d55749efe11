package scenario

import (
	"math/rand/v2"

	"github.com/snatwatch/snatwatch/collector"
)

// Present is how a load was when the last of the flows opened that its reader has counted: what an oracle knows of it.
// What will become of the load, and batches to come, are not in it.
type Present struct {
	load *load
	// last is when that flow opened. next is when the flow opens that is read and not yet counted: a reader looks at the
	// present before it counts a flow, and a rate or law that begins with that flow has not shown itself by then.
	last, next moment
}

// moment is a time in seconds, and how many opens a second there are in its second.
type moment struct{ at, rate float64 }

// read takes in that the flow that opens at t was read, in a second with that many opens.
func (p *Present) read(t, rate float64) { p.last, p.next = p.next, moment{t, rate} }

// Rate is how many flows open a second, without those that are tried again; 0 before the first flow.
func (p *Present) Rate() float64 { return p.last.rate }

// Life draws how long a flow that opens now lives and why it ends; and again is how many seconds later it is tried once
// more, 0 if it is not. It draws by r, so that the load does not become another.
func (p *Present) Life(r *rand.Rand) (life float64, reason collector.Reason, again float64) {
	l := p.load
	own := l.r
	l.r = r
	defer func() { l.r = own }()
	t := p.last.at
	life, reason = l.life(t)
	if l.retry != nil {
		if at, tried := l.retry(t+life, reason, 1); tried {
			again = at - t - life
		}
	}
	return life, reason, again
}
