package ledger

import (
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// What it costs to count owners: a batch of opens and closes each, in turn by a ledger that counts them and by one
// that does not. 20 owners hold ports of each of 1000 port spaces. The ratio is of CPU time.
func BenchmarkLedgerOwners(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	type side struct {
		ledger *Ledger
		churn  *churn
		spent  time.Duration
	}
	var sides [2]side
	for i := range sides {
		l := New(Config{Budgets: []*budget.Budget{benchBudget()}, Start: at(0), ForecastMax: 1, Owners: i == 1})
		l.Apply(&collector.Event{Kind: collector.Begin, At: at(1), Netns: 1})
		e := benchEvent(collector.Seen, at(1))
		for k := range million / 4 {
			fill(&e, k)
			e.Flow.Owner = collector.OwnerNumber(2 + k/1000%20)
			l.Apply(&e)
		}
		l.Apply(&collector.Event{Kind: collector.End, At: at(1), Netns: 1})
		l.forecasts.madeAt = math.MaxInt64
		c := shortChurn()
		c.first, c.ring = million/4, million/10
		sides[i] = side{ledger: l, churn: c}
	}
	batch := make([]collector.Event, benchBatch)
	round := func() {
		for i := range sides {
			s := &sides[i]
			for k := range batch {
				s.churn.next(&batch[k])
				batch[k].Flow.Owner = collector.OwnerNumber(2 + s.churn.step/2/1000%20)
			}
			start := kerneltest.ThreadTime(b)
			ApplyAll(batch, s.ledger)
			s.spent += kerneltest.ThreadTime(b) - start
		}
	}
	for range 2000 {
		round()
	}
	sides[0].spent, sides[1].spent = 0, 0
	b.ResetTimer()
	for n := 0; n < b.N; n += benchBatch {
		round()
	}
	b.ReportMetric(float64(sides[0].spent)/float64(b.N), "without-ns")
	b.ReportMetric(float64(sides[1].spent)/float64(b.N), "with-ns")
	b.ReportMetric(float64(sides[1].spent)/float64(sides[0].spent), "×")
}

// What counting owners takes of memory for each live flow: 20 owners hold the 250 ports of each of 1000 port spaces.
func BenchmarkLedgerOwnersMemory(b *testing.B) {
	const flows = million / 4
	measure := func(owners bool) float64 {
		before := heap()
		l := New(Config{Budgets: []*budget.Budget{benchBudget()}, Start: at(0), ForecastMax: 1, Owners: owners})
		l.Apply(&collector.Event{Kind: collector.Begin, At: at(1), Netns: 1})
		e := benchEvent(collector.Seen, at(1))
		for k := range flows {
			fill(&e, k)
			e.Flow.Owner = collector.OwnerNumber(2 + k/1000%20)
			l.Apply(&e)
		}
		l.Apply(&collector.Event{Kind: collector.End, At: at(1), Netns: 1})
		l.Snapshot(at(2))
		used := float64(heap()-before) / flows
		runtime.KeepAlive(l)
		return used
	}
	for b.Loop() {
		without, with := measure(false), measure(true)
		b.ReportMetric(without, "without-B/flow")
		b.ReportMetric(with, "with-B/flow")
		b.ReportMetric(with-without, "more-B/flow")
	}
}
