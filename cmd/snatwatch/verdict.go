package main

import (
	"fmt"
	"math"
	"time"

	"github.com/snatwatch/snatwatch/detector"
)

// level is how urgent a thing is; its text is the CSS class.
type level string

const (
	levelOK   level = "ok"
	levelWarn level = "warn"
	levelCrit level = "crit"
)

// verdict is the page's first line: the port space that runs out first.
func verdict(snap *detector.Snapshot) (level, string) {
	if len(snap.Budgets) == 0 {
		return levelWarn, "No budget: nothing to compare ports with"
	}
	lv, text, first := levelOK, "No port space is near its budget", math.Inf(1)
	for i := range snap.Budgets {
		b := &snap.Budgets[i]
		for j := range b.Protocols {
			p := &b.Protocols[j]
			for k := range p.Spaces {
				s := &p.Spaces[k]
				l := spaceLevel(s, &p.Terms)
				if l == levelOK || worse(l, lv) != l {
					continue
				}
				tte := math.Inf(1)
				if s.Held >= p.Terms.Effective {
					tte = 0
				} else if s.Forecast != nil {
					tte = s.Forecast.TimeToExhaustion
				}
				if l == lv && tte >= first {
					continue
				}
				lv, first = l, tte
				text = fmt.Sprintf("%s %s: %d of %d ports held", s.Destination, p.Protocol, s.Held, p.Terms.Ports)
				switch {
				case tte == 0:
					text = "Exhausted: " + text
				case !math.IsInf(tte, 1):
					text += ", exhausted in about " + span(tte)
				}
			}
		}
	}
	return lv, text
}

// spaceLevel judges one port space by its fill and its forecast at 15 minutes.
func spaceLevel(s *detector.SpaceSnapshot, t *detector.Terms) level {
	fill, probability := ratio(s.Held, t.Effective), 0.0
	if s.Forecast != nil {
		probability = s.Forecast.Probability[2]
	}
	switch {
	case fill >= 0.95 || probability >= 0.5:
		return levelCrit
	case fill >= 0.75 || probability >= 0.1:
		return levelWarn
	}
	return levelOK
}

func worse(a, b level) level {
	if a == levelCrit || b == levelCrit {
		return levelCrit
	}
	if a == levelWarn || b == levelWarn {
		return levelWarn
	}
	return levelOK
}

// doubts are what makes the verdict less than certain: a calm line above a blind agent misleads.
func doubts(snap *detector.Snapshot, age time.Duration, ready bool) []string {
	var out []string
	if age > staleAfter {
		out = append(out, "These numbers are "+span(age.Seconds())+" old: the agent hangs or is starved of CPU.")
	}
	if ready && !exact(snap) {
		out = append(out, "The ledger is not exact: more or fewer ports may be held.")
	}
	for i := range snap.Budgets {
		if b := &snap.Budgets[i]; b.Contradicted {
			out = append(out, "Budget "+b.Budget.Name+" cannot be right, as is said below.")
		}
	}
	return out
}
