package backtest

import (
	"fmt"
	"math"

	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// levels are the bins of the calibration table.
func levels(r *score.Reliability) []CalibrationLevel {
	var ls []CalibrationLevel
	for _, b := range r.Bins {
		ls = append(ls, CalibrationLevel{b.N, Number(b.Predicted()), Number(b.Observed())})
	}
	return ls
}

// groupsOf splits cells by group, which stand together.
func groupsOf(cells []*Cell) [][]*Cell {
	var groups [][]*Cell
	for i, c := range cells {
		if i == 0 || cells[i-1].Group != c.Group {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], c)
	}
	return groups
}

// groupAP is the average precision of all predictions of a group together: one threshold
// has to do for all of it.
func groupAP(g []*Cell, method, h int) float64 {
	var parts []score.Ranked
	for _, c := range g {
		parts = append(parts, c.ranks[method][h])
	}
	return score.AveragePrecision(parts...)
}

func groupError(g []*Cell, method, h int) PointError {
	var e PointError
	for _, c := range g {
		e.merge(&c.Methods[method].Horizons[h].Error)
	}
	return e
}

// Summarize turns a result into figures.
func (r *Result) Summarize() *Summary {
	s := &Summary{
		Horizons:    horizonNames(),
		Hours:       Number(math.NaN()),
		TickSeconds: Number(r.Config.Tick.Seconds()),
		TookSeconds: Number(r.Took.Seconds()),
		Peaks:       r.Peaks, MorePeaks: r.MorePeaks,
	}
	if r.Scenarios {
		s.Hours = Number(r.Config.Hours)
	}
	groups := groupsOf(r.Cells)
	for _, c := range r.Cells {
		s.Runs += c.Runs
		s.Episodes += c.Episodes
		s.Predictions += c.Predictions
		s.Cells = append(s.Cells, c.summary())
	}
	if len(r.Cells) == 0 {
		s.Nothing = fmt.Sprintf("no port space held %.0f %% of its ceiling", 100*busyShare)
		if r.Chosen {
			s.Nothing = fmt.Sprintf("no port space rises to %d ports or more after the first cool-down and minute, so that "+
				"there is no ceiling to choose; a budget may be given", leastPorts)
		}
		return s
	}
	for i, m := range r.Cells[0].Methods {
		s.Methods = append(s.Methods, summarizeMethod(groups, i, m.Method, r.kind(m.Method)))
	}
	for i, p := range r.Cells[0].Points {
		s.Points = append(s.Points, summarizePoint(groups, i, p.Point))
	}
	for _, g := range groups {
		gs := GroupSummary{
			Name: g[0].Group, Nominal: g[0].Nominal, Ports: g[0].Ports, AP: map[string][horizons]Number{},
			MAE: map[string][horizons]Number{},
		}
		for _, c := range g {
			gs.Episodes += c.Episodes
			gs.Days += Number(c.Days)
		}
		for i, m := range g[0].Methods {
			var ap, mae [horizons]Number
			for h := range horizons {
				e := groupError(g, i, h)
				ap[h], mae[h] = Number(groupAP(g, i, h)), Number(e.MAE())
			}
			gs.AP[m.Method], gs.MAE[m.Method] = ap, mae
		}
		s.Groups = append(s.Groups, gs)
	}
	if r.Scenarios && !r.Config.Untrained {
		s.Targets = s.targets()
	}
	if r.Foresight != nil && r.Foresight.Spaces > 0 {
		s.Foresight = r.Foresight.summarize()
	}
	return s
}

func (r *Result) kind(method string) string {
	switch {
	case method == NameForecast:
		return KindForecast
	case isPeer(method):
		return KindPeer
	case method == NameOracle:
		return KindOracle
	}
	return KindAblation
}

func summarizeMethod(groups [][]*Cell, i int, name, kind string) MethodSummary {
	ms := MethodSummary{Name: name, Kind: kind}
	for h := range horizons {
		var ap, mae score.Mean
		var rel score.Reliability
		var all PointError
		for _, g := range groups {
			ap.Add(groupAP(g, i, h))
			e := groupError(g, i, h)
			mae.Add(e.MAE())
			all.merge(&e)
			for _, c := range g {
				rel.Merge(&c.Methods[i].Horizons[h].Reliability)
			}
		}
		ms.AP[h], ms.MAE[h] = Number(ap.Value()), Number(mae.Value())
		ms.Coverage[h] = Number(math.NaN())
		if kind != KindPeer {
			ms.Coverage[h] = Number(all.Coverage())
		}
		ms.Brier[h], ms.Skill[h] = Number(rel.Brier()), Number(rel.Skill())
		ms.CalibrationError[h] = Number(rel.Error())
		ms.Calibration[h] = levels(&rel)
	}
	return ms
}

func summarizePoint(groups [][]*Cell, i int, p Point) PointSummary {
	ps := PointSummary{Name: p.Name, Method: p.Method}
	for h := range horizons {
		var f1, precision, recall score.Mean
		var w score.Warnings
		for _, g := range groups {
			var c score.Confusion
			for _, cell := range g {
				c = c.Plus(cell.Points[i].Confusion[h])
				w.Merge(&cell.Points[i].Warnings[h])
			}
			if !math.IsNaN(c.F1()) {
				f1.Add(c.F1())
				precision.Add(c.Precision())
				recall.Add(c.Recall())
			}
		}
		ps.Thresholds[h] = Number(p.Thresholds[h])
		ps.F1[h], ps.Precision[h], ps.Recall[h] = Number(f1.Value()), Number(precision.Value()), Number(recall.Value())
		ps.warnings(h, &w)
	}
	return ps
}

func (ps *PointSummary) warnings(h int, w *score.Warnings) {
	ps.Detected[h], ps.Lead[h] = Number(w.Detected()), Number(w.Lead())
	ps.FalsePerDay[h], ps.OnShare[h] = Number(w.FalsePerDay()), Number(w.OnShare())
	ps.EpisodesJudged[h] = w.Episodes
}

func (c *Cell) summary() CellSummary {
	cs := CellSummary{
		Group: c.Group, Member: c.Member, Nominal: c.Nominal, Ports: c.Ports, CoolDown: Number(c.CoolDown.Seconds()),
		Runs: c.Runs, Episodes: c.Episodes, Days: Number(c.Days), Predictions: c.Predictions, LedgerApart: c.Apart,
		AP: map[string][horizons]Number{}, MAE: map[string][horizons]Number{}, Skill: map[string][horizons]Number{},
		Page: summarizePage(&c.Page, looks), Ideal: summarizePage(&c.Ideal, 1),
	}
	for h := range horizons {
		cs.BaseRate[h] = Number(float64(c.Hits[h]) / float64(c.Known[h]))
	}
	for _, m := range c.Methods {
		var ap, mae, skill [horizons]Number
		for h, hs := range m.Horizons {
			ap[h], mae[h], skill[h] = Number(hs.AP), Number(hs.Error.MAE()), Number(hs.Reliability.Skill())
		}
		cs.AP[m.Method], cs.MAE[m.Method], cs.Skill[m.Method] = ap, mae, skill
	}
	for i, p := range c.Points {
		cs.Points = append(cs.Points, summarizePoint([][]*Cell{{c}}, i, p.Point))
	}
	return cs
}

// summarizePage is of pages that each run was judged on so many times.
func summarizePage(p *score.Pages, times int) PageSummary {
	return PageSummary{
		Episodes: p.Episodes / times, Detected: Number(p.Detected()), Lead: Number(p.Lead()),
		FalsePerDay: Number(p.FalsePerDay()), OnShare: Number(p.OnShare()),
		AtStart: Number(float64(p.AtStart) / float64(times)), Starts: p.Starts / times,
	}
}

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

func (f *Foresight) summarize() *ForesightSummary {
	s := &ForesightSummary{Spaces: f.Spaces}
	for h := range f.Reliability {
		r := &f.Reliability[h]
		s.Predictions[h], s.BaseRate[h] = r.N, Number(float64(r.Hits)/float64(r.N))
		s.Skill[h], s.Error[h] = Number(r.Skill()), Number(r.Error())
		s.Calibration[h] = levels(r)
	}
	return s
}
