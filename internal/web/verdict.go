package web

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/words"
)

// because says who holds the ports, how fast flows open and how long each holds its port; empty where there is no
// urgent port space.
func (u *urgent) because() string {
	if u.level == levelOK {
		return ""
	}
	var out []string
	if owners, _ := pageOwnersOf(u.space); len(owners) > 0 {
		o := owners[0]
		name := o.Name
		if o.Kind != "" {
			name += " (" + o.Kind + ")"
		}
		out = append(out, fmt.Sprintf("%s holds %d of them, %s.", name, o.Held, o.Share))
	}
	if u.space.MeanHold > 0 {
		out = append(out, fmt.Sprintf("%.3g flows a second open, and each holds its port for %s.", u.space.OpensPerSecond,
			span(u.space.MeanHold.Seconds())))
	}
	if n := u.space.Stalled; n > 0 {
		out = append(out, fmt.Sprintf("%s for an answer.", words.Counted(n, "flow waits", "flows wait")))
	}
	return strings.Join(out, " ")
}

// verdict returns the page's first line, which names the port space that runs out first.
func verdict(snap *detector.Snapshot) (level, string) {
	if len(snap.Budgets) == 0 {
		return levelWarn, "No budget: nothing to compare ports with"
	}
	u := mostUrgent(snap)
	if u.level == levelOK {
		text := "No port space is near its budget"
		if slices.ContainsFunc(snap.Budgets, func(b detector.BudgetSnapshot) bool {
			return b.Budget.Scope == budget.ScopeShared
		}) {
			text += ", as far as this node alone can fill it"
		}
		return levelOK, text
	}
	ports := u.protocol.Terms.OfClass(u.space.Class)
	text := fmt.Sprintf("%s %s: %d of %d ports held", u.space.Destination, u.protocol.Protocol, u.space.Held,
		ports.Ports)
	switch {
	case u.left == 0:
		text = "Exhausted: " + text
	case !math.IsInf(u.left, 1):
		text += ", exhausted in about " + span(u.left)
	}
	return u.level, text
}

// doubts returns why the verdict may be wrong: a calm first line over a blind agent would mislead.
func doubts(snap *detector.Snapshot, age time.Duration, ready bool) []string {
	var out []string
	if age > staleAfter {
		out = append(out, "These numbers are "+span(age.Seconds())+" old: the agent hangs or is starved of CPU.")
	}
	if ready && !exact(snap) {
		out = append(out, "The ledger is not exact: more or fewer ports may be held.")
	}
	for i := range snap.Budgets {
		b := &snap.Budgets[i]
		if b.Contradicted {
			out = append(out, "Budget "+b.Budget.Name+" cannot be right, as is said below.")
		}
		for j := range b.Protocols {
			if p := &b.Protocols[j]; p.Stalled > 0 && b.Budget.Scope == budget.ScopeShared {
				out = append(out, fmt.Sprintf("%s no answer: other nodes may have filled the gateway of budget %s, which is "+
					"not seen here.", words.Counted(p.Stalled, p.Protocol.String()+" flow gets", p.Protocol.String()+" flows get"),
					b.Budget.Name))
			}
		}
	}
	return out
}

// A limit other than ports stands beside the verdict when it is as near as for its alert: within limitSoon seconds at
// this pace, and a conntrack table only while it is nearly full (detector.TableNear). From tableFull on a table counts
// as full, as a full one may stay a little below its limit and have no pace.
const (
	limitSoon = 300
	tableFull = 0.99
)

// otherLimits says which limits besides ports are reached, or will be soon at this pace: a calm first line would
// mislead.
func otherLimits(v *metrics.View) (out []string, l level) {
	l = levelOK
	add := func(what, full string, seconds float64) {
		fails := "new connections fail, whatever ports are left."
		switch {
		case seconds > limitSoon:
			return
		case seconds == 0:
			l = levelCrit
		default:
			l, fails = worse(l, levelWarn), "then "+fails
		}
		out = append(out, what+" is "+within(true, seconds, full)+": "+fails)
	}
	for i := range v.Kernel {
		k := &v.Kernel[i]
		table := "The conntrack table" + ofNetns(v, k)
		switch {
		case k.Fill() >= tableFull:
			add(table, "full", 0)
		case k.Forecast && k.Fill() > detector.TableNear:
			add(table, "full", k.SecondsToFull)
		}
	}
	for i := range v.Allowances {
		if a := &v.Allowances[i]; a.Known && a.Forecast {
			add("EC2's connection tracking of "+a.Interface, "used up", a.SecondsToExhaustion)
		}
	}
	return out, l
}
