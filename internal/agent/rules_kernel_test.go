package agent

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A firewall that is flushed for a moment takes no budget away, a second kind of rule renames none, and what became of the
// rules is counted.
func TestKernelAgentFollowsRules(t *testing.T) {
	ns := kerneltest.Netns(t)
	nft := kerneltest.Program(t, "nft", "nftables")
	set := func(rules string) {
		t.Helper()
		err := ns.Do(func() error {
			cmd := exec.Command(nft, "-f", "-")
			cmd.Stdin = strings.NewReader("flush ruleset\n" + rules)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	chain := func(rules string) string {
		return "table ip n {\n chain post {\n type nat hook postrouting priority 100\n" + rules + "\n }\n}\n"
	}
	const one, two = "ip saddr 10.0.0.0/8 snat to 198.51.100.1\n", "masquerade\n"
	const odd = "ip saddr 192.168.0.0/16 snat to 198.18.0.0-198.19.255.255\n"
	set(chain(one))
	a, _ := newQuietAgent(t, fmt.Sprintf("cloud_metadata: false\nnetns: /proc/self/fd/%d\n", ns.FD()), cloud.Client{})
	for _, step := range []struct {
		name, rules, budgets string
		counts               metrics.NATRules
	}{
		{"as it started", chain(one), "auto auto-local", metrics.NATRules{Read: 1}},
		{"flushed", "", "auto auto-local", metrics.NATRules{}},
		{"restored", chain(one), "auto auto-local", metrics.NATRules{Read: 1}},
		{"a second kind of rule", chain(odd + one + two + one), "auto auto-masquerade auto-local", metrics.NATRules{Read: 2, NotRead: 1, Shadowed: 1}},
		{"the first kind alone again", chain(one + one), "auto auto-masquerade auto-local", metrics.NATRules{Read: 1, Shadowed: 1}},
	} {
		set(step.rules)
		if err := a.setup.lookAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, b := range a.setup.current() {
			if names = append(names, b.Name); b.Name == "auto-local" && b.Local {
				continue
			}
			if b.Model != "linux" {
				t.Errorf("%s: budget %s is of model %s", step.name, b.Name, b.Model)
			}
		}
		if got := strings.Join(names, " "); got != step.budgets {
			t.Errorf("%s: budgets %s, want %s", step.name, got, step.budgets)
		}
		if diff := cmp.Diff(&step.counts, a.setup.seen.rules); diff != "" {
			t.Errorf("%s: rules counted (-want +got):\n%s", step.name, diff)
		}
	}
}

// When an interface gets another address, flows leave from it at once: the agent reads the machine again when it sees
// them, and counts every one.
func TestKernelAgentFollowsAddresses(t *testing.T) {
	client, middle, far := kerneltest.Gateway(t, `table ip n {
		chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }
	}`)
	a, _ := newQuietAgent(t, fmt.Sprintf("cloud_metadata: false\nnetns: /proc/self/fd/%d\n", middle.FD()), cloud.Client{})
	a.setup.lookEvery = time.Hour // flows alone make it look
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = a.setup.watch(ctx) })
	group.Go(func() { _ = a.sensors.run(ctx) })
	defer group.Wait()
	defer cancel()

	var l net.Listener
	if err := far.Do(func() (err error) { l, err = net.Listen("tcp4", "10.82.0.2:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	const n = 20
	connect := func(want string) {
		t.Helper()
		for range n {
			var c net.Conn
			if err := client.Do(func() (err error) { c, err = net.Dial("tcp4", l.Addr().String()); return err }); err != nil {
				t.Fatal(err)
			}
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c, accepted)
			if from := accepted.RemoteAddr().(*net.TCPAddr).IP.String(); from != want {
				t.Fatalf("a flow comes from %s, want %s", from, want)
			}
		}
	}
	until := func(what string, done func(nat *detector.AccountSnapshot) bool) {
		t.Helper()
		var last detector.AccountSnapshot
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			s := a.publisher.state.Load()
			if s == nil || !s.Ready {
				continue
			}
			for i := range s.View.Snapshot.Budgets {
				if b := &s.View.Snapshot.Budgets[i]; b.Budget.Name == "auto" {
					if last = b.Protocols[0]; done(&last) {
						return
					}
				}
			}
		}
		t.Fatalf("waited in vain for %s: %d live of %d opened", what, last.Live, last.Opened)
	}
	until("the first dump", func(*detector.AccountSnapshot) bool { return true })
	connect("10.82.0.1")
	until("the flows", func(p *detector.AccountSnapshot) bool { return p.Opened == n && p.Live == n })
	// Else the second address goes with the first.
	kerneltest.Command(t, middle, "sh", "-ec", `echo 1 >/proc/sys/net/ipv4/conf/s0/promote_secondaries
		ip address add 10.82.0.99/24 dev s0; ip address del 10.82.0.1/24 dev s0`)
	connect("10.82.0.99")
	until("the flows from the new address", func(p *detector.AccountSnapshot) bool { return p.Opened == 2*n && p.Live == n })
}
