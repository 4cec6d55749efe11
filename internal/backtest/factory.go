package backtest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/forecast"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// kinds is how many kinds of load are told apart.
const kinds = 4

// lesson is what the forecasts of one scenario and profile teach, by horizon.
type lesson struct {
	residuals [horizons][forecast.TailBins]float64
	said      [horizons][]saying
}

// saying is the log-odds of a probability, and what came.
type saying struct {
	logit float64
	hit   bool
}

func (l *lesson) judged(j forecast.Judged) {
	l.residuals[j.Horizon][forecast.TailBin(j.Residual)]++
	if !j.Exhausted {
		p := min(max(j.Said, 1e-6), 1-1e-6)
		l.said[j.Horizon] = append(l.said[j.Horizon], saying{math.Log(p / (1 - p)), j.Hit})
	}
}

// TrainFactory replays the training seeds of all scenarios and loads, and writes the constants of the factory that they
// lead to as Go: the tails of the kinds of load, and the calibration. A calibration is right for the tails it was found
// with: where those changed, train again.
func TrainFactory(ctx context.Context, cfg Config, out io.Writer) error {
	cfg = cfg.withDefaults()
	jobs := jobsOf(scenario.All(), scenario.Profiles())
	compared := len(jobs)
	jobs = append(jobs, jobsOf(scenario.Loads(), scenario.Profiles())...)
	var total time.Duration
	for _, j := range jobs {
		total += time.Duration(j.scenario.Length * cfg.Hours * float64(cfg.TrainSeeds) * float64(time.Hour))
	}
	advanced := cfg.meter(total)
	lessons := make([]lesson, len(jobs))
	err := forEach(ctx, cfg.Parallel, jobs, func(ctx context.Context, i int, j job) error {
		cfg := cfg
		cfg.Variants = []Variant{{NameForecast, ledger.Config{Judged: lessons[i].judged}}}
		for seed := range cfg.TrainSeeds {
			if _, err := j.run(ctx, cfg, uint64(firstTrainSeed+seed), nil, advanced); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\treturn kindTails{\n")
	var common [horizons][kinds]float64
	for h := range horizons {
		tails, shares := mixture(lessons, compared, h)
		common[h] = shares
		b.WriteString("\t\t{\n")
		for _, t := range tails {
			b.WriteString("\t\t\t{\n")
			for row := range slices.Chunk(t[:], 8) {
				fmt.Fprintf(&b, "\t\t\t\t%s,\n", joined(row))
			}
			b.WriteString("\t\t\t},\n")
		}
		b.WriteString("\t\t},\n")
	}
	b.WriteString("\t}, kindShares{\n")
	for _, shares := range common {
		fmt.Fprintf(&b, "\t\t{%s},\n", joined(shares[:]))
	}
	b.WriteString("\t}\n\n\treturn [detector.NumHorizons]calibration{")
	for h := range horizons {
		offset, slope := logistic(lessons[:compared], h)
		offset, slope = forecast.Calibrated(h, offset, slope)
		fmt.Fprintf(&b, "{%.2f, %.2f}, ", offset, slope)
	}
	_, err = io.WriteString(out, strings.TrimSuffix(b.String(), ", ")+"}\n")
	return err
}

func joined(xs []float64) string {
	var s []string
	for _, x := range xs {
		s = append(s, fmt.Sprintf("%.3g", x))
	}
	return strings.Join(s, ", ")
}

// tail says how often a residual falls into each bin; the bins come from the calm to the wild.
type tail = [forecast.TailBins]float64

// loadTail is the tail of one scenario and profile. compared: it is one of the scenarios in which something happens.
type loadTail struct {
	tail     tail
	compared bool
}

// mixture finds the kinds of load by expectation maximisation: each scenario and profile is of one kind, and its
// residuals have the tail of that kind. The kinds come from the calm to the wild. How common they are comes from the
// first lessons, which are so many: those of scenarios in which something happens, as a port space that is new may be
// one.
func mixture(lessons []lesson, compared, h int) (tails [kinds]tail, shares [kinds]float64) {
	const rounds = 60
	all := loadTails(lessons, compared, h)
	of := make([][kinds]float64, len(all)) // how sure it is that a load is of each kind
	for i := range of {
		of[i][i*kinds/len(all)] = 1
	}
	for range rounds {
		tails, shares = fitKinds(all, of)
		for i := range all {
			of[i] = kindOf(&all[i].tail, &tails, &shares)
		}
	}
	shares = [kinds]float64{}
	n := 0.0
	for i := range all {
		if all[i].compared {
			n++
			for k, r := range of[i] {
				shares[k] += r
			}
		}
	}
	for k := range shares {
		shares[k] = max(shares[k]/max(n, 1), 1e-3)
	}
	return tails, shares
}

// loadTails are the tails of the lessons that have residuals, the calmest first.
func loadTails(lessons []lesson, compared, h int) []loadTail {
	var all []loadTail
	for i := range lessons {
		sum := 0.0
		for _, n := range lessons[i].residuals[h] {
			sum += n
		}
		if sum == 0 {
			continue
		}
		share := lessons[i].residuals[h]
		for b := range share {
			share[b] /= sum
		}
		all = append(all, loadTail{share, i < compared})
	}
	high := func(t *tail) (mean float64) {
		for b, x := range t {
			mean += x * float64(b)
		}
		return mean
	}
	slices.SortStableFunc(all, func(a, b loadTail) int { return cmp.Compare(high(&a.tail), high(&b.tail)) })
	return all
}

// fitKinds returns the tail of each kind and how common it is. of says how sure it is that a load is of each kind.
func fitKinds(all []loadTail, of [][kinds]float64) (tails [kinds]tail, shares [kinds]float64) {
	const least = 2e-5 // of a bin that nothing fell into
	for i := range all {
		for k, r := range of[i] {
			shares[k] += r / float64(len(all))
			for b, x := range all[i].tail {
				tails[k][b] += r * x
			}
		}
	}
	for k := range tails {
		sum := 0.0
		for b := range tails[k] {
			tails[k][b] = max(tails[k][b]/max(shares[k]*float64(len(all)), 1e-9), least)
			sum += tails[k][b]
		}
		for b := range tails[k] {
			tails[k][b] /= sum
		}
	}
	return tails, shares
}

// kindOf returns how sure it is that a load with the tail t is of each kind.
func kindOf(t *tail, tails *[kinds]tail, shares *[kinds]float64) (of [kinds]float64) {
	const tells = 30 // independent residuals that a scenario counts for
	var ll [kinds]float64
	for k := range ll {
		ll[k] = math.Log(max(shares[k], 1e-9))
		for b, x := range t {
			ll[k] += tells * x * math.Log(tails[k][b])
		}
	}
	top, sum := slices.Max(ll[:]), 0.0
	for k := range ll {
		of[k] = math.Exp(ll[k] - top)
		sum += of[k]
	}
	for k := range ll {
		of[k] /= sum
	}
	return of
}

// logistic fits log-odds of what came to those that were said, each scenario and profile weighing the same.
func logistic(lessons []lesson, h int) (offset, slope float64) {
	slope = 1
	for range 30 {
		// A step of Newton's method, with a prior of some weight that nothing is to be corrected.
		const worth = 0.05
		ga, gb, aa, ab, bb := -worth*offset, -worth*(slope-1), worth, 0.0, worth
		for i := range lessons {
			w := 1 / float64(max(1, len(lessons[i].said[h])))
			for _, s := range lessons[i].said[h] {
				p := 1 / (1 + math.Exp(-offset-slope*s.logit))
				y := 0.0
				if s.hit {
					y = 1
				}
				v := w * p * (1 - p)
				ga += w * (y - p)
				gb += w * (y - p) * s.logit
				aa += v
				ab += v * s.logit
				bb += v * s.logit * s.logit
			}
		}
		det := aa*bb - ab*ab
		offset += (bb*ga - ab*gb) / det
		slope += (aa*gb - ab*ga) / det
	}
	return offset, slope
}
