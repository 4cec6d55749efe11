package agent

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// What EC2's own connection tracking leaves to an interface is forecast from its own pace, and a notice says so before
// nothing is left. An interface whose driver does not tell has neither.
func TestAllowances(t *testing.T) {
	t.Parallel()
	var a allowances
	now := collector.Time(1)
	look := func(err error, list ...limits.Allowance) (shown []metrics.Allowance, notices string) {
		t.Helper()
		if !a.due(now) {
			t.Errorf("not due after %v", allowanceEvery)
		}
		notices = strings.Join(a.look(now, list, err), "\n")
		if a.due(now.Add(allowanceEvery - time.Second)) {
			t.Error("due again at once")
		}
		now = now.Add(allowanceEvery)
		return *a.shown.Load(), notices
	}
	older := limits.Allowance{Interface: "ens6", Exceeded: 7}
	at := func(available uint64) limits.Allowance {
		return limits.Allowance{Interface: "ens5", Available: available, Known: true}
	}
	never := math.Inf(1)
	for _, step := range []struct {
		name    string
		looks   int
		left    func(i int) uint64
		seconds float64 // after the last look, 0 to 5 % more
		known   bool
		notice  string
	}{
		{"at first nothing is known of the pace", 1, func(int) uint64 { return 130_000 }, 0, false, ""},
		{"at rest", 30, func(int) uint64 { return 130_000 }, never, true, ""},
		{"100 a second", 30, func(i int) uint64 { return 130_000 - 1500*uint64(i+1) }, 850, true, ""},
		{"on", 25, func(i int) uint64 { return 85_000 - 1500*uint64(i+1) }, 475, true, "ens5 is used up within 10 minutes"},
		{"used up", 2, func(int) uint64 { return 0 }, 0, true, "ens5 is used up: then EC2 drops"},
		{"most connections end", 24, func(int) uint64 { return 120_000 }, never, true, ""},
		{"little is left", 24, func(int) uint64 { return 12_000 }, never, true, "ens5 has less than 20 % left of the 130000"},
		{"a little more", 24, func(int) uint64 { return 25_000 }, never, true, "ens5 has less than 20 % left of the 130000"},
		{"and more", 24, func(int) uint64 { return 30_000 }, never, true, ""},
	} {
		var shown []metrics.Allowance
		notice := ""
		for i := range step.looks {
			shown, notice = look(nil, at(step.left(i)), older)
		}
		got := shown[0]
		if got.Forecast != step.known || got.SecondsToExhaustion < step.seconds ||
			got.SecondsToExhaustion > step.seconds*1.05 {
			t.Errorf("%s: %v s, known %v; want %v, %v", step.name, got.SecondsToExhaustion, got.Forecast, step.seconds, step.known)
		}
		if (notice == "") != (step.notice == "") || !strings.Contains(notice, step.notice) {
			t.Errorf("%s: notice %q, want %q", step.name, notice, step.notice)
		}
		if diff := cmp.Diff(metrics.Allowance{Interface: "ens6", Exceeded: 7}, shown[1]); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", step.name, diff)
		}
	}
	if shown, notice := look(errors.New("no such device"), at(3)); len(shown) != 0 || notice != "" {
		t.Errorf("unreadable: %v, %q", shown, notice)
	}
}
