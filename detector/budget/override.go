package budget

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// terms lays what was given over what the model says.
func (o Overrides) terms(protocol string, mt ModelTerms, m Model, ports int, ceiling float64) (Terms, *KeyError) {
	t := Terms{
		Ports: ports, Unique: mt.Unique, Idle: mt.Idle, HalfOpen: mt.HalfOpen,
	}
	if o.Ports != nil {
		if t.Ports = *o.Ports; t.Ports != 0 && !m.anyPorts {
			return Terms{}, badKey(protocol+".ports", t.Ports,
				"0, where the protocol is not translated: %s gives the rest", m.Name)
		}
	}
	if t.Ports == 0 {
		return Terms{}, nil
	}
	t.Effective = max(1, int(math.Floor(float64(t.Ports)*ceiling+1e-9)))
	if o.Unique != nil {
		t.Unique = *o.Unique
	}
	if o.Idle != nil {
		if t.Idle = *o.Idle; t.Idle < mt.IdleMin || mt.IdleMax > 0 && t.Idle > mt.IdleMax {
			return Terms{}, badKey(protocol+".idle", t.Idle, "%s", mt.idleWant())
		}
	}
	if t.HalfOpen == 0 {
		t.HalfOpen = t.Idle
	}
	if o.HalfOpen != nil {
		if t.HalfOpen = *o.HalfOpen; t.HalfOpen < 0 {
			return Terms{}, badKey(protocol+".half_open", t.HalfOpen, "0 or more")
		}
	}
	for _, r := range slices.Sorted(maps.Keys(o.CoolDown)) {
		if d := o.CoolDown[r]; d < 0 || d > maxCoolDown {
			return Terms{}, badKey(protocol+".cool_down."+r.String(), d, "0 to %v", maxCoolDown)
		}
	}
	mt.given(o.CoolDown)
	t.CoolDown = mt.coolDown()
	for r, d := range o.CoolDown {
		t.CoolDown[r] = d
	}
	return t, nil
}

// maxCoolDown is more than any provider's and keeps the ledger's memory bounded.
const maxCoolDown = time.Hour

// given takes over the reasons that others follow.
func (t *ModelTerms) given(c map[collector.Reason]time.Duration) {
	if d, ok := c[collector.FIN]; ok {
		t.FIN = d
	}
	if d, ok := c[collector.RST]; ok {
		t.RST = d
	}
}

func (t ModelTerms) idleWant() string {
	switch {
	case t.IdleMax == 0:
		return "0 or more"
	case t.IdleMin == t.IdleMax:
		return fmt.Sprintf("%v: the provider fixes it", t.IdleMin)
	}
	return fmt.Sprintf("%v to %v", t.IdleMin, t.IdleMax)
}
