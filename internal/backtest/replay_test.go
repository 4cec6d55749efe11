package backtest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// script writes down what a replay tells a detector.
type script struct{ lines []string }

func (s *script) Apply(e *collector.Event) {
	if e.Kind == collector.End {
		s.lines = append(s.lines, fmt.Sprintf("%v end", (e.At-record.Epoch).Seconds()))
		return
	}
	s.lines = append(s.lines, fmt.Sprintf("%.9g %s %d %s %v", (e.At-record.Epoch).Seconds(), e.Kind, destination(e.Flow.Destination.Addr()), e.Flow.Reason, e.Flow.State))
}

func (s *script) Advance(now collector.Time) {
	s.lines = append(s.lines, fmt.Sprintf("%v tick", (now-record.Epoch).Seconds()))
}

func (s *script) Resize(c record.Change, now collector.Time) {
	s.lines = append(s.lines, fmt.Sprintf("%v nodes %d", (now-record.Epoch).Seconds(), c.Nodes))
}

func (s *script) Restart(now collector.Time, state bool) {
	s.lines = append(s.lines, fmt.Sprintf("%v restart %v", (now-record.Epoch).Seconds(), state))
}

func (s *script) Spaces(func(int32, *detector.SpaceSnapshot)) {}

func TestPlay(t *testing.T) {
	t.Parallel()
	flows := []record.Flow{
		{Start: at(0.5), End: at(1.5), Protocol: collector.TCP, Reason: collector.FIN},
		{Start: at(1), End: at(1), Destination: 1, Protocol: collector.UDP, Reason: collector.Timeout},
		{Start: at(2.5), End: at(9), Protocol: collector.TCP, Reason: collector.RST},
	}
	var s script
	p := &player{
		source:    &record.Source{Flows: slices.Values(flows), Changes: []record.Change{{At: at(2), Nodes: 51, Ports: 512}}, From: at(0), To: at(4)},
		detectors: []Detector{&s},
		coolDown: func(f *record.Flow) time.Duration {
			if f.Reason == collector.FIN {
				return 1500 * time.Millisecond
			}
			return 0
		},
		tick:    time.Second,
		tallies: make([]tally, 2),
		stopped: func() bool { return false },
	}
	var held [][]int
	var ports []int
	p.onTick = func(int, collector.Time) {
		held = append(held, []int{p.tallies[0].held, p.tallies[1].held})
		ports = append(ports, p.share(1024))
	}
	p.play()
	want := []string{
		"0 tick",
		"0.5 opened 0 unknown established",
		// What opens and ends at the moment of a tick is seen by it, and by its forecast.
		"0.999999999 opened 1 unknown opening",
		"0.999999999 closed 1 timeout done",
		"1 tick",
		"1.5 closed 0 fin done",
		"2 nodes 51",
		"2 tick",
		"2.5 opened 0 unknown established",
		"3 tick",
		"4 tick",
	}
	if diff := cmp.Diff(want, s.lines); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	// The first port is held from 0.5 to 1.5 and cools until 3.
	if diff := cmp.Diff([][]int{{0, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 0}}, held); diff != "" {
		t.Errorf("held (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]int{1024, 1024, 512, 512, 512}, ports); diff != "" {
		t.Errorf("ports (-want +got)\n%s", diff)
	}
	wantTally := tally{held: 1, opened: 2, closed: 1, lived: 1}
	if diff := cmp.Diff(wantTally, p.tallies[0], cmp.AllowUnexported(tally{})); diff != "" {
		t.Errorf("tally (-want +got)\n%s", diff)
	}
}

// No two flows that a day can hold share source and destination.
// A restart shows the flows that are live, and not what closed before.
func TestPlayRestarts(t *testing.T) {
	t.Parallel()
	flows := []record.Flow{
		{Start: at(0.5), End: at(1.5), Protocol: collector.TCP, Reason: collector.FIN},
		{Start: at(0.5), End: at(2.5), Destination: 1, Protocol: collector.TCP, Reason: collector.FIN},
	}
	var s script
	p := &player{
		source:    &record.Source{Flows: slices.Values(flows), From: at(0), To: at(2)},
		restarts:  []scenario.Restart{{At: at(2), State: true}},
		detectors: []Detector{&s},
		coolDown:  func(*record.Flow) time.Duration { return time.Minute },
		tick:      2 * time.Second,
		tallies:   make([]tally, 2),
		stopped:   func() bool { return false },
		onTick:    func(int, collector.Time) {},
	}
	p.play()
	want := []string{
		"0 tick", "0.5 opened 0 unknown established", "0.5 opened 1 unknown established",
		"1 tick", "1.5 closed 0 fin done",
		"2 restart true", "2 seen 1 unknown established", "2 end", "2 tick",
	}
	if diff := cmp.Diff(want, s.lines); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p.tallies[0].held != 1 || p.tallies[1].held != 1 {
		t.Errorf("the replay lost count: %v", p.tallies)
	}
}

func TestSourcesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for id := uint32(1); id < 200_000; id++ {
		s := source(id).String()
		if seen[s] {
			t.Fatalf("flow %d: source %s is taken", id, s)
		}
		seen[s] = true
	}
	for _, d := range []int32{0, 1, 255, 256, 1 << 20, record.MaxDestinations} {
		if got := destination(address(d).Addr()); got != d {
			t.Errorf("destination %d comes back as %d", d, got)
		}
	}
}

func TestPeers(t *testing.T) {
	t.Parallel()
	// Held ports climb by 2 a second from 100; each second one flow opens and one that lived 10 s closes.
	observe := func(m Method, from, to int) {
		for k := from; k <= to; k++ {
			m.Observe(&Counts{
				At: at(float64(k)), Held: 100 + 2*k, Ceiling: 1000,
				Opened: uint64(k), Closed: uint64(k), Lived: 10 * float64(k),
			})
		}
	}
	tests := []struct {
		name string
		m    Method
		// want is the expected mean a minute and five minutes ahead, after 600 s.
		want [2]float64
	}{
		{"utilisation persists", &utilisation{}, [2]float64{1300, 1300}},
		{"a line goes on", &linear{window: 5 * time.Minute}, [2]float64{1420, 1900}},
		{"so does double smoothing", &holt{every: time.Second, level: 0.3, trend: 0.1, damping: 1}, [2]float64{1420, 1900}},
		{"one open a second times 10 + 240 s", &little{window: time.Minute, coolDown: 240 * time.Second}, [2]float64{250, 250}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			observe(tt.m, 0, 600)
			var p Prediction
			tt.m.Predict(&p)
			got := [2]float64{p.Mean[0], p.Mean[1]}
			if diff := cmp.Diff(tt.want, got, approx); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tt.want[0]/1000, p.Score[0], approx); diff != "" {
				t.Errorf("score (-want +got)\n%s", diff)
			}
		})
	}
	t.Run("damped", func(t *testing.T) {
		t.Parallel()
		// From two samples, 0 and 10: the level is 10 and the trend 10 a second; with a damping of
		// one half the next steps add 5, 2.5, ... to 10 in all.
		m := &holt{every: time.Second, level: 1, trend: 1, damping: 0.5}
		m.Observe(&Counts{At: at(0), Ceiling: 1})
		m.Observe(&Counts{At: at(1), Held: 10, Ceiling: 1})
		var p Prediction
		m.Predict(&p)
		if diff := cmp.Diff(20.0, p.Mean[3], approx); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("a window forgets", func(t *testing.T) {
		t.Parallel()
		m := &linear{window: 5 * time.Minute}
		for k := range 1200 {
			// Steep for ten minutes, then flat for ten.
			m.Observe(&Counts{At: at(float64(k)), Held: min(600, k), Ceiling: 1000})
		}
		var p Prediction
		m.Predict(&p)
		if diff := cmp.Diff(600.0, p.Mean[3], approx); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestLeastSquares(t *testing.T) {
	t.Parallel()
	// Points (-2, 1), (-1, 3), (0, 2): slope 1/2, mean 2 at -1, so 2.5 at 0.
	level, slope := leastSquares([]sample{{at(8), 1}, {at(9), 3}, {at(10), 2}}, at(10))
	if diff := cmp.Diff([]float64{2.5, 0.5}, []float64{level, slope}, approx); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if level, slope := leastSquares([]sample{{at(8), 7}}, at(10)); level != 7 || slope != 0 {
		t.Errorf("one sample: %v, %v, want 7, 0", level, slope)
	}
}

func TestChoosePorts(t *testing.T) {
	t.Parallel()
	// Eight peaks, of 11 to 18 ports, far enough apart: six of them reach 13.
	held := repeat(10, 1)
	for i := range int32(8) {
		held = append(append(held, 11+i), repeat(100, 1)...)
	}
	tests := []struct {
		name            string
		held            []int32
		from            int
		ports, episodes int
	}{
		{"six peaks", held, 0, 13, 6},
		{"too few after the warm-up", held, 200, 13, 6},
		{"three peaks only", held, 420, 16, 3},
		{"too small", repeat(50, 4), 0, 0, 0},
		{"nothing", nil, 10, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ports, episodes := choosePorts(tt.held, time.Second, tt.from)
			if ports != tt.ports || episodes != tt.episodes {
				t.Errorf("%d ports, %d episodes, want %d, %d", ports, episodes, tt.ports, tt.episodes)
			}
		})
	}
}

// destination is the inverse of address.
func destination(a netip.Addr) int32 {
	b := a.As4()
	return int32(binary.BigEndian.Uint32(b[:]) - 20<<24)
}
