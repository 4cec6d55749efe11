package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// auditOwners recounts from the entries who holds which port.
func auditOwners(l *Ledger) error {
	if !l.spaces.holders.on {
		return nil
	}
	type who struct {
		place place
		owner collector.OwnerNumber
	}
	want := map[who]int{}
	for _, n := range l.namespaces.list {
		if n == nil {
			continue
		}
		l.flows.table.each(&n.flows, func(_ uint32, f *flow) {
			if f.place == 0 || f.place.folded() || f.flags&flagUncounted != 0 {
				return
			}
			if f.port != 0 && l.spaces.accountOf(f).terms.Unique != budget.PerEndpoint {
				return // the owner of a shared port is in ofPort
			}
			want[who{f.place, f.owner}]++
		})
	}
	for k := range l.spaces.ports {
		owner, ok := l.spaces.holders.ofPort[k]
		if !ok {
			return fmt.Errorf("port %x has no owner", k)
		}
		want[who{place(k >> 32), owner}]++
	}
	if a, b := len(l.spaces.holders.ofPort), len(l.spaces.ports); a != b {
		return fmt.Errorf("%d owners of %d shared ports", a, b)
	}
	for i := range l.spaces.list {
		sum := 0
		o := &l.spaces.holders.sets[i]
		for k, e := range o.list {
			if w := want[who{place(i), e.owner}]; w != int(e.held) {
				return fmt.Errorf("port space %d: owner %d holds %d, its flows say %d", i, e.owner, e.held, w)
			}
			if at := o.find(e.owner); at != &o.list[k] {
				return fmt.Errorf("port space %d: owner %d is found elsewhere", i, e.owner)
			}
			sum += int(e.held)
		}
		if l.spaces.list[i].used && sum != l.spaces.list[i].held() {
			return fmt.Errorf("port space %d: owners hold %d of %d", i, sum, l.spaces.list[i].held())
		}
	}
	return nil
}

// ownersAddUp checks that the owners of each port space hold exactly its ports.
func ownersAddUp(s *detector.Snapshot) error {
	for _, b := range s.Budgets {
		for _, p := range b.Protocols {
			for _, sp := range p.Spaces {
				sum := 0
				for _, o := range sp.Owners {
					sum += o.Held
				}
				if sum != sp.Held {
					return fmt.Errorf("%s %s: owners hold %d of %d", b.Budget.Name, sp.Destination, sum, sp.Held)
				}
			}
		}
	}
	return nil
}

// owned is a ledger that counts owners.
func owned(t *testing.T, b *budget.Budget, most int) *script {
	t.Helper()
	return &script{New(Config{Budgets: []*budget.Budget{b}, Start: at(0), Owners: true, OwnersMax: most}), t}
}

// ownedFlow is flow n towards the store; owner holds it.
func (s *script) owned(kind collector.Kind, now float64, n int, owner collector.OwnerNumber, change func(*collector.Flow)) {
	f := flowTo(n, store)
	f.Owner, f.Opened, f.Active = owner, exactly(now), at(now)
	if change != nil {
		change(&f)
	}
	s.Apply(&collector.Event{Kind: kind, At: at(now), Netns: 1, Flow: f})
}

func (s *script) holders(now float64) map[collector.OwnerNumber]int {
	s.t.Helper()
	snap := s.Snapshot(at(now))
	if err := ownersAddUp(snap); err != nil {
		s.t.Error(err)
	}
	if err := audit(s.Ledger); err != nil {
		s.t.Error(err)
	}
	out := map[collector.OwnerNumber]int{}
	for _, sp := range snap.Budgets[0].Protocols[0].Spaces {
		for _, o := range sp.Owners {
			out[o.Number] += o.Held
		}
	}
	return out
}

// A closed flow keeps the owner that it had while it was open, until its port is free. One that was never seen open is
// unknown's.
func TestOwnerOfAClosedFlow(t *testing.T) {
	t.Parallel()
	s := owned(t, azure(), 20)
	done := func(f *collector.Flow) {
		f.State, f.Reason, f.Ended, f.Owner = collector.Done, collector.FIN, f.Opened, collector.OwnerUnknown
	}
	s.owned(collector.Opened, 1, 1, 5, nil)
	s.owned(collector.Opened, 1, 2, 6, func(f *collector.Flow) { f.Active = at(86_400) })
	s.owned(collector.Closed, 2, 1, 0, done)
	s.owned(collector.Seen, 3, 3, 0, done)
	if diff := cmp.Diff(map[collector.OwnerNumber]int{5: 1, 6: 1, 0: 1}, s.holders(100)); diff != "" {
		t.Errorf("while the port cools down (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[collector.OwnerNumber]int{5: 0, 6: 1, 0: 0}, s.holders(244)); diff != "" {
		t.Errorf("later (-want +got):\n%s", diff)
	}
}

// A flow whose owner is learned late moves to it; an owner that is known for sure stays.
func TestOwnerIsLearned(t *testing.T) {
	t.Parallel()
	client := collector.FirstClient + 3
	for _, tt := range []struct {
		name        string
		first, next collector.OwnerNumber
		want        collector.OwnerNumber
		opened      uint64
	}{
		{"unknown at first", collector.OwnerUnknown, 7, 7, 1},
		{"a client at first", client, 7, 7, 1},
		{"unknown later", 7, collector.OwnerUnknown, 7, 1},
		{"a client later", 7, client, 7, 1},
		{"another owner of the address", 7, 8, 7, 1},
		{"another client", client, client + 1, client, 1},
		{"other", collector.OwnerOther, 7, collector.OwnerOther, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := owned(t, azure(), 20)
			s.owned(collector.Opened, 1, 1, tt.first, nil)
			s.Apply(&collector.Event{Kind: collector.Begin, At: at(2), Netns: 1})
			s.owned(collector.Seen, 2, 1, tt.next, func(f *collector.Flow) { f.Opened = exactly(1) })
			s.Apply(&collector.Event{Kind: collector.End, At: at(3), Netns: 1})
			got := s.holders(4)
			if got[tt.want] != 1 {
				t.Errorf("%v hold ports, want %d", got, tt.want)
			}
			for _, o := range s.Snapshot(at(4)).Budgets[0].Protocols[0].Owners {
				if o.Number == tt.want && o.Opened != tt.opened {
					t.Errorf("opened %d, want %d", o.Opened, tt.opened)
				}
			}
		})
	}
}

// Flows that share a port under a looser rule hold one port, which is the first one's.
func TestOwnerOfASharedPort(t *testing.T) {
	t.Parallel()
	b := azure()
	b.TCP.Unique = budget.PerAddress
	s := owned(t, b, 20)
	other := func(f *collector.Flow) {
		f.Destination = flowTo(1, "203.0.113.7:444").Destination
		f.VIP, f.Source = flowTo(1, store).VIP, flowTo(1, store).Source
		f.Translated = true
	}
	s.owned(collector.Opened, 1, 1, 5, func(f *collector.Flow) { f.Translated = true })
	s.owned(collector.Opened, 1, 2, 6, other)
	if diff := cmp.Diff(map[collector.OwnerNumber]int{5: 1}, s.holders(2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Only the largest are named; the rest is summed, and one that was named keeps its place for some minutes.
func TestOwnersKeepTheirPlace(t *testing.T) {
	t.Parallel()
	b := azure()
	b.TCP.Ports = 60_000
	s := owned(t, b, 4)
	n := 0
	open := func(now float64, owner collector.OwnerNumber, count int) {
		for range count {
			n++
			s.owned(collector.Opened, now, n, owner, func(f *collector.Flow) { f.Active = at(86_400) })
		}
	}
	for i := range collector.OwnerNumber(40) { // more than a search in turn takes
		open(1, 10+i, int(40-i))
	}
	named := func(now float64) (out []collector.OwnerNumber) {
		s.holders(now)
		for _, o := range s.Snapshot(at(now)).Budgets[0].Protocols[0].Spaces[0].Owners {
			out = append(out, o.Number)
		}
		return out
	}
	if diff := cmp.Diff([]collector.OwnerNumber{10, 11, 12, 13, collector.OwnerOther}, named(2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	open(3, 49, 100)
	open(3, 48, 90)
	if diff := cmp.Diff([]collector.OwnerNumber{49, 48, 10, 11, collector.OwnerOther}, named(4)); diff != "" {
		t.Errorf("two more (-want +got):\n%s", diff)
	}
	open(5, 47, 39) // more than 11 and not among the two largest
	if got := named(6); !slices.Contains(got, 11) {
		t.Errorf("%v: 11 lost its place at once", got)
	}
	if got := named(400); slices.Contains(got, 11) || !slices.Contains(got, 47) {
		t.Errorf("%v: 11 kept its place", got)
	}
}

// What owners opened and how long their flows lived are known by owner; a number that another owner gets starts anew.
func TestOwnerTotals(t *testing.T) {
	t.Parallel()
	s := owned(t, azure(), 20)
	for n := range 10 {
		owner := collector.OwnerNumber(5 + n%2)
		s.owned(collector.Opened, 1, n, owner, nil)
		s.owned(collector.Closed, float64(2+n%2), n, 0, func(f *collector.Flow) {
			f.State, f.Reason, f.Ended, f.Opened = collector.Done, collector.RST, f.Opened, exactly(1)
		})
	}
	want := []detector.OwnerTotals{{Number: 5, Opened: 5, MeanLifetime: time.Second}, {Number: 6, Opened: 5, MeanLifetime: 2 * time.Second}}
	if diff := cmp.Diff(want, s.Snapshot(at(4)).Budgets[0].Protocols[0].Owners); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var used [1 << 16]bool
	s.MarkOwners(&used)
	if !used[5] || used[7] {
		t.Error("not the numbers that flows have")
	}
	s.Snapshot(at(1000)) // the places are lost, and so are the entries
	used = [1 << 16]bool{}
	s.MarkOwners(&used)
	s.ForgetOwner(5)
	if used[5] || s.spaces.accounts[0].owners[5] != (ownerTotal{}) || s.spaces.accounts[0].owners[6].count != 5 {
		t.Error("the owner of old goes on under its number")
	}
}

// A pod's container may be learned later than the pod: the port moves to the container, and what was opened and how
// long it lived stay the pod's.
func TestOwnerIsAPart(t *testing.T) {
	t.Parallel()
	const whole, api, mesh, stranger = 5, 6, 7, 8
	parts := func(n collector.OwnerNumber) collector.OwnerNumber {
		if n == api || n == mesh {
			return whole
		}
		return n
	}
	s := &script{New(Config{Budgets: []*budget.Budget{azure()}, Start: at(0), Owners: true, Whole: parts}), t}
	s.owned(collector.Opened, 1, 1, whole, nil)
	s.owned(collector.Opened, 1, 2, whole, nil)
	s.owned(collector.Opened, 1, 3, mesh, nil)
	s.owned(collector.Opened, 1, 4, whole, nil)
	s.Apply(&collector.Event{Kind: collector.Begin, At: at(2), Netns: 1})
	for n, owner := range map[int]collector.OwnerNumber{1: api, 2: stranger, 3: api, 4: whole} {
		s.owned(collector.Seen, 2, n, owner, func(f *collector.Flow) { f.Opened = exactly(1) })
	}
	s.Apply(&collector.Event{Kind: collector.End, At: at(3), Netns: 1})
	if diff := cmp.Diff(map[collector.OwnerNumber]int{whole: 2, api: 1, mesh: 1}, s.holders(4)); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	s.owned(collector.Closed, 5, 1, 0, func(f *collector.Flow) {
		f.State, f.Reason, f.Ended, f.Opened = collector.Done, collector.FIN, f.Opened, exactly(1)
	})
	want := []detector.OwnerTotals{{Number: whole, Opened: 4, MeanLifetime: 4 * time.Second}}
	if diff := cmp.Diff(want, s.Snapshot(at(6)).Budgets[0].Protocols[0].Owners); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
	var used [1 << 16]bool
	s.MarkOwners(&used)
	if !used[whole] || used[stranger] {
		t.Error("the number of the pod may be given to another")
	}
}
