package ledger

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// waiting lists the timers of w, by slot.
func waiting(w *wheel) (all []timer) {
	for _, list := range w.slots {
		for ; list != nil; list = list.next {
			all = append(all, list.timers[:list.count]...)
		}
	}
	return all
}

// outlookCounts reads from o how many live flows it counts, and of how many only the first packet is known. Nobody but
// audit asks for that, so the forecast does not tell it; a field that is renamed there panics here.
func outlookCounts(o *forecast.Outlook) (live, unconfirmed int) {
	v := reflect.ValueOf(o).Elem()
	ages := v.FieldByName("times").FieldByName("ages")
	return int(ages.FieldByName("live").Int() + ages.FieldByName("unknown").Int()), int(v.FieldByName("unconfirmed").Int())
}

// auditSamples recounts the ports in the samples of a; outlooks are all that there are.
func auditSamples(a *forecast.Account, outlooks map[*forecast.Outlook]bool) error {
	const samplesMax = 8 // as the forecast has
	known := map[uintptr]reflect.Value{}
	for o := range outlooks {
		if o != nil {
			v := reflect.ValueOf(o)
			known[v.Pointer()] = v.Elem()
		}
	}
	sum := func(slots reflect.Value) (n int64) {
		for i := range slots.Len() {
			n += int64(slots.Index(i).Uint())
		}
		return n
	}
	samples := reflect.ValueOf(a).Elem().FieldByName("samples")
	if n := samples.Len(); n > samplesMax {
		return fmt.Errorf("%d samples, at most %d", n, samplesMax)
	}
	for i := range samples.Len() {
		w := samples.Index(i)
		of, known := known[w.Elem().FieldByName("of").Pointer()]
		if !known || of.FieldByName("evidence").FieldByName("sample").Pointer() != w.Pointer() {
			return errors.New("a sample belongs to no port space")
		}
		for _, held := range []string{"other", "unanswered"} {
			said, slots := w.Elem().FieldByName(held+"Sum").Int(), sum(w.Elem().FieldByName(held))
			if said != slots {
				return fmt.Errorf("a sample holds %d ports (%s), its slots say %d", said, held, slots)
			}
		}
	}
	return nil
}

// audit recounts everything from the entries alone.
func audit(l *Ledger) error {
	type counts struct{ live, cooling, opening, unconfirmed int }
	spaces, folds := map[place]counts{}, map[place]counts{}
	refs := map[uint64]portRefs{}
	total, timers := 0, map[timer]bool{}
	for _, t := range waiting(&l.flows.timers) {
		timers[t] = true
	}
	for _, n := range l.namespaces.list {
		if n == nil {
			continue
		}
		own := 0
		l.flows.table.each(&n.flows, func(i uint32, f *flow) {
			own++
			if got := l.flows.table.find(f.key); got != i {
				panic(fmt.Sprintf("entry %d is found as %d", i, got))
			}
			c := counts{}
			switch f.phase {
			case phaseLive:
				if f.flags&flagUncounted == 0 {
					c.live++
				}
				alarm := l.flows.table.chunks[i>>chunkShift].alarm
				if at, _ := l.spaces.accountOf(f).deadline(f); at > l.clock.now && (alarm == 0 || alarm > l.flows.timers.tickAt(at)) {
					panic("a live flow's clock that nothing looks at")
				}
				if f.flags&flagOpening != 0 {
					c.opening++
				}
				if f.flags&flagUnconfirmed != 0 {
					if f.flags&flagOpening != 0 {
						panic("a flow is opening and unconfirmed")
					}
					c.unconfirmed++
				}
			case phaseCooling:
				c.cooling++
				if !timers[timer{i, f.due}] {
					panic("a cooling port that nothing releases")
				}
				if f.moment <= l.clock.now-collector.Time(wheelTick) {
					panic("a cooling port that should be free")
				}
			case phaseGone:
				if f.place != 0 {
					panic("a flow without a port is counted")
				}
				return
			}
			if f.place == 0 {
				panic("a flow with a port is not counted")
			}
			if f.place.folded() {
				k := placeFolded | place(f.place.account())
				sum := folds[k]
				folds[k] = counts{live: sum.live + c.live, cooling: sum.cooling + c.cooling, opening: sum.opening + c.opening}
				return
			}
			a := l.spaces.accountOf(f)
			if f.port != 0 && a.terms.Unique != budget.PerEndpoint {
				r := refs[portKey(f.place, f)]
				r.live += int32(c.live)
				r.cooling += int32(c.cooling)
				refs[portKey(f.place, f)] = r
				sum := spaces[f.place]
				sum.opening += c.opening
				sum.unconfirmed += c.unconfirmed
				spaces[f.place] = sum
				return
			}
			sum := spaces[f.place]
			spaces[f.place] = counts{sum.live + c.live, sum.cooling + c.cooling, sum.opening + c.opening, sum.unconfirmed + c.unconfirmed}
		})
		if own != n.flows.count {
			return fmt.Errorf("netns %d: %d entries, counted as %d", n.inode, own, n.flows.count)
		}
		total += own
	}
	for k, r := range refs {
		live, cooling := r.split()
		sum := spaces[place(k>>32)]
		spaces[place(k>>32)] = counts{sum.live + live, sum.cooling + cooling, sum.opening, sum.unconfirmed}
	}
	if diff := cmp.Diff(refs, l.spaces.ports, cmp.AllowUnexported(portRefs{})); diff != "" {
		return fmt.Errorf("shared ports (-want +got):\n%s", diff)
	}
	if total != l.flows.table.count {
		return fmt.Errorf("table has %d of %d entries", l.flows.table.count, total)
	}
	for c, k := range l.flows.table.chunks {
		if k.alarm != 0 && !timers[timer{uint32(c) | chunkTimer, k.alarm}] {
			return fmt.Errorf("chunk %d: no timer for its alarm in tick %d", c, k.alarm)
		}
	}
	if n := len(waiting(&l.flows.timers)); n != l.flows.timers.count {
		return fmt.Errorf("wheel has %d of %d timers", l.flows.timers.count, n)
	}
	sums := make([]counts, len(l.spaces.accounts))
	outlooks := map[*forecast.Outlook]bool{}
	tracked := make([]int, len(l.spaces.budgets))
	for i := range l.spaces.list {
		s := &l.spaces.list[i]
		if !s.used {
			continue
		}
		tracked[l.spaces.accounts[s.key.account].budgetNumber]++
		outlooks[s.outlook] = true
		want := spaces[place(i)]
		if got := (counts{s.live, s.cooling, s.opening, want.unconfirmed}); got != want {
			return fmt.Errorf("space %v: %+v, its flows say %+v", s.destination, got, want)
		}
		c := &sums[s.key.account]
		*c = counts{live: c.live + s.live, cooling: c.cooling + s.cooling, opening: c.opening + s.opening}
		if s.outlook == nil {
			continue
		}
		live, unconfirmed := outlookCounts(s.outlook)
		if unconfirmed != want.unconfirmed {
			return fmt.Errorf("space %v: forecast counts %d flows of which only the first packet is known, ledger %d", s.destination, unconfirmed, want.unconfirmed)
		}
		if live != s.live && l.spaces.accounts[s.key.account].terms.Unique == budget.PerEndpoint {
			return fmt.Errorf("space %v: forecast counts %d live flows, ledger %d", s.destination, live, s.live)
		}
	}
	for i, a := range l.spaces.accounts {
		c := sums[i]
		if a.fold != nil {
			held := 0
			for _, n := range a.fold.cells {
				held += int(n)
			}
			f := folds[placeFolded|place(i)]
			if got := (counts{live: a.fold.live, cooling: a.fold.cooling, opening: a.fold.opening}); got != f || held != f.live+f.cooling {
				return fmt.Errorf("fold %d: %+v with %d in cells, its flows say %+v", i, got, held, f)
			}
			c = counts{live: c.live + f.live, cooling: c.cooling + f.cooling, opening: c.opening + f.opening}
		}
		if got := (counts{live: a.live, cooling: a.cooling, opening: a.opening}); got != c || a.live < 0 || a.cooling < 0 {
			return fmt.Errorf("account %d: %+v, its parts say %+v", i, got, c)
		}
	}
	for _, a := range l.spaces.accounts {
		if a.forecast != nil {
			if err := auditSamples(a.forecast, outlooks); err != nil {
				return err
			}
		}
	}
	if err := auditOwners(l); err != nil {
		return err
	}
	for i, o := range l.spaces.budgets {
		if o.count != tracked[i] || o.count > l.spaces.trackedMax {
			return fmt.Errorf("budget %d tracks %d port spaces, counted as %d, at most %d", i, tracked[i], o.count, l.spaces.trackedMax)
		}
	}
	return nil
}
