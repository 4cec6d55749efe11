package limits

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A Reader sees what changed since it opened its files, in its namespace and from another one.
func TestKernelReader(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	// Without a rule that needs conntrack a kernel need not have it loaded.
	kerneltest.Command(t, ns, "nft", "table ip t { chain c { type filter hook input priority 0; ct state new accept; }; }")
	set := func(name, value string) {
		t.Helper()
		if err := ns.Do(func() error { return os.WriteFile(root+"/"+name, []byte(value), 0) }); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(ns)
	defer r.Close()
	for _, want := range []collector.Limits{
		{Events: 1, Timeouts: map[string]time.Duration{"udp_timeout": 7 * time.Second}},
		{Events: 0, Timeouts: map[string]time.Duration{"udp_timeout": 9 * time.Second}},
	} {
		want.LocalPorts = collector.PortRange{First: 20000, Last: 20000 + uint16(want.Timeouts["udp_timeout"]/time.Second)}
		set(fileLocalPorts, fmt.Sprintf("%d %d", want.LocalPorts.First, want.LocalPorts.Last))
		set(fileEvents, fmt.Sprint(want.Events))
		set(dirConntrack+"/nf_conntrack_udp_timeout", fmt.Sprint(int(want.Timeouts["udp_timeout"].Seconds())))
		got, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := Of(ns)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fresh, got); diff != "" {
			t.Errorf("unlike a first look (-first +again):\n%s", diff)
		}
		if got.LocalPorts != want.LocalPorts || got.Timeouts["udp_timeout"] != want.Timeouts["udp_timeout"] {
			t.Errorf("got ports %v, timeouts %v, want %v", got.LocalPorts, got.Timeouts, want)
		}
		if events := r.Events(); events != want.Events {
			t.Errorf("events %d, want %d", events, want.Events)
		}
	}
}

// The kernel cuts a list of ports where a read ends, and says nothing.
func TestKernelReadsALongList(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	const ports = 2000
	var list []string
	for i := range ports {
		list = append(list, fmt.Sprint(10000+2*i))
	}
	err := ns.Do(func() error {
		return os.WriteFile(root+"/"+fileReserved, []byte(strings.Join(list, ",")+"\n"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Of(ns)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Reserved) != ports || l.Reserved[ports-1].Last != 10000+2*(ports-1) {
		t.Errorf("%d reserved ports, want %d", len(l.Reserved), ports)
	}
}
