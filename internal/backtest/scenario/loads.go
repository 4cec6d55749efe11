package scenario

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// Loads are the scenarios that the page is judged on beside All: what a pager meets in a year, most of it harmless.
func Loads() []Scenario {
	long := []string{"P240"}
	return []Scenario{
		{
			Name: "start", Text: "60 % of the budget; the agent restarts without a state", Length: 0.5,
			plan: restarts(0.6, false),
		},
		{
			Name: "resume", Text: "60 % of the budget; the agent restarts with its state", Length: 0.5,
			plan: restarts(0.6, true),
		},
		{
			Name: "reasons", Text: "the ends of 4.3 calls a second turn from RST (15 s) to FIN (240 s) and back", Length: 0.5,
			plan: reasons, only: long,
		},
		{
			Name: "deploy", Text: "420 connections are closed and opened anew within 5 s, every two hours", Length: 1,
			plan: deploy,
		},
		{Name: "outage", Text: "for 30 s nobody answers, and all is tried again", Length: 1, plan: outage},
		{Name: "mixed", Text: "88 % of the budget, calls and downloads, nothing happens", Length: 1, plan: mixed},
		{Name: "peaks", Text: "load alternates between low and peaks of 70 to 115 %", Length: 1, plan: peaks},
		{Name: "edge", Text: "a pool jumps over an edge of the table, and back", Length: 0.5, plan: edge},
		{Name: "cut", Text: "the budget is cut to 55 to 80 %, and restored", Length: 0.5, plan: cut},
		{
			Name: "crowd", Text: "999 small destinations, and one that grows", Length: 0.15, Many: true, plan: crowd,
			only: long,
		},
		{Name: "tiny", Text: "a budget of eight ports, of which one or two are held", Length: 0.5, plan: tiny},
		{Name: "hourly", Text: "a batch of half of the budget every hour", Length: 1.5, plan: hourly(0.5, 0.5)},
		{Name: "hourly_random", Text: "a batch of 20 to 65 % every hour", Length: 1.5, plan: hourly(0.2, 0.65)},
		{
			Name: "slowleak", Text: "some flows an hour are never closed", Length: 3, plan: slowLeak,
			only: []string{"P15", "P240"},
		},
		{Name: "websocket", Text: "connections of an hour, and more of them in the morning", Length: 1.5, plan: websocket},
		{Name: "udp", Text: "UDP held for 30 s, at 85 to 95 % of the budget", Length: 0.5, plan: udp},
		{Name: "week", Text: "the days of an office and a weekend", Length: 21, plan: week, only: long},
		{Name: "doubling", Text: "load doubles within a week", Length: 21, plan: doubling, only: long},
	}
}

// restarts is a steady load under an agent that is restarted every half an hour.
func restarts(share float64, state bool) func(*load) {
	return func(l *load) {
		l.share = constant(share)
		for t := 900 + l.between(0, 60); t < l.seconds; t += l.between(1500, 2100) {
			l.restarts = append(l.restarts, Restart{At: record.Epoch + record.Seconds(math.Floor(t)), State: state})
		}
	}
}

// reasons: ends by RST, whose ports are free after 15 s, turn into ends by FIN, 240 s, within a minute. That is 4.3
// opens a second, some per cent more or less: half of the shifts exhaust the budget.
func reasons(l *load) {
	l.coolDown = map[collector.Reason]time.Duration{collector.RST: 15 * time.Second}
	at := cursor(l.spans(2400, func(from float64) span {
		return span{from: from, to: from + l.between(900, 1800), onset: l.between(0, 60), factor: l.between(0.8, 1.2)}
	}))
	now := span{}
	l.share = func(t float64) float64 {
		now = at(t)
		if now.factor > 0 {
			return 4.3 * now.factor / l.rate(1)
		}
		return 4.3 / l.rate(1)
	}
	l.life = func(t float64) (float64, collector.Reason) {
		life, _ := l.asProfile(t)
		if l.r.Float64() < now.strength(t) {
			return life, collector.FIN
		}
		return life, collector.RST
	}
}

// deploy closes all long connections every two hours and opens as many within 5 s.
func deploy(l *load) {
	const connections, every = 420, 7200
	l.share = constant(0.13)
	for from := -every / 2.0; from < l.seconds; from += every {
		ends := from + every
		life := func(t float64) (float64, collector.Reason) { return ends + l.between(0, 5) - t, collector.FIN }
		b := batch{at: from, over: 5, flows: connections, life: life}
		if from < 0 {
			b.at, b.over = 0, 600 // it starts quietly
		}
		l.batches = append(l.batches, b)
	}
}

// outage: for 30 s what opens hangs until a time-out of 10 s and is tried again until it is answered.
func outage(l *load) {
	share := 0.55
	if l.profile.CoolDown == 0 {
		share = 0.35
	}
	l.share = constant(share)
	at := cursor(l.spans(4500, func(from float64) span { return span{from: from, to: from + 30} }))
	l.life = func(t float64) (float64, collector.Reason) {
		if s := at(t); s.to > 0 {
			return 10, collector.Timeout
		}
		return l.asProfile(t)
	}
	l.retry = func(t float64, reason collector.Reason, _ int) (float64, bool) {
		return t + l.between(0.2, 2), reason == collector.Timeout
	}
}

// mixed is calls and downloads of minutes, each half of what is held.
func mixed(l *load) {
	calls := l.profile.life.mean() + l.profile.CoolDown.Seconds()
	const download = 180
	downloads := download + l.profile.CoolDown.Seconds()
	// Shares of opens so that each holds half.
	p := calls / (calls + downloads)
	mean := (1-p)*calls + p*downloads
	l.share = constant(0.88 * calls / mean)
	l.life = func(t float64) (float64, collector.Reason) {
		if l.r.Float64() < p {
			return download * l.r.ExpFloat64(), collector.FIN
		}
		return l.asProfile(t)
	}
}

// peaks rise within minutes, stay for some, and fall as fast.
func peaks(l *load) {
	at := cursor(l.spans(1500, func(from float64) span {
		onset := l.between(300, 1200)
		return span{from: from, to: from + 2*onset + l.between(120, 900), onset: onset, factor: l.between(0.7, 1.15)}
	}))
	low := l.between(0.3, 0.5)
	l.share = func(t float64) float64 {
		s := at(t)
		k := min(s.strength(t), (s.to-t)/max(s.onset, 1))
		return low + max(0, k)*(s.factor-low)
	}
}

// edge moves the pool from below 50 nodes to above in one step or two.
func edge(l *load) {
	l.share = constant(l.between(0.42, 0.6))
	size := func(t float64, nodes int) record.Change {
		c := record.Change{
			At: record.Epoch + record.Seconds(t), Nodes: nodes, Ports: Budget, ToEdge: 50 - nodes,
			Beyond: Budget / 2,
		}
		if nodes > 50 {
			c.Ports, c.ToEdge, c.Beyond = Budget/2, 100-nodes, Budget/4
		}
		return c
	}
	l.changes = []record.Change{size(0, 45)}
	for t := 1200 + l.between(0, 1800); t < l.seconds-1800; t += l.between(2400, 4800) {
		l.changes = append(l.changes, size(t, 49), size(t+l.between(5, 240), 54), size(t+l.between(600, 1500), 44))
	}
}

// cut has an operator lower the budget.
func cut(l *load) {
	l.share = constant(l.between(0.5, 0.65))
	size := func(t float64, ports int) record.Change {
		return record.Change{At: record.Epoch + record.Seconds(t), Ports: ports}
	}
	l.changes = []record.Change{size(0, Budget)}
	for t := 1200 + l.between(0, 1800); t < l.seconds-1800; t += l.between(2400, 4800) {
		l.changes = append(l.changes, size(t, int(l.between(0.55, 0.8)*Budget)), size(t+l.between(600, 1500), Budget))
	}
}

// crowd has 999 destinations with some ports each, and the first grow.
func crowd(l *load) {
	l.destinations = 1000
	const small = 4.0 / Budget
	up := cursor(l.spans(1200, func(from float64) span {
		return span{from: from, to: from + 2400, onset: l.between(900, 1800), factor: l.between(0.8, 1.15)}
	}))
	grower := func(t float64) float64 {
		s := up(t)
		return 0.1 + s.strength(t)*(max(s.factor, 0.1)-0.1)
	}
	now := 0.0
	l.share = func(t float64) float64 {
		now = grower(t)
		return now + 999*small
	}
	l.destination = func(float64) int32 {
		if l.r.Float64()*(now+999*small) < now {
			return 0
		}
		return 1 + int32(l.r.IntN(999))
	}
}

// tiny leaves a budget of eight ports, of which one or two are held.
func tiny(l *load) {
	l.share = constant(l.between(1, 2.2) / Budget)
	l.changes = []record.Change{{At: record.Epoch, Ports: 8}}
}

// hourly sends a batch of that many at each full hour.
func hourly(least, most float64) func(*load) {
	return func(l *load) {
		l.share = constant(0.4)
		for t := 3600.0; t < l.seconds; t += 3600 {
			l.batches = append(l.batches, batch{at: t, over: l.between(2, 10), flows: int(l.between(least, most) * Budget)})
		}
	}
}

// slowLeak fills half of the budget in 12 to 20 hours.
func slowLeak(l *load) {
	const share = 0.5
	at := cursor(l.spans(7200, func(from float64) span {
		full := l.between(12, 20) * 3600
		return span{from: from, to: from + full*l.between(0.9, 1.1), factor: (1 - share) * Budget / full / l.rate(share)}
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

// websocket: connections last an hour on the mean, and twice as many come in the morning.
func websocket(l *load) {
	const holds = 3600
	l.profile.life = lifetime{median: holds / math.Exp(0.5), sigma: 1, least: 1, alpha: 1.3, most: 6 * holds}
	up := l.between(0.85, 1.25)
	from, over := l.between(2, 4)*3600, l.between(1, 2.5)*3600
	l.share = func(t float64) float64 { return 0.45 + (up-0.45)*min(max((t-from)/over, 0), 1) }
	l.batches = []batch{{at: 0, over: 60, flows: Budget * 45 / 100}}
}

// udp is held for 30 s from each query on.
func udp(l *load) {
	l.protocol = collector.UDP
	l.profile.life = lifetime{median: 30, sigma: 0.02, least: 1, alpha: 1.3, most: 3600}
	l.share = constant(l.between(0.85, 0.95))
	l.life = func(float64) (float64, collector.Reason) { return l.profile.life.draw(l.r, 1), collector.Idle }
}

// week is a week of diurnal days from a Friday on; at the weekend half as much comes.
func week(l *load) {
	diurnal(l)
	weekdays := l.share
	l.share = func(t float64) float64 {
		if d := int(t/86400) % 7; d == 1 || d == 2 {
			return weekdays(t) / 2
		}
		return weekdays(t)
	}
}

// doubling starts at half of the budget and ends just above all of it; nights are somewhat lower.
func doubling(l *load) {
	end := l.between(0.98, 1.08)
	l.share = func(t float64) float64 {
		return end * math.Exp2(t/l.seconds-1) * (1 - 0.1*(1+math.Cos(2*math.Pi*t/86400))/2)
	}
}
