package backtest

import (
	"bytes"
	"math"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// The constants that a computer found are those that it finds today: the factory of the forecast by
// `backtest --train --hours=4 --train-seeds=1`, the thresholds by `backtest --scenario=all`. Where the forecast changed,
// run them and put in what they print.
func TestTrainingFindsTheConstants(t *testing.T) {
	if os.Getenv("SNATWATCH_TRAIN") == "" {
		t.Skip("minutes of two cores; runs with SNATWATCH_TRAIN=1: the factory in .ci/run, the thresholds in .ci/bench")
	}
	t.Run("factory", func(t *testing.T) {
		var out bytes.Buffer
		cfg := Config{Hours: 4, TrainSeeds: 1, Parallel: runtime.GOMAXPROCS(0)}
		if err := TrainFactory(t.Context(), cfg, &out); err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile("../../detector/forecast/factory.go")
		if err != nil {
			t.Fatal(err)
		}
		found, stand := constantsOf(t, out.String()), constantsOf(t, string(source))
		for _, c := range []struct {
			what string
			far  float64 // a difference that rounding and the order of additions do not make
			of   func(constants) []float64
		}{
			{"tails", 0.005, func(c constants) []float64 { return c.tails }},
			{"shares of kinds", 0.01, func(c constants) []float64 { return c.shares }},
			// Those of 15 and 60 minutes are kept from before the quiet loads: see README.md.
			{"calibration of 60 s and 5 min", 0.05, func(c constants) []float64 { return c.calibration[:4] }},
		} {
			got, want := c.of(found), c.of(stand)
			if len(got) != len(want) || len(got) == 0 {
				t.Errorf("%s: training finds %d numbers, factory.go has %d", c.what, len(got), len(want))
				continue
			}
			for i := range got {
				if math.Abs(got[i]-want[i]) > c.far {
					t.Errorf("%s: number %d is %v in factory.go, training finds %v", c.what, i, want[i], got[i])
				}
			}
		}
	})
	t.Run("thresholds", func(t *testing.T) {
		cfg := Config{Parallel: runtime.GOMAXPROCS(0)}
		cfg = cfg.withDefaults()
		found, err := trainAll(t.Context(), cfg, jobsOf(scenario.All(), scenario.Profiles()), cfg.meter(1))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range builtinThresholds() {
			got, ok := found.Thresholds[name]
			if !ok {
				t.Errorf("%s: no threshold was fitted", name)
			}
			for h := range horizons {
				// They are printed with three digits.
				if math.Abs(got[h]-want[h]) > 0.0006*max(1, want[h]) {
					t.Errorf("%s, horizon %d: the threshold is %v, training finds %v", name, h, want[h], got[h])
				}
			}
		}
	})
}

// constants are those of the factory, in the order of its source.
type constants struct{ tails, shares, calibration []float64 }

var number = regexp.MustCompile(`-?\d+(\.\d+)?(e-?\d+)?`)

// constantsOf reads the literals that the factory's source and the training's output have alike.
func constantsOf(t *testing.T, goText string) constants {
	t.Helper()
	between := func(from, to string) (xs []float64) {
		_, rest, ok := strings.Cut(goText, from)
		if !ok {
			t.Fatalf("%q is missing in %.200s", from, goText)
		}
		body, _, _ := strings.Cut(rest, to)
		for _, s := range number.FindAllString(body, -1) {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			xs = append(xs, x)
		}
		return xs
	}
	return constants{
		tails:       between("kindTails{\n", "kindShares{"),
		shares:      between("kindShares{\n", "\n\t}\n"),
		calibration: between("return [detector.NumHorizons]calibration{", "\n"),
	}
}
