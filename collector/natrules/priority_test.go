package natrules_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	timo "github.com/ti-mo/conntrack"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// translated returns the address that the NAT of ns gives to a datagram sent there.
func translated(t *testing.T, ns *netns.Handle) (vip netip.Addr) {
	t.Helper()
	err := ns.Do(func() error {
		c, err := net.Dial("udp", "192.0.2.2:9000")
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("x"))
		return errors.Join(err, c.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := timo.Dial(&netlink.Config{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	flows, err := c.Dump(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		if f.TupleOrig.Proto.DestinationPort == 9000 {
			return f.TupleReply.IP.DestinationAddress
		}
	}
	t.Fatal("the datagram left no entry")
	return vip
}

// Of chains of one priority the kernel runs first the one made last. Where the order in which it lists them tells which
// that is, its rule alone is read; where it does not, because a chain is younger than its table, both are, and it is said.
func TestKernelChainsOfEqualPriority(t *testing.T) {
	t.Parallel()
	chain := func(name, vip string) string {
		return "chain " + name + " {\n type nat hook postrouting priority 100\n udp dport 9000 snat to " + vip + "\n }\n"
	}
	const one, two = "198.51.100.1", "198.51.100.2"
	for _, tt := range []struct {
		name   string
		loads  []string // one after the other
		kernel string
		read   []string
	}{
		{"two tables", []string{"table ip a {" + chain("x", one) + "}", "table ip b {" + chain("x", two) + "}"}, two, []string{two}},
		{"two tables at once", []string{"table ip a {" + chain("x", one) + "}\ntable ip b {" + chain("x", two) + "}"}, two, []string{two}},
		{"two families", []string{"table inet a {" + strings.ReplaceAll(chain("x", one), "snat", "snat ip") + "}", "table ip b {" + chain("x", two) + "}"}, two, []string{two}},
		{"two chains of a table", []string{"table ip a {" + chain("x", one) + chain("y", two) + "}"}, two, []string{two}},
		{
			"the older table's chain is younger",
			[]string{
				"table ip a {\n chain pre {\n type nat hook prerouting priority -100\n udp dport 53 redirect\n }\n }",
				"table ip b {" + chain("x", two) + "}", "table ip a {" + chain("x", one) + "}",
			},
			one,
			[]string{one, two},
		},
		{
			"it has another priority then",
			[]string{
				"table ip a {\n chain pre {\n type nat hook prerouting priority -100\n udp dport 53 redirect\n }\n }",
				"table ip b {" + chain("x", two) + "}",
				"table ip a {" + strings.ReplaceAll(chain("x", one), "priority 100", "priority 99") + "}",
			},
			one,
			[]string{one},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.Netns(t)
			kerneltest.Uplink(t, ns, "up0", "192.0.2.1/24")
			for _, rules := range tt.loads {
				command(t, ns, rules, "nft", "-f", "-")
			}
			if got := translated(t, ns); got != netip.MustParseAddr(tt.kernel) {
				t.Errorf("the kernel gives %v, want %s", got, tt.kernel)
			}
			s := read(t, ns)
			var vips []string
			for _, r := range s.Rules {
				for _, a := range r.VIPs {
					vips = append(vips, a.String())
				}
			}
			slices.Sort(vips)
			if !slices.Equal(vips, tt.read) {
				t.Errorf("read %v, want %v", vips, tt.read)
			}
			said := strings.Contains(strings.Join(s.Remarks, "\n"), "table ip a, chain x: others have priority 100 too")
			if said != (len(tt.read) > 1) {
				t.Errorf("remarks %q", s.Remarks)
			}
		})
	}
}
