package backtest

import (
	"sync/atomic"
	"time"
)

// Config of a backtest. The zero value works.
type Config struct {
	// Tick of the ledger; default 1 s. Predictions are judged every Every; default 5 s.
	Tick, Every time.Duration
	// WarmUp is how long nothing is judged; default 15 minutes.
	WarmUp time.Duration
	// Hours that a run of a scenario lasts (day and night nine times as long); default 8.
	Hours float64
	// Seeds to judge on; default 3. TrainSeeds other ones to fit thresholds on; default 2.
	Seeds, TrainSeeds int
	// Untrained takes the thresholds that are built in.
	Untrained bool
	// FirstSeed to judge on; default 1.
	FirstSeed uint64
	// Oracle also judges an oracle. It takes scenarios of one destination, and a tick of a second.
	Oracle bool
	// Variants of the ledger; default the one that the agent runs.
	Variants []Variant
	// Charts keeps what the page draws.
	Charts bool
	// Parallel is how many runs go on at once; 0 means one.
	Parallel int
	// Progress, when set, is called with the share that is done, from several goroutines.
	Progress func(done float64)
}

// firstTrainSeed keeps training apart from judging.
const firstTrainSeed = 1000

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Tick, time.Second)
	if c.Oracle {
		set(&c.Every, soonEvery*time.Second)
	}
	set(&c.Every, 5*time.Second)
	set(&c.WarmUp, 15*time.Minute)
	if c.Hours == 0 {
		c.Hours = 8
	}
	if c.Seeds == 0 {
		c.Seeds = 3
	}
	if c.TrainSeeds == 0 {
		c.TrainSeeds = 2
	}
	if c.FirstSeed == 0 {
		c.FirstSeed = 1
	}
	if len(c.Variants) == 0 {
		c.Variants = []Variant{{Name: NameForecast}}
	}
	c.Parallel = max(1, c.Parallel)
	return c
}

// runs is how many each scenario and profile has.
func (c *Config) runs() int {
	if c.Untrained {
		return c.Seeds
	}
	return c.Seeds + c.TrainSeeds
}

// meter adds up what is done of total, for Progress; nil without it.
func (c *Config) meter(total time.Duration) func(time.Duration) {
	if c.Progress == nil || total <= 0 {
		return nil
	}
	var done atomic.Int64
	return func(d time.Duration) { c.Progress(float64(done.Add(int64(d))) / float64(total)) }
}
