package owner

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

const (
	outer = 4026531840
	inner = 4026532100
)

// tableOf returns a table of one view.
func tableOf(t testing.TB, v *View) *Table {
	t.Helper()
	h, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	w := New(Config{Outer: h})
	w.view.Store(v)
	w.wanted.Store(0)
	table := NewTable(w)
	table.outer = outer
	return table
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func flow(source string, change ...func(*collector.Flow)) collector.Flow {
	f := collector.Flow{
		Protocol: collector.TCP, State: collector.Established, Netns: outer,
		Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort("203.0.113.7:443"),
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

// owner attributes one flow and returns whose it is.
func (t *Table) owner(f collector.Flow, sockets bool) Identity {
	events := []collector.Event{{Kind: collector.Seen, Flow: f}}
	t.Attribute(events, sockets)
	return t.Identity(events[0].Flow.Owner)
}

func TestAttribute(t *testing.T) {
	t.Parallel()
	own, process := flow("192.0.2.1:5000"), Identity{Kind: collector.KindProcess, ID: "curl"}
	mixed := flow("10.0.0.9:4000")
	view := &View{
		Cgroups:   map[uint64]Identity{1: {Kind: collector.KindUnknown}, 77: unit("nginx.service"), 78: pod(uid, id1), 79: pod(uid, id2)},
		Addresses: map[netip.Addr]Identity{addr("10.0.0.5"): pod(uid, ""), addr("10.0.0.9"): {Kind: collector.KindUnknown}},
		Netns:     map[uint64]Identity{inner: container(id1)},
		Own:       map[netip.Addr]bool{addr("192.0.2.1"): true},
		Sockets:   map[flowKey]Identity{keyOf(&own): unit("nginx.service"), keyOf(&mixed): container(id2)},
		Inodes:    map[uint32]Identity{5: process},
	}
	unknown := Identity{Kind: collector.KindUnknown}
	socket := func(netns, cgroup uint64, inode uint32) collector.Flow {
		return flow("192.0.2.1:5000", func(f *collector.Flow) { f.Netns, f.Cgroup, f.Inode = netns, cgroup, inode })
	}
	for _, tt := range []struct {
		name    string
		flow    collector.Flow
		sockets bool
		want    Identity
		wanted  uint32
	}{
		{"a pod's address", flow("10.0.0.5:4000"), false, pod(uid, ""), 0},
		{"the machine's own socket", own, false, unit("nginx.service"), 0},
		{"the machine's own, and no socket of it", flow("192.0.2.1:5001"), false, unknown, wantSockets},
		{"the machine's own that has ended", flow("192.0.2.1:5001", func(f *collector.Flow) { f.State = collector.Done }), false, unknown, 0},
		{"a namespace with several owners", mixed, false, container(id2), 0},
		{"another of it", flow("10.0.0.9:4001"), false, unknown, wantSockets},
		{"another machine", flow("10.9.9.9:4000"), false, Identity{Kind: collector.KindClient, ID: "10.9.9.9"}, 0},
		{"another machine over IPv6", flow("[2001:db8::9]:4000"), false, Identity{Kind: collector.KindClient, ID: "2001:db8::9"}, 0},
		{"a unit's socket", socket(outer, 77, 4), true, unit("nginx.service"), 0},
		{"a socket of a pod's container", socket(outer, 78, 4), true, pod(uid, ""), 0},
		{"a socket of no unit", socket(outer, 1, 5), true, process, 0},
		{"a socket of no unit and no known process", socket(outer, 1, 6), true, unknown, wantInodes},
		{"a socket of a new cgroup", socket(outer, 99, 6), true, unknown, wantCgroups},
		{"a socket without a cgroup", socket(outer, 0, 0), true, unknown, wantCgroups},
		{"a TIME_WAIT", flow("192.0.2.1:5000", func(f *collector.Flow) { f.State = collector.Done }), true, unknown, 0},
		{"a container in the v1 trees alone", socket(inner, 1, 7), true, container(id1), 0},
		{"a unit within a container's namespace", socket(inner, 77, 7), true, container(id1), 0},
		{"a pod within a container's namespace", socket(inner, 79, 7), true, pod(uid, ""), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := tableOf(t, view)
			for range 2 { // the second time from what is remembered
				if diff := cmp.Diff(tt.want, table.owner(tt.flow, tt.sockets)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			if got := table.watcher.wanted.Load(); got != tt.wanted {
				t.Errorf("asks for %b, want %b", got, tt.wanted)
			}
		})
	}
}

// Nothing is guessed before the first look.
func TestAttributeBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	if got := tableOf(t, nil).owner(flow("10.9.9.9:4000"), false); got.Kind != collector.KindUnknown {
		t.Errorf("%+v", got)
	}
}

// More clients than there are numbers are one owner; numbers that no flow has are given anew.
func TestNumbers(t *testing.T) {
	t.Parallel()
	table := tableOf(t, &View{})
	client := func(i int) collector.Flow {
		return flow(fmt.Sprintf("10.%d.%d.%d:4000", i>>16, i>>8&255, i&255))
	}
	for i := range clientsMax {
		if got := table.owner(client(i), false); got.Kind != collector.KindClient {
			t.Fatalf("client %d: %+v", i, got)
		}
	}
	if got := table.owner(client(clientsMax), false); got.Kind != collector.KindOther || table.full != 1 {
		t.Errorf("a client beyond the last number: %+v, counted %d", got, table.full)
	}
	if !table.Crowded() {
		t.Error("nobody asks for numbers back")
	}
	forgotten := 0
	table.Free(func(n collector.OwnerNumber) bool { return n == collector.FirstClient+7 }, func(collector.OwnerNumber) { forgotten++ })
	if forgotten != clientsMax-1 || table.Crowded() {
		t.Errorf("%d numbers are free", forgotten)
	}
	if got := table.Identity(collector.FirstClient + 7); got.ID != "10.0.0.7" {
		t.Errorf("a number in use went to %+v", got)
	}
	if got := table.owner(client(clientsMax), false); got.ID != "10.0.128.0" {
		t.Errorf("the client without a number is %+v now", got)
	}
	if got := table.owner(client(7), false); got.ID != "10.0.0.7" {
		t.Errorf("client 7 is %+v now", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pods/payments_checkout-7d9f_"+uid+"/api/0.log", "")
	write("pods/kube-system_proxy-n1_"+staticUID+"/0.log", "")
	write("pods/lost+found/x", "")
	write("containers.json", `[{"id":"`+id1+`","names":["fetcher","alias"]},{"id":"nameless"}]`)
	write("docker/"+id2+"/config.v2.json", `{"State":{},"Name":"/web"}`)
	f := Files{PodLogs: filepath.Join(dir, "pods"), Podman: filepath.Join(dir, "containers.json"), Docker: filepath.Join(dir, "docker")}
	want := map[string]string{uid: "payments/checkout-7d9f", staticUID: "kube-system/proxy-n1", id1: "fetcher", id2: "web"}
	wanted := map[Identity]bool{pod(uid, ""): true, container(id1): true, container(id2): true}
	if diff := cmp.Diff(want, f.readNames(wanted)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	write("containers.json", "[{")
	none := Files{PodLogs: filepath.Join(dir, "none"), Podman: filepath.Join(dir, "containers.json"), Docker: filepath.Join(dir, "none")}
	if got := none.readNames(wanted); len(got) != 0 {
		t.Errorf("names of nowhere: %v", got)
	}
	view := &View{Names: want}
	for id, name := range map[Identity]string{
		pod(uid, ""): "payments/checkout-7d9f", container(id1): "fetcher", container("46d1a5cdb06babc0"): "46d1a5cdb06b", unit("a.service"): "a.service", {}: "unknown", {Kind: collector.KindOther}: "other",
	} {
		if got := view.Name(id); got.Name != name {
			t.Errorf("%+v is named %q, want %q", id, got.Name, name)
		}
	}
}
