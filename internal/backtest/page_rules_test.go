package backtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/rules"
)

// The page that is judged is the one that the rules ship.
func TestShippedPage(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	if got := o.Thresholds; got.Page != detector.PageRaise || got.PageClear != detector.PageClear {
		t.Errorf("the rules raise at %v and clear at %v, the backtest at %v and %v", got.Page, got.PageClear, detector.PageRaise, detector.PageClear)
	}
	horizon, err := time.ParseDuration(o.PageHorizon)
	if err != nil || horizon != detector.PageHorizon || detector.Horizons()[pageHorizon] != horizon {
		t.Errorf("the rules page %s ahead, the backtest %s: %v", o.PageHorizon, detector.PageHorizon, err)
	}
	for _, g := range o.Groups() {
		for _, a := range g.Alerts {
			if a.Name == "SnatExhaustionPredicted" && (a.For != 0 || a.KeepFiringFor != detector.PageKeep) {
				t.Errorf("the page waits %s and is kept %s, the backtest's is kept %s", a.For, a.KeepFiringFor, detector.PageKeep)
			}
			if a.Name != "SnatExhaustionPredicted" {
				continue
			}
			for _, want := range []string{
				fmt.Sprintf("[%.0fm]) >= %v", detector.PageScarceKeep.Minutes(), detector.PageClear),
				fmt.Sprintf(" >= 1 - clamp_min(%v / sqrt(", detector.PageNear),
				fmt.Sprintf("), %.4g)", 1-detector.PageFill),
			} {
				if !strings.Contains(a.Expr, want) {
					t.Errorf("the page has no %q: the backtest's stays so long where so much is held\n%s", want, a.Expr)
				}
			}
		}
	}
}
