package scenario

import (
	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// retry: a server stops answering for some minutes. What is opened meanwhile
// hangs for 30 s; of that, 90 % is tried again after a short pause, up to five times.
func retry(l *load) {
	const hang, again, limit = 30, 0.9, 5
	at := cursor(l.spans(3600, func(from float64) span {
		return span{from: from, to: from + l.between(90, 480), onset: l.between(0, 60), factor: l.between(0.15, 1)}
	}))
	share := 0.5
	if l.profile.CoolDown == 0 {
		share = 0.3
	}
	l.share = constant(share)
	l.life = func(t float64) (float64, collector.Reason) {
		s := at(t)
		if l.r.Float64() < s.factor*s.strength(t) {
			return hang, collector.Timeout
		}
		return l.asProfile(t)
	}
	l.retry = func(t float64, reason collector.Reason, attempts int) (float64, bool) {
		if reason != collector.Timeout || attempts > limit || l.r.Float64() >= again {
			return 0, false
		}
		return t + l.between(0.5, 4), true
	}
}

// leak: from some moment on a share of flows stays open until a restart closes
// them all. About half of the leaks fill the budget before that.
func leak(l *load) {
	const share = 0.5
	at := cursor(l.spans(3600, func(from float64) span {
		full := l.between(2700, 7200) // seconds until the leak alone would fill what is free
		lasts := full * l.between(0.7, 1.3)
		return span{from: from, to: from + lasts, factor: (1 - share) * Budget / full / l.rate(share)}
	}))
	l.share = constant(share)
	l.life = func(t float64) (float64, collector.Reason) {
		s := at(t)
		if l.r.Float64() < s.factor*s.strength(t) {
			return s.to - t + l.between(0, 2), collector.RST
		}
		return l.asProfile(t)
	}
}

// tier: the pool grows node by node to 46–62 and shrinks again some time later;
// above 50 nodes this node's share is 512.
func tier(l *load) {
	const small, edge, half = 40, 50, Budget / 2
	size := func(t float64, nodes int) record.Change {
		c := record.Change{
			At: record.Epoch + record.Seconds(t), Nodes: nodes, Ports: Budget, ToEdge: edge - nodes,
			Beyond: half,
		}
		if nodes > edge {
			c.Ports, c.ToEdge, c.Beyond = half, 2*edge-nodes, half/2
		}
		return c
	}
	l.share = constant(l.between(0.42, 0.56))
	l.changes = []record.Change{size(0, small)}
	nodes := small
	move := func(t, to float64, step int, every float64) float64 {
		for ; nodes != int(to); t += every * l.between(0.5, 1.5) {
			nodes += step
			l.changes = append(l.changes, size(t, nodes))
		}
		return t
	}
	for t := 900 + 1800*l.r.Float64(); t < l.seconds; t += l.between(2400, 4800) {
		t = move(t, float64(46+l.r.IntN(17)), 1, l.between(20, 90))
		t += l.between(600, 1500)
		t = move(t, small, -1, l.between(10, 40))
	}
	for i, c := range l.changes {
		if c.At > record.Epoch+record.Seconds(l.seconds) {
			l.changes = l.changes[:i]
			break
		}
	}
}

// cron: a batch of a third of the budget every five minutes, and every two hours one that
// may be too large.
func cron(l *load) {
	const share = 0.4
	l.share = constant(share)
	for t := 300.0; t < l.seconds; t += 300 {
		size := l.between(0.25, 0.4)
		if int(t)%7200 == 3600 {
			size = l.between(0.55, 0.8)
		}
		l.batches = append(l.batches, batch{at: t, over: l.between(2, 10), flows: int(size * Budget)})
	}
}
