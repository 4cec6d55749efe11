package backtest

import (
	"math"
	"time"
)

// Kind of a method.
const (
	KindForecast = "forecast"
	KindAblation = "ablation"
	KindPeer     = "peer"
)

// Result of a backtest.
type Result struct {
	Config Config
	Fitted *Fitted
	Cells  []*Cell
	// Foresight is nil for scenarios.
	Foresight *Foresight
	// Scenarios: the cells are generated; targets are stated for those.
	Scenarios bool
	// Peaks are what records held against their budgets; MorePeaks is how many are not among them. There are none where
	// ceilings were chosen.
	Peaks     []Peak
	MorePeaks int
	// Chosen: ceilings were chosen for the port spaces of the records.
	Chosen bool
	// Took is filled by the caller, who has a clock.
	Took time.Duration
}

// Summary is a result in figures. Arrays by horizon have 1m, 5m, 15m, 1h.
type Summary struct {
	Horizons [horizons]string `json:"horizons"`
	Runs     int              `json:"runs"`
	// Hours that a run of a scenario lasts; null for records, of which the groups tell the days.
	Hours       Number `json:"hours"`
	TickSeconds Number `json:"tick_seconds"`
	Episodes    int    `json:"episodes"`
	Predictions int    `json:"predictions"`
	TookSeconds Number `json:"took_seconds"`
	// Nothing says why nothing was judged; "" where something was.
	Nothing string          `json:"nothing_judged,omitempty"`
	Methods []MethodSummary `json:"methods"`
	Points  []PointSummary  `json:"points"`
	Groups  []GroupSummary  `json:"groups"`
	Cells   []CellSummary   `json:"cells"`
	Targets []Target        `json:"targets,omitempty"`
	// Peaks are of records under a budget; MorePeaks is how many destinations are not among them.
	Peaks     []Peak `json:"peaks,omitempty"`
	MorePeaks int    `json:"more_peaks,omitempty"`
	// Foresight is of records whose ceilings were chosen.
	Foresight *ForesightSummary `json:"foresight,omitempty"`
}

// MethodSummary is a method over all groups.
type MethodSummary struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// AP is the mean over the groups that have episodes.
	AP [horizons]Number `json:"ap"`
	// Brier, Skill, CalibrationError and Calibration pool all predictions.
	Brier            [horizons]Number             `json:"brier"`
	Skill            [horizons]Number             `json:"brier_skill"`
	CalibrationError [horizons]Number             `json:"calibration_error"`
	Calibration      [horizons][]CalibrationLevel `json:"calibration"`
	// MAE is the mean over groups, in ports; Coverage of the 90 % band pools all.
	MAE      [horizons]Number `json:"mae"`
	Coverage [horizons]Number `json:"coverage_90"`
}

// CalibrationLevel is a bin of a calibration table.
type CalibrationLevel struct {
	N         int    `json:"n"`
	Predicted Number `json:"predicted"`
	Observed  Number `json:"observed"`
}

// PointSummary is an operating point over all groups: F1, precision and recall are means
// over the groups that have episodes, the rest pools them.
type PointSummary struct {
	Name           string           `json:"name"`
	Method         string           `json:"method"`
	Thresholds     [horizons]Number `json:"thresholds"`
	F1             [horizons]Number `json:"f1"`
	Precision      [horizons]Number `json:"precision"`
	Recall         [horizons]Number `json:"recall"`
	Detected       [horizons]Number `json:"detected"`
	Lead           [horizons]Number `json:"lead_seconds"`
	FalsePerDay    [horizons]Number `json:"false_alarms_per_day"`
	OnShare        [horizons]Number `json:"share_of_time_on"`
	EpisodesJudged [horizons]int    `json:"episodes_judged"`
}

// GroupSummary is one scenario, or one record.
type GroupSummary struct {
	Name     string                      `json:"name"`
	Nominal  int                         `json:"budget_ports"`
	Ports    int                         `json:"effective_ports"`
	Episodes int                         `json:"episodes"`
	Days     Number                      `json:"days"`
	AP       map[string][horizons]Number `json:"ap"`
	MAE      map[string][horizons]Number `json:"mae"`
}

// CellSummary is one scenario and profile, or one port space of a record.
type CellSummary struct {
	Group       string           `json:"group"`
	Member      string           `json:"member"`
	Nominal     int              `json:"budget_ports"`
	Ports       int              `json:"effective_ports"`
	CoolDown    Number           `json:"cooldown_seconds"`
	Runs        int              `json:"runs"`
	Episodes    int              `json:"episodes"`
	Days        Number           `json:"days"`
	Predictions int              `json:"predictions"`
	BaseRate    [horizons]Number `json:"base_rate"`
	// LedgerApart is by how many ports the ledger and an independent count differed at most.
	LedgerApart int                         `json:"ledger_apart"`
	AP          map[string][horizons]Number `json:"ap"`
	MAE         map[string][horizons]Number `json:"mae"`
	Skill       map[string][horizons]Number `json:"brier_skill"`
	Points      []PointSummary              `json:"points"`
	Page        PageSummary                 `json:"shipped_page"`
	// Ideal is the same page on an oracle; it means something only if there was one.
	Ideal PageSummary `json:"ideal_page"`
}

// Target is a figure that the forecast should reach.
type Target struct {
	Text string           `json:"text"`
	Got  [horizons]Number `json:"got"`
	// Want is null where nothing was asked; Peer is what the best peer got, where one is meant.
	Want   [horizons]Number `json:"want"`
	Peer   [horizons]string `json:"peer"`
	AtMost bool             `json:"at_most"`
}

// Met says whether the figure of horizon h is reached; known is false where nothing was asked, or nothing
// could be measured.
func (t Target) Met(h int) (met, known bool) {
	want, got := float64(t.Want[h]), float64(t.Got[h])
	if math.IsNaN(want) || math.IsNaN(got) || math.IsInf(got, 0) {
		return false, false
	}
	if t.AtMost {
		return got <= want, true
	}
	return got >= want, true
}

func (s *Summary) method(name string) *MethodSummary {
	for i := range s.Methods {
		if s.Methods[i].Name == name {
			return &s.Methods[i]
		}
	}
	return &MethodSummary{}
}

// PageSummary is how the page did that is shipped: from the first second on, and over all port spaces.
type PageSummary struct {
	Episodes    int    `json:"episodes"`
	Detected    Number `json:"detected"`
	Lead        Number `json:"lead_seconds"`
	FalsePerDay Number `json:"false_pages_per_day"`
	OnShare     Number `json:"share_of_time_on"` // outside episodes
	// AtStart are the false ones within a quarter of an hour of one of Starts.
	AtStart Number `json:"false_pages_at_start"`
	Starts  int    `json:"starts"`
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
