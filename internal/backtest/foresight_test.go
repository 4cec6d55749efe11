package backtest

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// On recorded flows the held ports ahead are known better than by saying that they stay, and, where nobody
// chose the ceiling knowing what came, probabilities beat the rate of exhaustion, which they do not know, and lie
// close to what came.
func TestRecordedFlows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.csv.gz")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d records, %v", len(files), err)
	}
	r := record.Reader{Now: now}
	records, err := r.ReadFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	var terms []Terms
	for _, d := range (&Command{}).assumed() {
		terms = append(terms, Terms{CoolDown: d})
	}
	res, err := RunRecords(context.Background(), Options{Terms: terms}, records)
	if err != nil {
		t.Fatal(err)
	}
	f := res.Foresight
	if f.Spaces < 10 {
		t.Fatalf("%d port spaces", f.Spaces)
	}
	for h, want := range []struct{ skill, apart float64 }{{0.1, 0.03}, {0.14, 0.08}, {0.22, 0.07}} {
		rel := &f.Reliability[h]
		if skill, apart := rel.Skill(), rel.Error(); !(skill >= want.skill) || !(apart <= want.apart) {
			t.Errorf("%s: Brier skill %.3f, want at least %.2f; mean distance %.3f, want at most %.2f",
				horizonNames()[h], skill, want.skill, apart, want.apart)
		}
	}
	sum := res.Summarize()
	ours, persistence := sum.method(NameForecast), sum.method(NameUtilisation)
	if !(ours.AP[0] > persistence.AP[0]) {
		t.Errorf("1m: average precision %.3f, want above the utilisation's %.3f", ours.AP[0], persistence.AP[0])
	}
	for h, most := range map[int]Number{0: 0.92, 2: 1} {
		if ratio := ours.MAE[h] / persistence.MAE[h]; !(ratio <= most) {
			t.Errorf("%s: mean absolute error %.4f of persistence's, want at most %v", horizonNames()[h], ratio, most)
		}
	}
}

func TestForesightJobs(t *testing.T) {
	t.Parallel()
	held := make([]int32, 4000)
	for k := range held {
		held[k] = int32(10 + k/100)
	}
	j := recordJob{cfg: Config{Tick: time.Second, WarmUp: time.Minute}, budget: staticBudget(1, 0)}
	var got []int
	for _, k := range j.foresightJobs(held) {
		if k.cfg.WarmUp != 2000*time.Second {
			t.Errorf("judged after %v, want the first half", k.cfg.WarmUp)
		}
		got = append(got, k.budget.TCP.Ports)
	}
	// The first half holds at most 29.
	if want := []int{15, 18, 21, 24, 27, 29, 32, 37, 44}; !slices.Equal(got, want) {
		t.Errorf("ceilings %v, want %v", got, want)
	}
	if js := j.foresightJobs(held[:1200]); js != nil {
		t.Errorf("%d jobs of a record of 20 minutes", len(js))
	}
	for k := range held {
		held[k] = 2
	}
	if js := j.foresightJobs(held); js != nil {
		t.Errorf("%d jobs of a space of two ports", len(js))
	}
}
