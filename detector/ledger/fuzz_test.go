package ledger

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// fuzzBudgets have every rule switched on: shared ports, a space for each VIP, half-open
// and idle clocks, exclusion.
func fuzzBudgets() []*budget.Budget {
	a := azure()
	a.Exclude = []netip.Prefix{netip.MustParsePrefix("203.0.113.4/30")}
	a.TCP.HalfOpen = 20 * time.Second
	a.TCP.Ports, a.TCP.Effective = 4, 3
	b := plain()
	b.SpacePerVIP, b.Translated = true, true
	b.UDP.Unique = budget.PerNothing
	b.UDP.CoolDown[collector.Idle] = 5 * time.Second
	return []*budget.Budget{a, b}
}

// fuzzEvent makes an event of four bytes: few flows, so that they meet.
func fuzzEvent(now collector.Time, b []byte) collector.Event {
	k := collector.Kind(b[0]&7) + 1
	if k > collector.Overrun {
		k = collector.Seen
	}
	f := flowTo(int(b[1]&7), fmt.Sprintf("203.0.113.%d:%d", 1+b[1]>>3&7, 53+b[1]>>6))
	f.Protocol = [...]collector.Protocol{collector.TCP, collector.UDP, collector.TCP, 1}[b[2]&3]
	f.State = collector.State(b[2] >> 2 & 7 % 5)
	f.Reason = collector.Reason(b[2] >> 5 % uint8(collector.NumReasons))
	f.ID = uint32(b[3] & 3)
	f.Translated = b[3]&4 != 0
	f.Netns = 1 + uint64(b[3]>>3&1)
	if b[3]&16 != 0 {
		f.Inode = 5
	}
	f.Owner = [...]collector.OwnerNumber{collector.OwnerUnknown, 2, 3, collector.FirstClient}[b[3]>>5&3]
	// Times before and after now, exact, bounded and unknown, and some upside down.
	when := func(x byte) collector.Time { return now.Add(time.Duration(int(x)-100) * time.Second) }
	switch b[0] >> 3 & 3 {
	case 1:
		f.Opened, f.Ended = collector.Interval{From: when(b[1]), To: when(b[1])}, collector.Interval{From: when(b[2]), To: when(b[2])}
	case 2:
		f.Opened, f.Ended = collector.Interval{From: when(b[1]), To: when(b[2])}, collector.Interval{From: when(b[2]), To: when(b[1])}
	case 3:
		f.Opened.To = when(b[1])
	}
	if b[0]&32 != 0 {
		f.Active = when(b[3])
	}
	return collector.Event{Kind: k, At: now.Add(time.Duration(int(b[3])-128) * 10 * time.Millisecond), Netns: f.Netns, Flow: f}
}

// Whatever comes in whatever order, the parts add up, nothing is negative, and every port
// is released in the end.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 4, 1, 0, 0, 5, 1, 0x84, 0, 2, 1, 0, 0})
	f.Add([]byte{4, 9, 1, 5, 0x85, 9, 1, 5, 0, 0, 0, 0, 1, 9, 1, 6, 0xc5, 9, 1, 5, 7, 0, 0, 0})
	// The second event of an open is the first to tell of a packet.
	f.Add([]byte{4, 1, '8', 0, '$', 1, '0', '0', '2', '0', '0', '0'})
	f.Fuzz(func(t *testing.T, data []byte) {
		l := New(Config{Budgets: fuzzBudgets(), Start: at(0), TrackedMax: 3, ForecastMax: 2, ExportedMax: 2, Owners: true, OwnersMax: 2})
		now := at(1)
		check := func() {
			t.Helper()
			if err := audit(l); err != nil {
				t.Fatal(err)
			}
		}
		for n := 0; len(data) >= 4 && n < 400; n++ {
			e := fuzzEvent(now, data)
			now = now.Add(time.Duration(data[0]>>6) * time.Duration(1+data[1]) * 50 * time.Millisecond)
			l.Apply(&e)
			switch data[3] {
			case 0xff:
				b := fuzzBudgets()
				b[0].UDP.Unique = budget.Uniqueness(data[2] % 3)
				b[1].SpacePerVIP = data[2]&4 != 0
				if data[2]&8 != 0 {
					b[0], b[1] = b[1], b[0]
				}
				l.Reconfigure(b[:1+data[2]>>4&1])
			case 0xfe:
				l.ObserveStalls(now, []collector.Flow{e.Flow})
			}
			data = data[4:]
			if n%8 == 0 {
				check()
				if err := ownersAddUp(l.Snapshot(now)); err != nil {
					t.Fatal(err)
				}
			}
		}
		check()
		for netns := range uint64(2) {
			for range 2 {
				for _, k := range []collector.Kind{collector.Begin, collector.End} {
					l.Apply(&collector.Event{Kind: k, At: now, Netns: 1 + netns})
				}
			}
		}
		check()
		// A future end moves a release by as much; all are within minutes.
		for range 100 {
			now = now.Add(time.Minute)
			l.Advance(now)
		}
		check()
		for _, b := range l.Snapshot(now).Budgets {
			for _, p := range b.Protocols {
				if p.Held != 0 || p.Opening != 0 || p.Folded != 0 || p.Tracked != 0 {
					t.Errorf("%s %s: %+v left", b.Budget.Name, p.Protocol, p.Other)
				}
			}
		}
		if l.flows.table.count != 0 {
			t.Errorf("%d entries left", l.flows.table.count)
		}
	})
}
