package truth

import (
	"errors"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Rules that keep events of new flows back make the ledger inexact and the source poll: such flows may all open and end
// between two of the rare dumps beside events. A mask that lets the needed events pass changes nothing.
func TestKernelEventsMasked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mask   string // in nft's words, or the arguments of iptables
		hidden bool
	}{
		{"ct event set assured", true},
		{"ct event set destroy", true},
		{"ct event set new, destroy", false},
		{"-t raw -A OUTPUT -j CT --ctevents assured", true},
		{"-t raw -A OUTPUT -j CT --ctevents new,destroy", false},
		{"legacy -t raw -A OUTPUT -j CT --ctevents assured", true},
		{"legacy -t raw -A OUTPUT -j CT --ctevents new,destroy", false},
		// The event of a flow that a helper expects is related, not new.
		{"tcp dport 21 ct helper set \"ftp\"; ct event set new, destroy", true},
		{"tcp dport 21 ct helper set \"ftp\"; ct event set new, related, destroy", false},
		{"-t raw -A OUTPUT -p tcp --dport 21 -j CT --helper ftp --ctevents new,destroy", true},
		{"legacy -t raw -A OUTPUT -p tcp --dport 21 -j CT --helper ftp --ctevents new,destroy", true},
		{"legacy -t raw -A OUTPUT -p tcp --dport 21 -j CT --helper ftp --ctevents new,related,destroy", false},
	} {
		t.Run(tt.mask, func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			w := newWatch(t, ns, conntrack.Events, provider(t))
			s := serve(t, ns, "127.0.0.2:0")
			w.settled()
			w.settled() // the first dump may be of before the listener
			if n := w.madeInexact(); n != 0 {
				t.Fatalf("inexact %d times before", n)
			}
			if args, legacy := strings.CutPrefix(tt.mask, "legacy "); legacy {
				kerneltest.Command(t, ns, kerneltest.Program(t, "iptables-legacy", "iptables"), strings.Fields(args)...)
			} else if strings.HasPrefix(tt.mask, "-") {
				kerneltest.Command(t, ns, kerneltest.Program(t, "iptables-nft", "iptables"), strings.Fields(tt.mask)...)
			} else {
				nft(t, ns, `table ip mask {
					ct helper ftp { type "ftp" protocol tcp; }
					chain out {
						type filter hook output priority 0;
						`+tt.mask+`
					}
				}`)
			}
			const n = 30
			if !tt.hidden {
				w.settled()
				w.settled()
				endAll(s.connect(ns, n), pair.reset)
				w.until("all flows to be counted", func() bool { return w.tcp().Opened == n })
				if st := w.source.Stats(); st.Strategy != conntrack.Events || w.madeInexact() != 0 {
					t.Errorf("%v, inexact %d times: %v", st.Strategy, w.madeInexact(), st.EventsError)
				}
				return
			}
			endAll(s.connect(ns, n), pair.reset)
			w.until("the source to poll", func() bool { return w.source.Stats().Strategy == conntrack.Poll })
			if st := w.source.Stats(); !errors.Is(st.EventsError, conntrack.ErrEventsMasked) || w.madeInexact() == 0 {
				t.Errorf("inexact %d times: %v", w.madeInexact(), st.EventsError)
			}
			w.until("the ledger to be exact again", func() bool { return w.settled().Netns[0].Exact })
			before := w.tcp().Opened
			pairs := s.connect(ns, n)
			endAll(pairs, pair.reset)
			w.until("all flows to be counted", func() bool { return w.tcp().Opened == before+n })
			if got := w.settled().Netns[0]; !got.Exact {
				t.Errorf("%+v", got)
			}
		})
	}
}
