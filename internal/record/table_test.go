package record

import (
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// base is when these tests begin.
const base = collector.Time(1_700_000_000_000_000_000)

func at(s float64) collector.Time { return base.Add(time.Duration(s * 1e9)) }

// flow is one from source port 4000 with id 7; change makes it another.
func flow(state collector.State, change ...func(*collector.Flow)) collector.Flow {
	f := collector.Flow{
		Protocol: collector.TCP, State: state, ID: 7, Netns: 1, Translated: true,
		Source: netip.MustParseAddrPort("10.0.0.5:4000"), Destination: netip.MustParseAddrPort("203.0.113.7:443"),
		VIP: netip.MustParseAddrPort("198.51.100.1:1024"),
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

func done(reason collector.Reason, from, to float64) func(*collector.Flow) {
	return func(f *collector.Flow) { f.Reason, f.Ended = reason, collector.Interval{From: at(from), To: at(to)} }
}

func opened(from, to float64) func(*collector.Flow) {
	return func(f *collector.Flow) { f.Opened = collector.Interval{From: at(from), To: at(to)} }
}

func udp(f *collector.Flow) { f.Protocol = collector.UDP }

// another is the next flow that gets the VIP's port.
func another(f *collector.Flow) {
	f.ID, f.Source = 8, netip.MustParseAddrPort("10.0.0.5:4001")
}

// script makes events.
type script struct{ events []collector.Event }

// dump shows flows, a tenth of a second after it began.
func (s *script) dump(t float64, flows ...collector.Flow) *script {
	s.events = append(s.events, collector.Event{Kind: collector.Begin, At: at(t), Netns: 1})
	for _, f := range flows {
		if f.Opened.To == 0 {
			f.Opened.To = at(t + 0.1)
		}
		s.events = append(s.events, collector.Event{Kind: collector.Seen, At: at(t + 0.1), Netns: 1, Flow: f})
	}
	return s.mark(collector.End, t+0.2)
}

func (s *script) mark(k collector.Kind, t float64, flow ...collector.Flow) *script {
	e := collector.Event{Kind: k, At: at(t), Netns: 1}
	for _, f := range flow {
		e.Flow = f
	}
	s.events = append(s.events, e)
	return s
}

// rows are what s leads to, column by column; a finish is at 100.
func (s *script) rows(t *testing.T) [][]string {
	t.Helper()
	w, err := openFiles(t.TempDir(), time.Hour, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.flushed = at(1000) // the text stays where it is
	table := newTable(w, nil)
	if err := table.take(context.Background(), s.events); err != nil {
		t.Fatal(err)
	}
	table.finish(at(100))
	r := csv.NewReader(&w.text)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// announced makes the last dump one that the kernel's events stand beside.
func (s *script) announced() *script {
	s.events[len(s.events)-1].Announced = true
	return s
}

// said returns the reason and the bounds of each row that s leads to, in seconds since base.
func (s *script) said(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, row := range s.rows(t) {
		var words []string
		for i, name := range columns() {
			switch name {
			case "reason":
				words = append(words, row[i])
			case "opened_from_s", "opened_to_s", "ended_from_s", "ended_to_s":
				words = append(words, since(t, row[i]))
			case "stalled":
				if row[i] == "1" {
					words = append(words, name)
				}
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

func since(t *testing.T, s string) string {
	t.Helper()
	if s == "" {
		return "?"
	}
	var seconds, micros int64
	if _, err := fmt.Sscanf(s, "%d.%06d", &seconds, &micros); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%.1f", float64(seconds-int64(base)/1e9)+float64(micros)/1e6)
}

func TestTable(t *testing.T) {
	t.Parallel()
	const opening, established, ended = collector.Opening, collector.Established, collector.Done
	tests := []struct {
		name string
		s    *script
		want []string
	}{
		{
			"there at the start, ended", (&script{}).
				dump(0, flow(established)).dump(5, flow(ended, done(collector.FIN, 2, 3))).dump(10),
			[]string{"fin ? 0.1 2.0 3.0"},
		},
		{
			"opened between dumps, live at the stop", (&script{}).
				dump(0).dump(5, flow(established)),
			[]string{"live 0.0 5.1 100.0 100.0"},
		},
		{
			"gone without a word", (&script{}).
				dump(0).dump(5, flow(established)).dump(10),
			[]string{"unknown 0.0 5.1 5.1 10.2"},
		},
		{
			"UDP that expired", (&script{}).
				dump(0).dump(5, flow(established, udp)).dump(10),
			[]string{"idle 0.0 5.1 5.1 10.2"},
		},
		{
			"never answered", (&script{}).
				dump(0).dump(5, flow(opening)).dump(15, flow(opening)).dump(20),
			[]string{"timeout 0.0 5.1 15.1 20.2 stalled"},
		},
		{
			"an aborted dump ends nothing", (&script{}).
				dump(0, flow(established)).mark(collector.Begin, 5).mark(collector.Abort, 5.1).
				dump(10, flow(ended, done(collector.RST, 7, 8))),
			[]string{"rst ? 0.1 7.0 8.0"},
		},
		{
			"the id comes round", (&script{}).
				dump(0, flow(ended, done(collector.FIN, -2, -1))).dump(5, flow(established)).dump(10, flow(established)),
			[]string{"fin ? -1.0 -2.0 -1.0", "live 0.0 5.1 100.0 100.0"},
		},
		{
			"the id comes round, both ended", (&script{}).
				dump(0, flow(ended, done(collector.FIN, -2, -1))).dump(5, flow(ended, done(collector.FIN, 3, 4))),
			[]string{"fin ? -1.0 -2.0 -1.0", "fin 0.0 4.0 3.0 4.0"},
		},
		{
			"a FIN sent again is no new flow", (&script{}).
				dump(0, flow(ended, done(collector.FIN, -2, -1))).dump(5, flow(ended, done(collector.FIN, -0.9, -0.5))),
			[]string{"fin ? -1.0 -2.0 -1.0"},
		},
		{
			"TCP does not go back", (&script{}).
				dump(0, flow(established)).dump(5, flow(opening)),
			[]string{"unknown ? 0.1 0.1 5.1", "live 0.1 5.1 100.0 100.0"},
		},
		{
			"another id takes the tuple", (&script{}).
				dump(0, flow(ended, done(collector.FIN, -2, -1))).
				dump(5, flow(established, func(f *collector.Flow) { f.ID = 8 })),
			[]string{"fin ? -1.0 -2.0 -1.0", "live 0.0 5.1 100.0 100.0"},
		},
		{
			"by events", (&script{}).dump(0).
				mark(collector.Opened, 1.1, flow(opening, opened(1, 1.1))).
				mark(collector.Closed, 3, flow(ended, opened(1, 1.1), done(collector.FIN, 2, 2.1))),
			[]string{"fin 1.0 1.1 2.0 2.1"},
		},
		{
			"an event during a dump that shows what it was before", (&script{}).
				dump(0, flow(established)).mark(collector.Begin, 5).
				mark(collector.Closed, 5.04, flow(established, done(collector.Evicted, 5, 5.04))).
				mark(collector.Seen, 5.1, flow(established)).mark(collector.End, 5.2).dump(10),
			[]string{"evicted ? 0.1 5.0 5.0"},
		},
		{
			"opened during a dump that does not show it", (&script{}).
				dump(0).mark(collector.Begin, 5).mark(collector.Opened, 5.1, flow(opening, opened(5, 5.1))).mark(collector.End, 5.2),
			[]string{"live 5.0 5.1 100.0 100.0"},
		},
		{
			"an event tells later than a dump that an ended flow is gone", (&script{}).dump(0).announced().
				mark(collector.Opened, 1.1, flow(opening, opened(1, 1))).
				dump(5, flow(ended, opened(1, 1), done(collector.FIN, 2, 3))).announced().dump(35).announced().
				mark(collector.Closed, 40, flow(ended, opened(1, 1), done(collector.FIN, 2, 3))).dump(65).announced(),
			[]string{"fin 1.0 1.0 2.0 3.0"},
		},
		{
			"an event tells later than a dump that a live flow is gone", (&script{}).dump(0).announced().
				dump(5, flow(established, udp)).announced().dump(35).announced().dump(65).announced().
				mark(collector.Closed, 70, flow(established, udp, done(collector.Idle, 30, 30))),
			[]string{"idle 0.0 5.1 5.1 35.2"},
		},
		{
			"another flow takes the tuple and the id before the event", (&script{}).dump(0).announced().
				dump(5, flow(ended, opened(1, 1), done(collector.FIN, 2, 3))).announced().dump(35).announced().
				mark(collector.Opened, 40, flow(opening, opened(40, 40))).
				mark(collector.Closed, 50, flow(ended, opened(40, 40), done(collector.RST, 49, 50))),
			[]string{"fin 1.0 1.0 2.0 3.0", "rst 40.0 40.0 49.0 50.0"},
		},
		{
			"the event never comes, and a dump shows another", (&script{}).dump(0).announced().
				dump(5, flow(established)).announced().dump(35).announced().dump(65, flow(established)).announced(),
			[]string{"unknown 0.0 5.1 5.1 35.2", "live 35.0 65.1 100.0 100.0"},
		},
		{
			"opened and closed unseen", (&script{}).
				dump(0).mark(collector.Closed, 3, flow(ended, opened(1, 1.1), done(collector.RST, 2, 2.1))).dump(5),
			[]string{"rst 1.0 1.1 2.0 2.1"},
		},
		{
			"its port went to another flow, whose stamp is known", (&script{}).
				dump(0).dump(5, flow(established, opened(1, 1))).dump(10, flow(established, opened(6, 6), another)),
			[]string{"unknown 1.0 1.0 5.1 6.0", "live 6.0 6.0 100.0 100.0"},
		},
		{
			"its port went to another flow, some time between the dumps", (&script{}).
				dump(0).dump(5, flow(established)).dump(10, flow(established, another)),
			[]string{"unknown 0.0 5.1 5.1 10.1", "live 5.1 10.1 100.0 100.0"},
		},
		{
			"its port is another's in another zone", (&script{}).
				dump(0).dump(5, flow(established, opened(1, 1))).
				dump(10, flow(established, opened(6, 6), another, func(f *collector.Flow) { f.Zone = 1 })),
			[]string{"unknown 1.0 1.0 5.1 10.2", "live 6.0 6.0 100.0 100.0"},
		},
		{
			"an overrun is noted", (&script{}).
				dump(0).mark(collector.Overrun, 1).dump(5, flow(established)),
			[]string{"live 0.0 5.1 100.0 100.0"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, tt.s.said(t)); diff != "" {
				t.Errorf("rows (-want +got)\n%s", diff)
			}
		})
	}
}

// What an event need not name any more is forgotten.
func TestTableForgets(t *testing.T) {
	t.Parallel()
	w, err := openFiles(t.TempDir(), time.Hour, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	table := newTable(w, nil)
	s := (&script{}).dump(0, flow(collector.Established), flow(collector.Done, done(collector.FIN, -2, -1), another)).announced()
	for after := 0.0; after < lateEvent.Seconds()+60; after += 30 {
		s.dump(30 + after).announced()
	}
	if err := table.take(context.Background(), s.events); err != nil {
		t.Fatal(err)
	}
	if len(table.index) != 0 || len(table.holders) != 0 || len(table.free) != 2 {
		t.Errorf("%d flows, %d ports, %d free places, want none, none, 2", len(table.index), len(table.holders), len(table.free))
	}
}

// An entry fits two lines of a cache, and a side of a flow comes back as it was.
func TestEntryIsSmall(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(entry{}); got > 128 {
		t.Errorf("an entry takes %d bytes, want at most 128", got)
	}
	for _, a := range []netip.AddrPort{
		{},
		netip.MustParseAddrPort("203.0.113.7:443"), netip.MustParseAddrPort("[2001:db8::7]:443"),
		netip.MustParseAddrPort("0.0.0.0:0"),
	} {
		s := sideOf(a)
		if got := s.address(); got != a {
			t.Errorf("%v comes back as %v", a, got)
		}
	}
}

// No port is held by two flows at a time, whatever of them the dumps showed: the rows of flows that had one port, one after the
// other, do not overlap.
func TestOnePortOneFlow(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	const ports, every = 20, 5.0
	type use struct {
		flow       collector.Flow
		from, to   float64
		stamp, fin bool
	}
	var uses []use
	for port := range ports {
		for now := random.Float64(); now < 90; {
			u := use{from: now, to: now + 8*random.ExpFloat64(), stamp: random.IntN(2) == 0, fin: random.IntN(3) == 0}
			u.flow = flow(collector.Established, func(f *collector.Flow) {
				f.ID = uint32(1 + len(uses))
				f.Source = netip.AddrPortFrom(f.Source.Addr(), uint16(1024+len(uses)))
				f.VIP = netip.AddrPortFrom(f.VIP.Addr(), uint16(1024+port))
			})
			uses = append(uses, u)
			now = u.to + []float64{0, 0.5 * random.ExpFloat64()}[random.IntN(2)]
		}
	}
	s := &script{}
	for now := 0.0; now < 100; now += every {
		var shown []collector.Flow
		next := map[netip.AddrPort]bool{} // ports that have gone on to another flow
		for _, u := range slices.Backward(uses) {
			f, seen := u.flow, now+0.1
			if u.from > seen {
				continue
			}
			gone := next[f.VIP] || !u.fin || u.to < now-60
			next[f.VIP] = true
			switch {
			case u.to <= seen && gone:
				continue
			case u.to <= seen: // in TIME_WAIT: to a second
				f.State = collector.Done
				done(collector.FIN, u.to-0.6, u.to+0.4)(&f)
				f.Ended.To = min(f.Ended.To, at(seen))
			}
			if u.stamp {
				f.Opened = collector.Interval{From: at(u.from), To: at(u.from)}
			}
			shown = append(shown, f)
		}
		random.Shuffle(len(shown), func(i, j int) { shown[i], shown[j] = shown[j], shown[i] })
		s.dump(now, shown...)
	}
	spans := map[string][][2]string{} // by port: start and end, which are of one length
	port := slices.Index(columns(), "vip_port")
	for _, row := range s.rows(t) {
		spans[row[port]] = append(spans[row[port]], [2]string{row[0], row[1]})
	}
	for port, all := range spans {
		slices.SortFunc(all, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
		for i := 1; i < len(all); i++ {
			if all[i][0] < all[i-1][1] {
				t.Errorf("port %s is held over %v and over %v", port, all[i-1], all[i])
			}
		}
	}
	if len(spans) != ports {
		t.Errorf("%d ports were held, want %d", len(spans), ports)
	}
}
