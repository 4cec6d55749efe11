package truth

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/limits"
)

// Events that somebody switches off make the ledger inexact, for however short a time, until a dump has brought in what
// opened meanwhile; as long as they are off, the source polls.
func TestKernelEventsSwitchedOff(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{false, true} {
		name := "for good"
		if back {
			name = "and on again"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			const file = "netfilter/nf_conntrack_events"
			sysctl(t, ns, file, "1")
			w := newWatch(t, ns, conntrack.Events, provider(t))
			s := serve(t, ns, "127.0.0.2:0")
			const before, meanwhile, ended, after = 20, 30, 10, 10
			pairs := s.connect(ns, before)
			w.settled()
			w.settled() // the first dump may be of before the listener
			if n := w.madeInexact(); n != 0 {
				t.Errorf("the ledger was inexact %d times while events came", n)
			}
			sysctl(t, ns, file, "0")
			pairs = append(pairs, s.connect(ns, meanwhile)...)
			endAll(pairs[:ended], pair.close)
			if back {
				sysctl(t, ns, file, "1")
			}
			w.until("the ledger to be inexact", func() bool { return w.madeInexact() > 0 })
			if !back {
				w.until("the source to poll", func() bool { return w.source.Stats().Strategy == conntrack.Poll })
			}
			pairs = append(pairs, s.connect(ns, after)...)
			w.until("the ledger to be exact again", func() bool { return w.settled().Netns[0].Exact })
			p := w.tcp()
			if want := before + meanwhile + after; p.Opened != uint64(want) || p.Live != want-ended {
				t.Errorf("%d live of %d opened, want %d of %d", p.Live, p.Opened, want-ended, want)
			}
			endAll(pairs[ended:], pair.close)
		})
	}
}

// While a full table makes the kernel give up entries the ledger is inexact, and exact again once there is room.
func TestKernelEarlyDrop(t *testing.T) {
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			ns := translated(t)
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			sysctl(t, ns, "netfilter/nf_conntrack_udp_timeout", "3600") // filling takes minutes on a slow machine
			w := newWatch(t, ns, strategy, provider(t))
			l, err := limits.Of(ns)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, w, l.EntriesMax+l.EntriesMax/8)
			if s := w.settled(); s.Netns[0].Exact {
				t.Error("exact while the table was filled")
			}
			w.until("the reason", func() bool { return strings.Contains(w.source.Stats().Gap, "nf_conntrack_max") })
			w.flush()
			w.until("the ledger to be exact again", func() bool { return w.settled().Netns[0].Exact })
			w.until("the reason to go", func() bool { return w.source.Stats().Gap == "" })
		})
	}
}

// A dump that comes so late that the kernel may have forgotten a flow since the one before makes the ledger inexact, and
// exact again is what the next dump leaves; where events announce flows, and where the kernel remembers for longer, it
// stays exact.
func TestKernelLateDump(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, remembers string // seconds
		strategy        conntrack.Strategy
		late            bool
	}{
		{"poll", "1", conntrack.Poll, true},
		{"poll, remembered for longer", "600", conntrack.Poll, false},
		{"events", "1", conntrack.Events, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			sysctl(t, ns, "netfilter/nf_conntrack_tcp_timeout_close", tt.remembers)
			w := newWatch(t, ns, tt.strategy, provider(t))
			w.settled()
			w.settled() // the first dump may be of before the listener
			before := w.madeInexact()
			if before > 0 && !tt.late {
				t.Errorf("the ledger was inexact %d times", before)
			}
			w.mu.Lock() // who takes what a dump shows holds it up
			for from := w.now(); w.now().Sub(from) < 2*time.Second; {
				time.Sleep(100 * time.Millisecond)
			}
			w.mu.Unlock()
			if tt.late {
				w.until("the ledger to be inexact", func() bool { return w.madeInexact() > before })
				w.until("the ledger to be exact again", func() bool { return w.settled().Netns[0].Exact })
				return
			}
			w.settled()
			w.settled()
			if n := w.madeInexact(); n != 0 {
				t.Errorf("the ledger was inexact %d times", n)
			}
		})
	}
}

// fill sends as many datagrams that nobody answers, each of a flow of its own.
func fill(t testing.TB, w *watch, flows int) {
	t.Helper()
	const destinations = 1024
	for sent := 0; sent < flows; {
		var c *net.UDPConn
		if err := w.ns.Do(func() (err error) { c, err = net.ListenUDP("udp4", nil); return err }); err != nil {
			t.Fatal(err)
		}
		for i := range destinations {
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, 1, 1}), uint16(1000+i))
			_, _ = c.WriteToUDPAddrPort([]byte("x"), to) // one that is refused found no room
			sent++
		}
		_ = c.Close()
	}
}
