package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// masquerade puts a rule in place in h, and takes it away with its table: then nothing needs conntrack any more.
func masquerade(t *testing.T, h *lab.Host, on bool) {
	t.Helper()
	conn, err := nftables.New(nftables.WithNetNSFd(h.FD()))
	if err != nil {
		t.Fatal(err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "firewall"}
	if on {
		conn.AddTable(table)
		chain := conn.AddChain(&nftables.Chain{
			Name: "post", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Masq{}}})
	} else {
		conn.DelTable(table)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// sourcesAgent is an agent in h that chooses its sources five times a second.
type sourcesAgent struct {
	*agent
	t *testing.T
}

func newSourcesAgent(t *testing.T, h *lab.Host, text string) *sourcesAgent {
	t.Helper()
	return newSourcesAgentAt(t, h.Path(), text)
}

func newSourcesAgentAt(t *testing.T, path, text string) *sourcesAgent {
	t.Helper()
	a, _ := newQuietAgent(t, "cloud_metadata: false\nnetns: "+path+"\n"+text, cloud.Client{})
	a.sensors.chooseEvery = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.sensors.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("sources ended: %v", err)
		}
	})
	return &sourcesAgent{a, t}
}

// eventually waits for up to a minute until what is seen is as wanted.
func (a *sourcesAgent) eventually(what string, ok func(seen) bool) {
	a.t.Helper()
	a.within(time.Minute, what, ok)
}

func (a *sourcesAgent) within(most time.Duration, what string, ok func(seen) bool) {
	a.t.Helper()
	for deadline := time.Now().Add(most); !ok(a.seen()); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("not within %v: %s: %+v, notices %q", most, what, a.seen(), a.notices.list())
		}
	}
}

func is(want seen) func(seen) bool { return func(got seen) bool { return got == want } }

// seen is what an agent shows of its outer namespace: its source, the flows of budget far and
// their ends, and which notices stand.
type seen struct {
	Source           string
	Live             int
	Opened, Closed   uint64
	Exact            bool
	Times, Untracked bool
}

func (a *sourcesAgent) seen() seen {
	var s seen
	st := a.publisher.state.Load()
	if st == nil {
		return s
	}
	for _, source := range st.View.Sources {
		if source.Netns == a.outer.Inode() {
			s.Source = source.Name
		}
	}
	for _, n := range st.View.Snapshot.Netns {
		s.Exact = s.Exact || n.Netns == a.outer.Inode() && n.Exact
	}
	for _, b := range st.View.Snapshot.Budgets {
		for _, p := range b.Protocols {
			if b.Budget.Name != "far" || p.Protocol != collector.TCP {
				continue
			}
			s.Live, s.Opened = p.Live, p.Opened
			for _, n := range p.Closed {
				s.Closed += n
			}
		}
	}
	for _, n := range st.Notices {
		s.Times = s.Times || strings.HasPrefix(n, "conntrack does not stamp its entries")
		s.Untracked = s.Untracked || strings.HasPrefix(n, "conntrack was asked for and does not track")
	}
	return s
}

// The last rule that needs conntrack goes, as when a firewall restarts: the kernel tracks no new flow from then on, and keeps the
// entries that it has for days.
func TestKernelSourcesAfterTheLastRule(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	for _, asked := range []bool{false, true} {
		t.Run(fmt.Sprintf("asked for %v", asked), func(t *testing.T) {
			t.Parallel()
			l, err := lab.New(t.Context(), lab.Topology{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			node, to := l.Node(0), l.Server(0).At(9000)
			server, err := l.Server(0).Hold(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Close() })
			text := fmt.Sprintf("budgets: [{name: far, model: azure-lb-2018, nodes: 10, netns: %s, destinations: {include: [%v/32], exclude: []}}]\n", node.Path(), to.Addr())
			if asked {
				text += "source: conntrack\n"
			}
			masquerade(t, node, true)
			a := newSourcesAgent(t, node, text)
			a.eventually("conntrack is read", is(seen{Source: "conntrack", Exact: true, Times: true}))
			open := func(n int) *lab.Flows {
				t.Helper()
				flows, err := node.OpenTCP(to, n)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(flows.Close)
				return flows
			}
			open(2)
			ending := open(5)
			a.eventually("its flows count", is(seen{Source: "conntrack", Live: 7, Opened: 7, Exact: true, Times: true}))
			masquerade(t, node, false)
			ending.Close()
			open(6) // fewer than there are entries, which have not seen the end of 5
			if asked {
				a.eventually("it is said", is(seen{Source: "conntrack", Live: 7, Opened: 7, Exact: true, Times: true, Untracked: true}))
				return
			}
			a.eventually("sockets are read, and no other flow has ended", func(s seen) bool {
				s.Opened = 0 // none but the 7, unless the looks came while others opened
				return s == seen{Source: "sockets", Live: 8, Closed: 5, Exact: true}
			})
			masquerade(t, node, true)
			a.eventually("conntrack again", func(s seen) bool { return s.Source == "conntrack" && s.Exact && s.Times })
		})
	}
}

// That conntrack does not work is said for as long as it holds, whatever else changes.
func TestKernelPlanKeepsWhatIsBroken(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.NetAdmin)
	const before = "cloud_metadata: false\nbudgets: [{name: web, model: azure-lb-2018, nodes: 40}"
	a, path := newQuietAgent(t, before+"]\n", cloud.Client{})
	for _, step := range []struct {
		text  string
		local bool
	}{
		{before + "]\n", false},
		{before + ", {name: own, model: local}]\n", true},
	} {
		write(t, path, step.text)
		if err := a.setup.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		p, err := a.sensors.selectSources(t.Context(), "no luck", false)
		if err != nil {
			t.Fatal(err)
		}
		if p.source != "sockets" || p.local != step.local || p.why != "conntrack does not work" || !strings.Contains(p.notice, "only sockets are seen: no luck") {
			t.Errorf("got %+v", p)
		}
	}
}
