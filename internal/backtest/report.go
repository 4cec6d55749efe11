package backtest

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// WriteText prints the summary as tables for a terminal.
func (s *Summary) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d runs, %s, %d predictions judged, tick %s s, %s s of computing\n",
		s.Runs, s.episodes(), s.Predictions, exact(float64(s.TickSeconds)), figure(float64(s.TookSeconds), 0))
	if s.Nothing != "" {
		fmt.Fprintf(&b, "nothing to judge: %s\n", s.Nothing)
	}
	apart := 0
	for _, c := range s.Cells {
		apart = max(apart, c.LedgerApart)
	}
	if apart > 0 {
		fmt.Fprintf(&b, "the ledger and the replay's own count of held ports were up to %d apart\n", apart)
	}
	for _, t := range s.tables() {
		t.write(&b)
	}
	s.writePeaks(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// episodes counts them. An episode begins within a record: what is at its ceiling throughout has none, and says so.
func (s *Summary) episodes() string {
	throughout, exhausted := 0, false
	for i := range s.Peaks {
		exhausted = exhausted || s.Peaks[i].Exhausted > 0
		if s.Peaks[i].Throughout {
			throughout++
		}
	}
	switch {
	case throughout == 0 && s.Episodes == 0 && exhausted:
		return "no episode after the warm-up, though ports were exhausted"
	case throughout == 0:
		return fmt.Sprintf("%d episodes", s.Episodes)
	case s.Episodes == 0:
		return fmt.Sprintf("port spaces at their ceiling throughout: %d, so that no episode begins", throughout)
	}
	return fmt.Sprintf("%d episodes, port spaces at their ceiling throughout: %d", s.Episodes, throughout)
}

// writePeaks ends the report of records: what was held against the budget.
func (s *Summary) writePeaks(b *strings.Builder) {
	if len(s.Peaks) > 0 {
		b.WriteString("\nHeld against the budget, the fullest first\n\n")
	}
	for i := range s.Peaks {
		fmt.Fprintf(b, "  %s\n", s.Peaks[i].line())
	}
	if s.MorePeaks > 0 {
		fmt.Fprintf(b, "  and %d destinations more\n", s.MorePeaks)
	}
}

// tables are the whole report, as text and page show it.
func (s *Summary) tables() []*table {
	var all []*table
	if len(s.Targets) > 0 {
		all = append(all, s.targetTable())
	}
	if len(s.Methods) == 0 {
		return all
	}
	all = append(all, s.methodTable())
	all = append(all, s.pointTables()...)
	all = append(all, s.groupTable())
	if len(s.Cells) > len(s.Groups) {
		all = append(all, s.cellTable())
	}
	all = append(all, s.pageTable())
	if s.method(NameOracle).Name != "" {
		all = append(all, s.oracleTable(), s.oraclePageTable())
	}
	m := s.method(NameForecast)
	all = append(all, calibrationTable("Calibration of the forecast: predicted -> observed (number of predictions), "+
		"everything together", m.Calibration, m.CalibrationError))
	if f := s.Foresight; f != nil {
		all = append(all, f.table())
	}
	return append(all, s.incidentTables()...)
}

func (s *Summary) targetTable() *table {
	t := &table{title: "What was asked, and what came: got (asked)"}
	t.row("", "60 s", "5 min", "15 min", "60 min", "best peer")
	for _, target := range s.Targets {
		row := []string{target.Text}
		sign := ">="
		if target.AtMost {
			sign = "<="
		}
		for h := range horizons {
			cell := figure(float64(target.Got[h]), 2)
			if want := float64(target.Want[h]); !math.IsNaN(want) {
				cell += fmt.Sprintf(" (%s %s)", sign, figure(want, 2))
			}
			switch met, known := target.Met(h); {
			case met:
				cell += "   ok"
			case known:
				cell += " miss"
			}
			row = append(row, cell)
		}
		t.row(append(row, unique(target.Peer))...)
	}
	return t
}

// unique joins the names that differ.
func unique(names [horizons]string) string {
	s := ""
	for i, n := range names {
		if n != "" && (i == 0 || names[i-1] != n) {
			if s != "" {
				s += ", "
			}
			s += n
		}
	}
	return s
}

func (s *Summary) methodTable() *table {
	t := &table{title: fmt.Sprintf("Methods, at 60 s / 5 min / 15 min / 60 min: average precision (mean over %s), Brier "+
		"skill\n(peers: after isotonic regression), mean absolute error in ports, share of what came inside the 90 %% band",
		s.groups())}
	t.row("", "AP", "Brier skill", "MAE", "coverage")
	for _, m := range s.Methods {
		t.row(m.Name, figures(m.AP, 3), figures(m.Skill, 3), figures(m.MAE, 1), figures(m.Coverage, 2))
	}
	return t
}

func (s *Summary) pointTables() []*table {
	var all []*table
	fitted := "other seeds"
	if len(s.Targets) == 0 {
		fitted = "the scenarios"
	}
	for h, name := range s.Horizons {
		t := &table{title: fmt.Sprintf("Warnings for the horizon %s, thresholds fitted on %s unless named: F1, precision "+
			"and recall of\npredictions (means over %s); episodes detected, median lead, false alarms a day, share of time on",
			name, fitted, s.groups())}
		t.row("", "threshold", "F1", "precision", "recall", "detected", "lead s", "false/day", "on")
		for _, p := range s.Points {
			t.row(p.Name, figure(float64(p.Thresholds[h]), 3), figure(float64(p.F1[h]), 3),
				figure(float64(p.Precision[h]), 2), figure(float64(p.Recall[h]), 2), figure(float64(p.Detected[h]), 2),
				figure(float64(p.Lead[h]), 0), figure(float64(p.FalsePerDay[h]), 1), figure(float64(p.OnShare[h]), 3))
		}
		all = append(all, t)
	}
	return all
}

// bestPeer returns the best AP of a peer.
func (s *Summary) bestPeer(ap map[string][horizons]Number, h int) (best Number, name string) {
	for _, m := range s.Methods {
		if m.Kind == KindPeer && ap[m.Name][h] > best {
			best, name = ap[m.Name][h], m.Name
		}
	}
	return best, name
}

func (s *Summary) groupTable() *table {
	t := &table{title: "Average precision of the forecast beside the best peer's, and mean absolute error / persistence's"}
	t.row("", "budget", "ceiling", "episodes", "60 s", "", "5 min", "", "15 min", "", "60 min", "", "MAE")
	for _, g := range s.Groups {
		row := []string{g.Name, strconv.Itoa(g.Nominal), strconv.Itoa(g.Ports), strconv.Itoa(g.Episodes)}
		var ratio [horizons]Number
		for h := range horizons {
			best, name := s.bestPeer(g.AP, h)
			peer := ""
			if name != "" {
				peer = figure(float64(best), 2) + " " + name
			}
			row = append(row, figure(float64(g.AP[NameForecast][h]), 2), peer)
			ratio[h] = g.MAE[NameForecast][h] / g.MAE[NameUtilisation][h]
		}
		t.row(append(row, figures(ratio, 2))...)
	}
	return t
}

func (s *Summary) cellTable() *table {
	t := &table{title: "Average precision and mean absolute error against persistence, by scenario and profile"}
	t.row("", "budget", "ceiling", "cool-down", "episodes", "AP ours", "AP utilisation", "MAE ours / persistence")
	for _, c := range s.Cells {
		var ratio [horizons]Number
		for h := range horizons {
			ratio[h] = c.MAE[NameForecast][h] / c.MAE[NameUtilisation][h]
		}
		t.row(c.Group+" "+c.Member, strconv.Itoa(c.Nominal), strconv.Itoa(c.Ports), exact(float64(c.CoolDown))+" s",
			strconv.Itoa(c.Episodes),
			figures(c.AP[NameForecast], 2), figures(c.AP[NameUtilisation], 2), figures(ratio, 2))
	}
	return t
}

func (s *Summary) pageTable() *table {
	t := &table{title: fmt.Sprintf("The page as shipped: urgency >= %v, cleared at P(5 min) below %v, asked every "+
		"%s s from three moments on, kept for %s s, where ports are scarce for %s s",
		detector.PageRaise, detector.PageClear, exact(detector.PageEvery.Seconds()), exact(detector.PageKeep.Seconds()),
		exact(detector.PageScarceKeep.Seconds()))}
	t.row("", "cool-down", "episodes", "detected", "lead s", "false/day", "on", "false at start", "starts")
	for _, c := range s.Cells {
		p := &c.Page
		t.row(strings.TrimSpace(c.Group+" "+c.Member), exact(float64(c.CoolDown))+" s", strconv.Itoa(p.Episodes),
			figure(float64(p.Detected), 2),
			figure(float64(p.Lead), 0), figure(float64(p.FalsePerDay), 1), figure(100*float64(p.OnShare), 1)+" %",
			figure(float64(p.AtStart), 1), strconv.Itoa(p.Starts))
	}
	return t
}

// table is the calibration, with the Brier skill below.
func (f *ForesightSummary) table() *table {
	t := calibrationTable(fmt.Sprintf("Calibration without hindsight: ceilings of %d port spaces from the first half of "+
		"each record, judged on the second", f.Spaces),
		f.Calibration, f.Error)
	for _, line := range []struct {
		name string
		of   [horizons]Number
	}{{"rate of exhaustion", f.BaseRate}, {"Brier skill", f.Skill}} {
		row := []string{line.name}
		for _, x := range line.of {
			row = append(row, figure(float64(x), 3))
		}
		t.row(row...)
	}
	return t
}

func calibrationTable(title string, calibration [horizons][]CalibrationLevel, distance [horizons]Number) *table {
	t := &table{title: title}
	row := []string{"predicted"}
	t.row(append(row, "60 s", "5 min", "15 min", "60 min")...)
	for bin := range score.CalibrationBins {
		row := []string{fmt.Sprintf("%.1f-%.1f", float64(bin)/score.CalibrationBins, float64(bin+1)/score.CalibrationBins)}
		for h := range horizons {
			cell := "-"
			if levels := calibration[h]; bin < len(levels) && levels[bin].N > 0 {
				l := levels[bin]
				cell = fmt.Sprintf("%.3f -> %.3f (%d)", float64(l.Predicted), float64(l.Observed), l.N)
			}
			row = append(row, cell)
		}
		t.row(row...)
	}
	row = []string{"mean distance"}
	for h := range horizons {
		row = append(row, figure(float64(distance[h]), 3))
	}
	t.row(row...)
	return t
}

// writeIncident prints how each alarm did in the slow-store scenario: the 60 s warning, and
// with a long cool-down the 5-minute one.
func (s *Summary) incidentTables() []*table {
	var all []*table
	for _, c := range s.Cells {
		if c.Group != "slow" {
			continue
		}
		h := 0
		if c.CoolDown > 60 {
			h = 1
		}
		t := &table{title: fmt.Sprintf("Slow store with a cool-down of %s s: warnings for the horizon %s, %d episodes",
			exact(float64(c.CoolDown)), s.Horizons[h], c.Episodes)}
		t.row("", "threshold", "detected", "lead s", "false/day", "on")
		for _, p := range c.Points {
			t.row(p.Name, figure(float64(p.Thresholds[h]), 3), figure(float64(p.Detected[h]), 2), figure(float64(p.Lead[h]), 0),
				figure(float64(p.FalsePerDay[h]), 1), figure(float64(p.OnShare[h]), 3))
		}
		all = append(all, t)
	}
	return all
}

// groups says what the groups are.
func (s *Summary) groups() string {
	if len(s.Targets) > 0 {
		return "scenarios"
	}
	return "port spaces"
}

// oracleTable compares the forecast with the oracle, by scenario.
func (s *Summary) oracleTable() *table {
	t := &table{title: fmt.Sprintf("Average precision of the forecast / of an oracle that knows the present rate and "+
		"law of lifetimes (judged every %d s)", soonEvery)}
	t.row("", "episodes", "60 s", "5 min", "15 min", "60 min")
	row := func(name, episodes string, ap func(method string) [horizons]Number) {
		ours, best := ap(NameForecast), ap(NameOracle)
		cells := []string{name, episodes}
		for h := range horizons {
			cells = append(cells, figure(float64(ours[h]), 2)+" / "+figure(float64(best[h]),
				2)+" = "+figure(float64(ours[h]/best[h]), 2))
		}
		t.row(cells...)
	}
	for _, g := range s.Groups {
		if g.Episodes > 0 {
			row(g.Name, strconv.Itoa(g.Episodes), func(method string) [horizons]Number { return g.AP[method] })
		}
	}
	row("mean", strconv.Itoa(s.Episodes), func(method string) [horizons]Number { return s.method(method).AP })
	skill := []string{"Brier skill", ""}
	for h := range horizons {
		skill = append(skill, figure(float64(s.method(NameForecast).Skill[h]), 2)+" / "+figure(float64(s.method(NameOracle).
			Skill[h]), 2))
	}
	t.row(skill...)
	return t
}

// oraclePageTable says what a page on the oracle would do.
func (s *Summary) oraclePageTable() *table {
	t := &table{title: "The page as shipped, on the forecast / on the oracle"}
	t.row("", "cool-down", "episodes", "detected", "lead s", "false/day")
	for _, c := range s.Cells {
		p, q := &c.Page, &c.Ideal
		pair := func(x, y Number, decimals int) string {
			return figure(float64(x), decimals) + " / " + figure(float64(y), decimals)
		}
		t.row(c.Group+" "+c.Member, exact(float64(c.CoolDown))+" s", strconv.Itoa(p.Episodes),
			pair(p.Detected, q.Detected, 2), pair(p.Lead, q.Lead, 0), pair(p.FalsePerDay, q.FalsePerDay, 1))
	}
	return t
}
