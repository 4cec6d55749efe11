package ledger

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// begunLoad is flows that opened before an agent started and go on opening after it, by the second they opened. Each
// holds its port until it ended, and conntrack shows it for two minutes more.
type begunLoad []struct{ opened, ended float64 }

// since returns the number of the first flow that opened at t or later.
func (b begunLoad) since(t float64) int {
	return sort.Search(len(b), func(i int) bool { return b[i].opened >= t })
}

// dump shows l at the time t; no flow lives for longer than 80 s. Without stamps the kernel does not say when a flow opened.
func (b begunLoad) dump(l *Ledger, t float64, stamps bool) {
	l.Apply(&collector.Event{Kind: collector.Begin, At: at(t), Netns: 1})
	for n := b.since(t - 200); n < len(b) && b[n].opened < t; n++ {
		x := b[n]
		if x.ended < t-120 {
			continue
		}
		f := flowTo(n, store)
		f.Opened = collector.Interval{To: at(t)}
		if x.ended < t {
			ago := math.Floor(t - x.ended)
			f.State, f.Reason = collector.Done, collector.FIN
			f.Ended = collector.Interval{From: at(t - ago - 1), To: at(t - ago)}
			f.Opened.To = f.Ended.To
		}
		if stamps {
			f.Opened = exactly(x.opened)
		}
		l.Apply(&collector.Event{Kind: collector.Seen, At: at(t), Netns: 1, Flow: f})
	}
	l.Apply(&collector.Event{Kind: collector.End, At: at(t), Netns: 1})
}

// events tells of the flows that opened from one second to the next.
func (b begunLoad) events(l *Ledger, from, to float64) {
	for n := b.since(from); n < len(b) && b[n].opened < to; n++ {
		f := flowTo(n, store)
		f.State, f.Opened, f.Active = collector.Opening, exactly(b[n].opened), at(b[n].opened)
		l.Apply(&collector.Event{Kind: collector.Opened, At: at(b[n].opened), Netns: 1, Flow: f})
	}
}

// peak starts an agent at the second start, which dumps every so many seconds and gets events between dumps or not, and
// returns the highest probability of its page in the first six minutes.
func (b begunLoad) peak(ports int, cool time.Duration, start, every float64, events, stamps bool) (peak float64) {
	l := New(Config{Budgets: []*budget.Budget{coolingBudget(ports, cool)}, Start: at(start)})
	dumped := math.Inf(-1)
	read := start
	for now := start + 0.1; now < start+360; now++ {
		if events && now > start+1 {
			b.events(l, read, now)
		}
		read = now
		if now-dumped >= every {
			b.dump(l, now, stamps)
			dumped = now
		}
		if s := l.Snapshot(at(now)).Budgets[0].Protocols[0].Spaces; len(s) > 0 && s[0].Forecast != nil {
			peak = max(peak, s[0].Forecast.Probability[1])
		}
	}
	return peak
}

// An agent does not page in its first minutes beside a load that leaves four ports in ten free, however the flows of
// that load come and whatever it sees of them: not for a few flows that opened at once, whose ports cool down for long,
// nor for flows that were open already and of which nobody knows how long they live.
func TestStartDoesNotPage(t *testing.T) {
	t.Parallel()
	const start = 5000
	batches := func(size int, every, phase float64) (b begunLoad) {
		for t := start - 300 + phase; t < start+360; t += every {
			for i := range size {
				o := t + 0.2*float64(i)/float64(size)
				b = append(b, struct{ opened, ended float64 }{o, o + 0.5})
			}
		}
		return b
	}
	steady := func(rate, life float64) (b begunLoad) {
		r := rand.New(rand.NewPCG(11, 5))
		for t := start - 300.0; t < start+360; t += r.ExpFloat64() / rate {
			b = append(b, struct{ opened, ended float64 }{t, t + life*(0.1+1.8*r.Float64())})
		}
		return b
	}
	for _, tt := range []struct {
		name string
		load begunLoad
		cool time.Duration
	}{
		{"twelve flows every minute, in the first second", batches(12, 60, 0.3), 45 * time.Minute}, // 540 ports
		{"twelve flows every minute, after three", batches(12, 60, 3.3), 45 * time.Minute},
		{"twelve flows every three minutes", batches(12, 180, 1.3), 45 * time.Minute},
		{"forty flows every three minutes", batches(40, 180, 2.3), 45 * time.Minute},
		{"flows of 20 s on the mean", steady(30, 20), 0},
		{"short flows, ports cool for 240 s", steady(2.5, 1), 240 * time.Second},
		{"short flows, ports cool for 15 s", steady(37, 1), 15 * time.Second},
	} {
		for _, view := range []struct {
			name   string
			every  float64
			events bool
		}{{"events", 30, true}, {"a dump each second", 1, false}, {"a dump each 10 s", 10, false}, {"a dump each 60 s", 60, false}} {
			if (view.events || view.every > 10) && tt.cool < time.Minute {
				continue // the agent polls, each 10 s at least, where events tell too late that a port is free
			}
			for _, stamps := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, stamps %v", tt.name, view.name, stamps), func(t *testing.T) {
					t.Parallel()
					if p := tt.load.peak(1000, tt.cool, start, view.every, view.events, stamps); p >= detector.PageRaise {
						t.Errorf("P(5 min) %.3f, want below %v", p, detector.PageRaise)
					}
				})
			}
		}
	}
}
