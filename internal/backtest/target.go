package backtest

import "math"

// targets compares a summary of scenarios with what was asked of the forecast.
func (s *Summary) targets() []Target {
	ours, persistence := s.method(NameForecast), s.method(NameUtilisation)
	none := Number(math.NaN())
	ap := Target{Text: "mean AP / best peer's", Want: [horizons]Number{1.5, 1.45, 1.2, 1.0}}
	f1 := Target{Text: "macro F1 / best tuned peer's", Want: [horizons]Number{1.4, 1.5, 1.3, none}}
	mae := Target{Text: "MAE of held(t+h) / persistence's", Want: [horizons]Number{0.85, 0.96, 1, 1}, AtMost: true}
	skill := Target{Text: "Brier skill", Want: [horizons]Number{0.18, 0.22, 0.24, 0.14}}
	for h := range horizons {
		best := Number(0)
		for _, m := range s.Methods {
			if m.Kind == KindPeer && m.AP[h] > best {
				best, ap.Peer[h] = m.AP[h], m.Name
			}
		}
		ap.Got[h] = ours.AP[h] / best
		best = 0
		var mine Number
		for _, p := range s.Points {
			switch {
			case p.Name == NameForecast:
				mine = p.F1[h]
			case p.Name == p.Method && isPeer(p.Name) && p.F1[h] > best:
				best, f1.Peer[h] = p.F1[h], p.Name
			}
		}
		f1.Got[h] = mine / best
		mae.Got[h] = ours.MAE[h] / persistence.MAE[h]
		mae.Peer[h] = NameUtilisation
		skill.Got[h] = ours.Skill[h]
	}
	return []Target{ap, f1, mae, skill}
}

func (s *Summary) method(name string) *MethodSummary {
	for i := range s.Methods {
		if s.Methods[i].Name == name {
			return &s.Methods[i]
		}
	}
	return &MethodSummary{}
}
