package forecast

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// remember copies what o learned until now.
func (o *Outlook) remember(now collector.Time) memory {
	m := memory{
		speeds: o.speeds, late: o.times.late, ended: o.ended, dispersion: o.dispersion,
		rateMean: o.rateMean, fillMean: o.fillMean,
		since: cmp.Or(o.last, now.Seconds()) - o.began, rhythm: o.rhythm, learnt: o.learnt, proofs: o.proofs,
	}
	for h := range m.learnt {
		m.learnt[h].waiting, m.learnt[h].next = [pendings]pending{}, 0
	}
	m.keepCourse(o, Second(now))
	return m
}

// recall gives a new outlook the memory of its port space.
func (o *Outlook) recall(m *memory, now collector.Time) {
	o.speeds, o.ended, o.learnt, o.proofs, o.rhythm = m.speeds, m.ended, m.learnt, m.proofs, m.rhythm
	o.times.late = m.late
	o.dispersion, o.rateMean, o.fillMean = m.dispersion, m.rateMean, m.fillMean
	o.began = now.Seconds() - m.since
	m.resume(o, Second(now))
}

// stateAccounts and stateSpaces are how many accounts and port spaces a state may hold.
const (
	stateAccounts = 1 << 10
	stateSpaces   = 1 << 20
)

// Known is a port space that has an outlook, with the name by which a state keeps it.
type Known struct {
	Name    SpaceName
	Outlook *Outlook
}

// AppendState appends what was learned until now of the known port spaces, and of those that had no flow since the last
// restart: of so many in all as most says.
func (f *Forecaster) AppendState(b []byte, now collector.Time, spaces []Known, most int) []byte {
	c := codec{b: append(b, stateMagic...)}
	first := len(b)
	version := uint64(stateVersion)
	c.u64(&version)
	c.time(&now)
	c.occurrence(&f.all)
	n := len(f.accounts)
	c.length(&n, stateAccounts)
	for _, s := range f.accounts {
		c.account(&s.name, &s.protocol, &s.hours, &s.brier, &s.scored)
	}
	spaces = slices.DeleteFunc(spaces, func(k Known) bool { return k.Outlook.began == 0 })
	unclaimed := f.unclaimed(now, most-len(spaces))
	n = len(spaces) + len(unclaimed)
	c.length(&n, stateSpaces)
	for _, k := range spaces {
		c.saved(&saved{k.Name, now, k.Outlook.remember(now)})
	}
	for _, v := range unclaimed {
		c.saved(v)
	}
	return binary.LittleEndian.AppendUint32(c.b, crc32.Checksum(c.b[first:], crc32.MakeTable(crc32.Castagnoli)))
}

// accountState is what a state holds of an account.
type accountState struct {
	name          string
	protocol      collector.Protocol
	hours         occurrence
	brier, scored [detector.NumHorizons]float64
}

// State is the content of a state.
type State struct {
	at       collector.Time
	all      occurrence
	accounts []accountState
	spaces   map[SpaceName]*saved
}

// ReadState reads what AppendState wrote, aged to now. If the bytes are no state, the error is ErrState.
func ReadState(b []byte, now collector.Time) (State, error) {
	st := State{spaces: map[SpaceName]*saved{}}
	c, err := openState(b)
	if err != nil {
		return State{}, err
	}
	c.time(&st.at)
	c.occurrence(&st.all)
	n := 0
	c.length(&n, stateAccounts)
	for range n {
		var s accountState
		c.account(&s.name, &s.protocol, &s.hours, &s.brier, &s.scored)
		if c.err != nil {
			return State{}, c.err
		}
		st.accounts = append(st.accounts, s)
	}
	c.length(&n, stateSpaces)
	for range n {
		v := &saved{}
		c.saved(v)
		if v.at < 0 || v.at > st.at {
			c.fail("a time is out of bounds")
		}
		if c.err != nil {
			return State{}, c.err
		}
		v.at = min(v.at, now) // the clock may have been set back
		if !v.old(now) {
			st.spaces[v.SpaceName] = v
		}
	}
	if len(c.b) > 0 {
		c.fail("bytes are left over")
	}
	if c.err != nil {
		return State{}, c.err
	}
	return st, nil
}

// Restore takes in a state at now, before the first event.
func (f *Forecaster) Restore(st *State, now collector.Time) {
	gap := max(0, now.Sub(st.at).Seconds())
	st.all.keep(math.Exp(-gap / 86400))
	f.all = st.all
	for _, s := range f.accounts {
		for i := range st.accounts {
			if was := &st.accounts[i]; was.name == s.name && was.protocol == s.protocol {
				s.hours, s.brier, s.scored = was.hours, was.brier, was.scored
				s.hours.keep(math.Exp(-gap / (6 * 3600)))
				s.borrow()
			}
		}
	}
	f.saved = st.spaces
}

// openState checks the frame of a state (magic, version, checksum) and returns a reader of its content.
func openState(state []byte) (*codec, error) {
	c := &codec{b: state, reading: true}
	if len(state) < len(stateMagic)+12 || string(state[:len(stateMagic)]) != stateMagic {
		c.fail("it does not begin as one")
		return nil, c.err
	}
	body := state[:len(state)-4]
	if binary.LittleEndian.Uint32(state[len(body):]) != crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) {
		c.fail("its checksum is wrong")
		return nil, c.err
	}
	c.b = body[len(stateMagic):]
	version := uint64(0)
	c.u64(&version)
	if version != stateVersion {
		c.fail(fmt.Sprintf("it has version %d, not %d", version, stateVersion))
		return nil, c.err
	}
	return c, nil
}

func (c *codec) memory(m *memory) {
	for i := range m.speeds {
		c.occurrence(&m.speeds[i])
	}
	for k := range m.late {
		c.f32(&m.late[k])
	}
	for k := range m.ended {
		c.within(0, most, &m.ended[k])
	}
	c.f64(&m.dispersion, &m.rateMean, &m.fillMean, &m.since)
	c.rhythm(&m.rhythm)
	for h := range m.learnt {
		c.learnt(&m.learnt[h])
	}
	for h := range m.proofs.rise {
		c.duel(&m.proofs.rise[h])
	}
	c.duel(&m.proofs.flows)
	m.dispersion = max(1, m.dispersion)
	m.rateMean, m.fillMean, m.since = max(0, m.rateMean), max(0, m.fillMean), max(0, m.since)
	c.arrivals(&m.came)
	c.earlier(&m.before)
}

func (c *codec) learnt(l *learnt) {
	for i := range l.tail {
		c.within(0, most, &l.tail[i])
	}
	for k := range l.kind {
		c.f32(&l.kind[k])
	}
	for k := range l.score {
		c.within(0, tailReach, &l.score[k])
	}
	for _, r := range []*regression{&l.rate, &l.fill} {
		c.within(0, most, &r.xx)
		c.f32(&r.xy)
		c.within(0, most, &r.n)
	}
	c.within(0, spreadMost, &l.spread)
	c.within(0, seenMost, &l.seen)
	for i := range l.duel {
		c.duel(&l.duel[i])
	}
}

func (c *codec) duel(d *duel) {
	c.within(0, tailReach, &d.recurring, &d.rest)
	c.within(0, seenMost, &d.rounds)
}

func (c *codec) arrivals(a *arrivals) {
	c.i64(&a.since, &a.now)
	for j := range a.blocks {
		for b := range a.blocks[j] {
			c.within(0, most, &a.blocks[j][b])
		}
	}
	a.since = min(a.since, a.now)
}

func (c *codec) earlier(e *earlier) {
	c.i64(&e.written, &e.cools.now, &e.cools.width)
	c.f64(&e.rate)
	e.rate = max(0, e.rate)
	e.cools.width = max(1, e.cools.width)
	total := int32(0)
	for i := range e.cools.slots {
		n := float32(min(e.cools.slots[i], slotMost))
		c.f32(&n)
		e.cools.slots[i] = uint32(min(max(n, 0), slotMost))
		total += int32(e.cools.slots[i])
	}
	e.cools.total = total
}

// slotMost is more ports than are ever released within a second. It is exact as a float, and the sum of all slots fits
// into an int32.
const slotMost = 1 << 22

// i64 takes seconds.
func (c *codec) i64(xs ...*int64) {
	for _, x := range xs {
		y := float64(*x)
		c.f64(&y)
		*x = int64(y)
	}
}

func (c *codec) rhythm(r *rhythm) {
	first := float64(r.first)
	c.f64(&first)
	r.first = int64(first)
	c.within(0, binMost, &r.level)
	c.within(0, most, &r.noise)
	c.within(0, 1, &r.missed)
	for i := range r.hour {
		c.within(-binMost, binMost, &r.hour[i].mean)
		c.within(0, most, &r.hour[i].square)
	}
	for i := range r.day {
		c.within(0, binMost, &r.day[i])
	}
}

func (c *codec) account(name *string, p *collector.Protocol, hours *occurrence, brier,
	scored *[detector.NumHorizons]float64,
) {
	c.text(name)
	x := uint64(*p)
	c.u64(&x)
	*p = collector.Protocol(x)
	c.occurrence(hours)
	for h := range brier {
		c.f64(&brier[h], &scored[h])
	}
}

func (c *codec) saved(v *saved) {
	c.text(&v.Budget)
	c.text(&v.VIP)
	c.text(&v.Destination)
	x := uint64(v.Protocol)
	c.u64(&x)
	v.Protocol = collector.Protocol(x)
	c.time(&v.at)
	c.memory(&v.memory)
}

// unclaimed returns the memories of port spaces that had no flow since the restart, the youngest first, n at most.
func (f *Forecaster) unclaimed(now collector.Time, n int) []*saved {
	list := slices.DeleteFunc(slices.Collect(maps.Values(f.saved)), func(v *saved) bool { return v.old(now) })
	slices.SortFunc(list, func(a, b *saved) int {
		return cmp.Or(cmp.Compare(b.at, a.at), a.compare(&b.SpaceName))
	})
	return list[:min(len(list), max(0, n))]
}

// Remembers reports whether there are memories of port spaces that had no flow since the restart. uptime is the time
// since the start; after stateOld all memories are dropped.
func (f *Forecaster) Remembers(uptime time.Duration) bool {
	if len(f.saved) > 0 && uptime > stateOld {
		f.saved = nil
	}
	return len(f.saved) > 0
}

// Claim gives new outlook o the memory of its port space, if there is one.
func (f *Forecaster) Claim(o *Outlook, name SpaceName, now collector.Time) {
	if v, ok := f.saved[name]; ok {
		if !v.old(now) {
			m := v.until(now)
			o.recall(&m, now)
		}
		delete(f.saved, name)
	}
}
