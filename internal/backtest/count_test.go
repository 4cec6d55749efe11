package backtest

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// randomRecord has some flows a second to each of some destinations for some seconds.
func randomRecord(rng *rand.Rand, destinations, lasts int, rate float64) *record.Record {
	r := &record.Record{Name: "random"}
	for d := range destinations {
		r.Destinations = append(r.Destinations, strconv.Itoa(d))
		r.Protocols = append(r.Protocols, collector.TCP)
		for t := 0.0; t < float64(lasts); t += rng.ExpFloat64() / rate {
			start := at(t)
			if rng.IntN(4) == 0 {
				start = at(float64(int(t))) // on a tick
			}
			r.Flows = append(r.Flows, record.Flow{
				Start: start, End: start + record.Seconds(rng.ExpFloat64()*float64(rng.IntN(20))),
				Destination: int32(d), Protocol: collector.TCP, Reason: collector.FIN,
			})
		}
	}
	slices.SortStableFunc(r.Flows, record.ByStart)
	return r
}

// The most that is held is the highest of what is held at each tick, and what is held is what the flows say.
func TestCounter(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := randomRecord(rng, 3, 100, 0.5)
		tick := time.Duration(1+rng.IntN(3)) * time.Second
		cool := time.Duration(rng.IntN(20)) * time.Second
		c := newCounter(r, at(0), at(90), tick, staticBudget(10, cool))
		for d := range r.Destinations {
			held := c.held(int32(d))
			for k, got := range held {
				now, want := at(0).Add(time.Duration(k)*tick), int32(0)
				for _, f := range r.Flows {
					if int(f.Destination) == d && f.Start <= now && f.End.Add(cool) > now {
						want++
					}
				}
				if got != want {
					t.Fatalf("seed %d: destination %d holds %d ports at tick %d, want %d", seed, d, got, k, want)
				}
			}
			if got, want := c.most(int32(d)), int(slices.Max(held)); got != want {
				t.Fatalf("seed %d: destination %d holds at most %d ports, want %d", seed, d, got, want)
			}
		}
	}
}

// The peak of a record is the highest of what flows hold when one of them begins, and its ceiling is reached for as long
// as the flows say, whatever the ticks.
func TestPeak(t *testing.T) {
	t.Parallel()
	const ceiling = 4
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		r := randomRecord(rng, 2, 60, 0.5)
		b := staticBudget(ceiling, time.Duration(rng.IntN(20))*time.Second)
		c := newCounter(r, 0, 0, time.Second, b)
		for d := range int32(2) {
			var times []collector.Time
			for _, f := range r.Flows {
				times = append(times, f.Start, f.End.Add(b.TCP.CoolDown[collector.FIN]))
			}
			slices.Sort(times)
			var want int
			var at collector.Time
			var exhausted time.Duration
			for i, now := range times {
				held := 0
				for _, f := range r.Flows {
					if f.Destination == d && f.Start <= now && f.End.Add(b.TCP.CoolDown[collector.FIN]) > now {
						held++
					}
				}
				if held > want {
					want, at = held, now
				}
				if held >= ceiling && i+1 < len(times) {
					exhausted += times[i+1].Sub(now)
				}
			}
			most, when, long := c.peak(d, &b.TCP)
			if most != want || when != at || long != exhausted {
				t.Errorf("seed %d: %d ports at %v, exhausted for %v; want %d at %v, %v", seed, most, when, long, want, at, exhausted)
			}
		}
	}
}

// Of a record of many destinations the fullest are judged, whether ports are chosen or given.
func TestFullestAreJudged(t *testing.T) {
	t.Parallel()
	r := randomRecord(rand.New(rand.NewPCG(2, 3)), maxSpaces+20, 1200, 1)
	for _, terms := range []Terms{{}, {Ports: 5}} { // with ports chosen, some have too few episodes
		b, err := terms.budget()
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := newRecordJobs(Config{Tick: time.Second}, r, terms, b, time.Minute, false)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, j := range jobs {
			n += len(j.spaces)
		}
		if n > maxSpaces || n < maxSpaces/2 || !terms.chosen() && n < maxSpaces {
			t.Errorf("budget of %d ports: %d port spaces are judged, want %d", terms.Ports, n, maxSpaces)
		}
	}
}

// The bar counts the replays without hindsight too, which take longer than all others.
func TestProgressCountsForesight(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var shares []float64
	opt := Options{
		Config: Config{Progress: func(x float64) { mu.Lock(); shares = append(shares, x); mu.Unlock() }},
		Terms:  []Terms{{}},
	}
	res, err := RunRecords(context.Background(), opt, []*record.Record{randomRecord(rand.New(rand.NewPCG(4, 5)), 1, 3700, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if res.Foresight.Spaces != 1 || len(shares) == 0 {
		t.Fatalf("%d port spaces with foresight, %d shares", res.Foresight.Spaces, len(shares))
	}
	if first, last := shares[0], shares[len(shares)-1]; first > 0.05 || last < 0.9 || last > 1 {
		t.Errorf("the bar goes from %.2f to %.2f", first, last)
	}
}
