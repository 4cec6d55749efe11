package owner

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
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

func indexOf(sockets map[uint64]Identity) *index {
	x := newIndexer()
	for key, id := range sockets {
		x.add(key, id)
	}
	return x.done()
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
	mixed, second, stranger := flow("10.0.0.9:4000"), flow("10.0.0.6:4000"), flow("10.0.0.6:4002")
	view := &View{
		Cgroups: map[uint64]Identity{1: {Kind: collector.KindUnknown}, 77: unit("nginx.service"), 78: pod(uid, id1), 79: pod(uid, id2)},
		Addresses: map[netip.Addr]Identity{
			addr("10.0.0.5"): pod(uid, id1), addr("10.0.0.6"): pod(staticUID, ""), addr("10.0.0.9"): {Kind: collector.KindUnknown},
		},
		Several: map[netip.Addr]bool{addr("10.0.0.6"): true, addr("10.0.0.9"): true},
		Netns:   map[uint64]Identity{inner: container(id1)},
		Own:     map[netip.Addr]bool{addr("192.0.2.1"): true},
		Sockets: indexOf(map[uint64]Identity{keyOf(&own).bits(): unit("nginx.service")}),
		Inner:   indexOf(map[uint64]Identity{keyOf(&mixed).bits(): container(id2), keyOf(&second).bits(): pod(staticUID, id2), keyOf(&stranger).bits(): pod(uid, id1)}),
		Inodes:  indexOf(map[uint64]Identity{5: process}),
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
		{"the address of a pod with one container", flow("10.0.0.5:4000"), false, pod(uid, id1), 0},
		{"a container of a pod with several", second, false, pod(staticUID, id2), 0},
		{"a flow of such a pod whose socket is not known yet", flow("10.0.0.6:4001"), false, pod(staticUID, ""), wantInner},
		{"one that has ended", flow("10.0.0.6:4001", func(f *collector.Flow) { f.State = collector.Done }), false, pod(staticUID, ""), 0},
		{"the socket of another pod that had the address", stranger, false, pod(staticUID, ""), wantInner},
		{"the machine's own socket", own, false, unit("nginx.service"), 0},
		{"the machine's own, and no socket of it", flow("192.0.2.1:5001"), false, unknown, wantSockets},
		{"the machine's own that has ended", flow("192.0.2.1:5001", func(f *collector.Flow) { f.State = collector.Done }), false, unknown, 0},
		{"a namespace with several owners", mixed, false, container(id2), 0},
		{"another of it", flow("10.0.0.9:4001"), false, unknown, wantInner},
		{"another machine", flow("10.9.9.9:4000"), false, Identity{Kind: collector.KindClient, ID: "10.9.9.9"}, 0},
		{"another machine over IPv6", flow("[2001:db8::9]:4000"), false, Identity{Kind: collector.KindClient, ID: "2001:db8::9"}, 0},
		{"a unit's socket", socket(outer, 77, 4), true, unit("nginx.service"), 0},
		{"a socket of a pod's container", socket(outer, 78, 4), true, pod(uid, id1), 0},
		{"a socket of no unit", socket(outer, 1, 5), true, process, 0},
		{"a socket of no unit and no known process", socket(outer, 1, 6), true, unknown, wantInodes},
		{"a socket of a new cgroup", socket(outer, 99, 6), true, unknown, wantCgroups},
		{"a socket without a cgroup", socket(outer, 0, 0), true, unknown, wantCgroups},
		{"a TIME_WAIT", flow("192.0.2.1:5000", func(f *collector.Flow) { f.State = collector.Done }), true, unknown, 0},
		{"a container in the v1 trees alone", socket(inner, 1, 7), true, container(id1), 0},
		{"a unit within a container's namespace", socket(inner, 77, 7), true, container(id1), 0},
		{"a pod within a container's namespace", socket(inner, 79, 7), true, pod(uid, id2), 0},
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

// An address that comes after the first dump may be a new namespace's: it is a client's once a later look does not
// show it. Flows of such a namespace would else count twice, as a client's and as their owner's.
func TestAttributeOfAStranger(t *testing.T) {
	t.Parallel()
	empty := func(began collector.Time) *View { return &View{Began: began} }
	table := tableOf(t, empty(1))
	now := collector.Time(2)
	table.watcher.cfg.Now = func() collector.Time { return now }
	table.Attribute([]collector.Event{{Kind: collector.End}}, false)
	unknown, at := Identity{Kind: collector.KindUnknown}, addr("10.0.0.5")
	for range 2 {
		if got := table.owner(flow("10.0.0.5:4000"), false); got != unknown {
			t.Errorf("before a look: %+v, want nobody known", got)
		}
	}
	if got := table.watcher.wanted.Load(); got != wantSpaces {
		t.Errorf("asks for %b, want %b", got, wantSpaces)
	}
	if table.owner(flow("10.0.0.6:4000"), false); len(table.numbers) != 0 {
		t.Errorf("%v have numbers, want none", table.numbers)
	}
	now = 5
	table.watcher.view.Store(empty(2)) // the look that was under way
	if got := table.owner(flow("10.0.0.5:4000"), false); got != unknown {
		t.Errorf("after a look that began no later: %+v, want nobody known", got)
	}
	next := empty(4)
	next.Addresses = map[netip.Addr]Identity{at: pod(uid, id1)}
	table.watcher.view.Store(next)
	if got := table.owner(flow("10.0.0.5:4000"), false); got != pod(uid, id1) {
		t.Errorf("the new namespace: %+v", got)
	}
	for range 2 {
		if got := table.owner(flow("10.0.0.6:4000"), false); got.Kind != collector.KindClient {
			t.Errorf("the address that no look shows: %+v, want a client", got)
		}
	}
	if got := table.owner(flow("10.0.0.7:4000"), false); got != unknown {
		t.Errorf("another address: %+v, want nobody known", got)
	}

	// The namespace goes, conntrack still shows its closed flows, and the next one gets its address.
	table.watcher.view.Store(empty(6))
	table.watcher.wanted.Store(0)
	closed := flow("10.0.0.5:4000", func(f *collector.Flow) { f.State = collector.Done })
	if got := table.owner(closed, false); got != unknown || table.watcher.wanted.Load() != 0 {
		t.Errorf("a closed flow of a namespace that is gone: %+v, asks for %b", got, table.watcher.wanted.Load())
	}
	if got := table.owner(flow("10.0.0.5:4001"), false); got != unknown || table.watcher.wanted.Load() != wantSpaces {
		t.Errorf("a flow of the next: %+v, asks for %b", got, table.watcher.wanted.Load())
	}
}

// Addresses that wait for a look are bounded.
func TestAttributeOfManyStrangers(t *testing.T) {
	t.Parallel()
	table := tableOf(t, &View{Began: 1})
	table.watcher.cfg.Now = func() collector.Time { return 2 }
	table.Attribute([]collector.Event{{Kind: collector.End}}, false)
	client := func(i int) collector.Flow { return flow(fmt.Sprintf("10.0.%d.%d:4000", i>>8, i&255)) }
	for i := range strangersMax {
		table.owner(client(i), false)
	}
	if got := table.owner(client(strangersMax), false); got.Kind != collector.KindClient {
		t.Errorf("one more than may wait: %+v, want a client", got)
	}
	table.watcher.view.Store(&View{Began: 3})
	if got := table.owner(client(strangersMax+1), false); got.Kind != collector.KindUnknown || len(table.strangers) != 1 {
		t.Errorf("after a look: %+v, %d wait, want one", got, len(table.strangers))
	}
}

// Nothing is guessed before the first look.
func TestAttributeBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	if got := tableOf(t, nil).owner(flow("10.9.9.9:4000"), false); got.Kind != collector.KindUnknown {
		t.Errorf("%+v", got)
	}
}

// A container of a pod has a number of its own, and that of the pod as its whole.
func TestWhole(t *testing.T) {
	t.Parallel()
	table := tableOf(t, &View{})
	whole, first, second := table.number(pod(uid, "")), table.number(pod(uid, id1)), table.number(pod(uid, id2))
	client := table.number(Identity{Kind: collector.KindClient, ID: "10.0.0.7"})
	if first == second || table.Whole(first) != whole || table.Whole(second) != whole {
		t.Errorf("containers %d and %d are in pods %d and %d, want %d", first, second, table.Whole(first), table.Whole(second), whole)
	}
	for _, n := range []collector.OwnerNumber{whole, client, collector.OwnerUnknown, collector.OwnerOther} {
		if got := table.Whole(n); got != n {
			t.Errorf("owner %d is in %d", n, got)
		}
	}
	table.Free(func(n collector.OwnerNumber) bool { return n == second || n == whole }, func(collector.OwnerNumber) {})
	if n := table.number(unit("nginx.service")); n != first || table.Whole(n) != n {
		t.Errorf("owner %d got number %d of a container, and is in %d", n, first, table.Whole(n))
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

// Each socket is found by its key alone, whoever the others belong to; one that is in two places has one of its owners.
func TestIndex(t *testing.T) {
	t.Parallel()
	want := map[uint64]Identity{}
	for i := range uint64(100_000) {
		want[i*2_654_435_761%(1<<48)] = unit(fmt.Sprintf("%d.service", i%70_000))
	}
	x := indexOf(want)
	left := 0
	for key, id := range want {
		got, ok := x.find(key)
		if !ok {
			left++
		} else if got != id {
			t.Fatalf("key %x: %v, want %v", key, got, id)
		}
		if _, ok := x.find(key + 1); ok != (want[key+1] != Identity{}) && ok {
			t.Fatalf("key %x is found", key+1)
		}
	}
	if left > 100_000*5/70 { // of owners beyond the numbers that there are
		t.Errorf("%d of %d are not found", left, len(want))
	}
	if cap(x.entries) != len(x.entries) {
		t.Errorf("%d entries take the room of %d", len(x.entries), cap(x.entries))
	}
	if _, ok := (*index)(nil).find(0); ok {
		t.Error("a socket is found before there is an index")
	}
}

// Once the process that stood for an address is gone, another may have the address: a flow that opens then is nobody's
// until a look has told whose.
func TestAddressThatGoesToAnother(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var now collector.Time = 1e9
	a, first, second := addr("10.0.0.5"), pod(uid, id1), pod(staticUID, id2)
	key, ok := procReader{"/proc"}.netKey(cmd.Process.Pid)
	if !ok {
		t.Fatal("no netKey of a process that runs")
	}
	view := &View{Addresses: map[netip.Addr]Identity{a: first}, Stands: map[netip.Addr]Stand{a: {cmd.Process.Pid, key}}}
	table := tableOf(t, view)
	table.watcher.cfg.Now = func() collector.Time { return now }
	if got := table.owner(flow("10.0.0.5:4000"), false); got != first {
		t.Errorf("while its process runs it is %v, want %v", got, first)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(roundMax)
	if got := table.owner(flow("10.0.0.5:4001"), false); got.Kind != collector.KindUnknown {
		t.Errorf("after its process ended it is %v, want unknown", got)
	}
	if table.watcher.wanted.Load()&wantSpaces == 0 {
		t.Error("it does not ask for a look")
	}
	table.watcher.view.Store(&View{Addresses: map[netip.Addr]Identity{a: second}})
	if got := table.owner(flow("10.0.0.5:4001"), false); got != second {
		t.Errorf("after the look it is %v, want %v", got, second)
	}
}

// At the start a flow that has ended is nobody's where no flow of its address is open: the namespace that had it may be
// gone.
func TestEndedFlowAtTheStart(t *testing.T) {
	t.Parallel()
	table := tableOf(t, &View{})
	ended := func(f *collector.Flow) { f.State = collector.Done }
	client := Identity{Kind: collector.KindClient, ID: "10.9.9.9"}
	if got := table.owner(flow("10.9.9.9:4000", ended), false); got.Kind != collector.KindUnknown {
		t.Errorf("the first, which has ended: %v, want unknown", got)
	}
	for _, f := range []collector.Flow{flow("10.9.9.9:4001"), flow("10.9.9.9:4000", ended)} {
		if got := table.owner(f, false); got != client {
			t.Errorf("%v %v: %v, want %v", f.Source, f.State, got, client)
		}
	}
}
