package scenario

import (
	"math/rand/v2"

	"github.com/snatwatch/snatwatch/collector"
)

// Present is how a load is at the moment up to which its flows were read: what an oracle knows of it. What will become
// of the load, and batches to come, are not in it.
type Present struct {
	load *load
	// at is the second in which the last flow opened, rate how many opens a second there are in it.
	at, rate float64
}

// Rate is how many flows open a second, without those that are tried again.
func (p *Present) Rate() float64 { return p.rate }

// Life draws how long a flow that opens now lives and why it ends; and again is how many seconds later it is tried once
// more, 0 if it is not. It draws by r, so that the load does not become another.
func (p *Present) Life(r *rand.Rand) (life float64, reason collector.Reason, again float64) {
	l := p.load
	own := l.r
	l.r = r
	defer func() { l.r = own }()
	life, reason = l.life(p.at)
	if l.retry != nil {
		if at, tried := l.retry(p.at+life, reason, 1); tried {
			again = at - p.at - life
		}
	}
	return life, reason, again
}
