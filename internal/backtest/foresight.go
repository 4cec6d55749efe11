package backtest

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// foresightLeast is how many seconds half a record must last to be judged with foresight.
const foresightLeast = 600

// foresightShares are the ceilings of a port space that is judged with foresight, in shares of the
// most that it held in the first half of its record.
func foresightShares() []float64 { return []float64{0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5} }

// Foresight is what the forecast's probabilities are worth where nobody chose the ceiling knowing what
// came: each is set from the first half of a record and judged on the second.
type Foresight struct {
	// Spaces is the number of port spaces, each with several ceilings.
	Spaces      int
	Reliability [horizons]score.Reliability
}

// foresightJobs are the replays of one port space of a record, one for each ceiling; none where it is
// too short or holds too little.
func (j recordJob) foresightJobs(held []int32) []recordJob {
	from, half := int(j.cfg.WarmUp/j.cfg.Tick), len(held)/2
	if time.Duration(half-from)*j.cfg.Tick < foresightLeast*time.Second {
		return nil
	}
	top := slices.Max(held[from:half])
	var jobs []recordJob
	last := 0
	for _, share := range foresightShares() {
		ports := int(math.Ceil(share * float64(top)))
		if ports < leastPorts || ports == last {
			continue
		}
		last = ports
		k := j
		k.cfg.WarmUp, k.cfg.Charts = time.Duration(half)*j.cfg.Tick, false
		k.budget = staticBudget(ports, j.budget.TCP.CoolDown[collector.FIN])
		jobs = append(jobs, k)
	}
	return jobs
}

// foresee replays the port spaces of jobs under ceilings set with foresight.
func foresee(ctx context.Context, parallel int, jobs []recordJob, advanced func(time.Duration)) (*Foresight, error) {
	f := &Foresight{}
	var all []recordJob
	for _, j := range jobs {
		if len(j.foresight) > 0 {
			f.Spaces++
			all = append(all, j.foresight...)
		}
	}
	cells, err := judgeAll(ctx, parallel, all, func(ctx context.Context, j recordJob) ([]*Cell, error) {
		cells, err := j.judge(ctx, nil, &Fitted{}, nil, advanced)
		for _, c := range cells {
			c.ranks = nil // of no use, and most of what a cell takes
		}
		return cells, err
	})
	if err != nil {
		return nil, err
	}
	for _, c := range cells {
		for h := range horizons {
			f.Reliability[h].Merge(&c.Methods[0].Horizons[h].Reliability)
		}
	}
	return f, nil
}

// ForesightSummary is how the forecast's probabilities did under ceilings that were set from the first
// half of each record and judged on the second.
type ForesightSummary struct {
	Spaces      int                          `json:"port_spaces"`
	Predictions [horizons]int                `json:"predictions"`
	BaseRate    [horizons]Number             `json:"base_rate"`
	Skill       [horizons]Number             `json:"brier_skill"`
	Error       [horizons]Number             `json:"calibration_error"`
	Calibration [horizons][]CalibrationLevel `json:"calibration"`
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
