package agent

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A budget of translated flows is left out as long as there is no rule and no flow opens under it.
func TestUnruled(t *testing.T) {
	t.Parallel()
	var u unruled
	for _, step := range []struct {
		name   string
		none   bool
		opened uint64
		want   []string
	}{
		{"there are rules", false, 5, nil},
		{"they went", true, 7, []string{"masquerade"}},
		{"old flows stand", true, 7, []string{"masquerade"}},
		{"something else translates", true, 8, nil},
		{"and goes on", true, 8, nil},
		{"rules came", false, 8, nil},
		{"they went again", true, 9, []string{"masquerade"}},
	} {
		got := u.look(&detector.Snapshot{Budgets: []detector.BudgetSnapshot{
			{
				Budget:    &budget.Budget{Name: "masquerade", Translated: true},
				Protocols: []detector.AccountSnapshot{{Opened: step.opened - 1}, {Opened: 1}},
			},
			{Budget: &budget.Budget{Name: "cloud"}},
			{Budget: &budget.Budget{Name: "pods", Translated: true, Netns: 7}},
		}}, step.none)
		want := map[string]bool{}
		for _, name := range step.want {
			want[name] = true
		}
		if !maps.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s: %v, want %v", step.name, got, want)
		}
	}
}

// The remedy that is named is not there already: rights are not asked for where the agent has them.
func TestRemedyIsNotThereAlready(t *testing.T) {
	t.Parallel()
	all := netns.Capabilities(0).With(netns.NetAdmin)
	for _, tt := range []struct {
		name      string
		e         evidence
		grant, is string
	}{
		{"rights missing", evidence{limits: collector.Limits{EntriesMax: 1}}, "setcap", "setcap"},
		{"/proc with subset=pid, rights missing", evidence{hidden: true}, "setcap", "setcap"},
		{"gVisor, or another user namespace", evidence{limits: collector.Limits{EntriesMax: 1}, caps: all, rules: 1, broken: "no"}, "", "outside the sandbox"},
	} {
		c, err := choose(config.SourceAuto, tt.e)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{c.notice, c.unseen} {
			if strings.Contains(text, "setcap") != (tt.grant != "") || !strings.Contains(text, tt.is) {
				t.Errorf("%s: %s", tt.name, text)
			}
		}
	}
	// /proc/sys is hidden and the rights are there: netlink answers, whatever /proc shows.
	c, err := choose(config.SourceAuto, evidence{hidden: true, caps: all})
	if err != nil || c.source != config.SourceConntrack || c.unseen != "" {
		t.Errorf("got %+v, %v", c, err)
	}
}

// Alone in a pod's namespace nothing is translated: a budget of what the node translates is absent and not 0.
func TestKernelBudgetWithoutRulesIsAbsent(t *testing.T) {
	ns := newNamespace(t)
	const text = "cloud_metadata: false\nbudgets: [{name: nat, model: linux, vips: [192.0.2.1], port_range: 1024-2047}, " +
		"{name: far, model: azure-lb, nodes: 10}]\n"
	a, _ := newQuietAgent(t, text+"netns: "+ns.path+"\n", cloud.Client{})
	look := func() (budgets []string, exact bool, notices string) {
		t.Helper()
		if err := a.setup.lookAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := a.loop.snapshot()
		s.Netns = []detector.NetnsSnapshot{{Netns: ns.Inode(), Exact: true}}
		a.publisher.publish(s)
		shown := a.publisher.state.Load()
		for _, b := range shown.View.Snapshot.Budgets {
			budgets = append(budgets, b.Budget.Name)
		}
		slices.Sort(budgets)
		return budgets, shown.View.Snapshot.Netns[0].Exact, strings.Join(shown.Notices, "\n")
	}
	budgets, exact, notices := look()
	if diff := cmp.Diff([]string{"far"}, budgets); diff != "" || exact || !strings.Contains(notices, "budget nat counts flows") {
		t.Errorf("no rule: exact %v, budgets (-want +got)\n%s\n%s", exact, diff, notices)
	}
	ns.nft(t, "table ip n { chain post { type nat hook postrouting priority 100; ip protocol tcp snat to 192.0.2.1:1024-2047; }; }")
	budgets, exact, notices = look()
	if diff := cmp.Diff([]string{"far", "nat"}, budgets); diff != "" || !exact || strings.Contains(notices, "left out") {
		t.Errorf("a rule: exact %v, budgets (-want +got)\n%s\n%s", exact, diff, notices)
	}
}

// When the last rule goes, packets of old flows leave untranslated and their entries stand for days: they hold no ports
// any more. A gateway has no sockets that would tell.
func TestKernelLastRuleFreesPorts(t *testing.T) {
	t.Parallel()
	const table = "table ip gateway { chain post { type nat hook postrouting priority 100; oifname s0 masquerade; }; }"
	client, middle, far := kerneltest.Gateway(t, table)
	ns := namespace{middle, fmt.Sprintf("/proc/self/fd/%d", middle.FD())}
	a := newSourcesAgentAt(t, ns.path,
		"budgets: [{name: far, model: linux, vips: [10.82.0.1], port_range: 1024-65535, destinations: {include: [10.0.0.0/8], exclude: []}}]\n")
	var server net.Listener
	if err := far.Do(func() (err error) { server, err = net.Listen("tcp4", "10.82.0.2:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	const flows = 5
	var open []net.Conn
	connect := func() {
		t.Helper()
		err := client.Do(func() error {
			c, err := net.Dial("tcp4", server.Addr().String())
			open = append(open, c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	wait := func(what string, ok func(s seen, shown int) bool) {
		t.Helper()
		for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
			if err := a.setup.lookAgain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if published := a.publisher.state.Load(); published != nil && ok(a.seen(), len(published.View.Snapshot.Budgets)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain: %s: %+v, notices %q", what, a.seen(), a.notices.list())
			}
		}
	}
	wait("conntrack is read", func(s seen, _ int) bool { return s.Source == "conntrack" && s.Exact })
	for range flows {
		connect()
	}
	wait("flows hold ports", func(s seen, _ int) bool { return s.Live == flows && s.Exact })
	ns.nft(t, "delete table ip gateway")
	wait("the budget is left out", func(s seen, shown int) bool { return shown == 0 && !s.Exact })
	if l, err := limits.Of(middle); err != nil || l.Entries < flows {
		t.Errorf("%d entries, %v: the kernel's own are gone too", l.Entries, err)
	}
	ns.nft(t, table)
	connect()
	wait("ports count again", func(s seen, shown int) bool { return shown == 1 && s.Live > 0 && s.Exact })
}

// namespace is one of a test's own, with the path that a config names it by.
type namespace struct {
	*netns.Handle
	path string
}

func newNamespace(t *testing.T) namespace {
	t.Helper()
	h := kerneltest.Netns(t)
	return namespace{h, fmt.Sprintf("/proc/self/fd/%d", h.FD())}
}

func (n namespace) nft(t *testing.T, rules string) {
	t.Helper()
	kerneltest.Command(t, n.Handle, kerneltest.Program(t, "nft", "nftables"), rules)
}
