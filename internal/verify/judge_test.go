package verify

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	full := func(open, failed int) Report {
		return Report{
			Attempted: open + failed, Open: open, Failed: failed, FirstFailed: open + 1, FailedFrom: open + 1,
			Causes: map[string]int{causeNoAnswer: failed}, Stopped: StoppedByFailures,
		}
	}
	with := func(r Report, change func(*Report)) Report {
		change(&r)
		return r
	}
	for _, tt := range []struct {
		name     string
		report   Report
		budget   Budget
		outcome  Outcome
		measured int
		text     string
	}{
		{"as many as the budget has", full(1024, 76), Budget{Ports: 1024}, Confirmed, 1024, "the budget of 1024 is confirmed"},
		{"ports held before count", with(full(524, 50), func(r *Report) { r.HeldBefore = 500 }), Budget{Ports: 1024}, Confirmed, 1024, "confirmed"},
		{
			"what cooled before came free in time", with(full(1024, 76), func(r *Report) { r.HeldBefore, r.CoolingBefore = 1024, 1024 }),
			Budget{Ports: 1024},
			Confirmed, 1024, "confirmed",
		},
		{
			"what cooled before did not come free", with(full(24, 76), func(r *Report) { r.HeldBefore, r.CoolingBefore = 1000, 900 }),
			Budget{Ports: 1024},
			Confirmed, 1024, "confirmed",
		},
		{
			"less than the budget, and some cooled", with(full(400, 76), func(r *Report) { r.HeldBefore, r.CoolingBefore = 112, 12 }),
			Budget{Ports: 1024},
			Contradicted, 512, "it is really 500 to 512",
		},
		{
			"more than the budget, whatever cooled", with(full(2000, 76), func(r *Report) { r.HeldBefore, r.CoolingBefore = 68, 20 }),
			Budget{Ports: 1024},
			Contradicted, 2048, "it is really 2048 or more",
		},
		{"a few were missed by a random picker", full(1010, 50), Budget{Ports: 1024, Effective: 942}, Confirmed, 1010, "confirmed"},
		{"twice as many", full(2048, 50), Budget{Ports: 1024}, Contradicted, 2048, "it is really 2048"},
		{"half as many", full(512, 50), Budget{Ports: 1024}, Contradicted, 512, "it is really 512"},
		{
			"more than the budget, up to the limit",
			Report{Attempted: 1500, Open: 1500, Stopped: StoppedByLimit},
			Budget{Ports: 1024},
			Contradicted, 0, "it is really 1500 or more",
		},
		{
			"fewer than the budget, up to the limit",
			Report{Attempted: 500, Open: 500, Stopped: StoppedByLimit},
			Budget{Ports: 1024},
			Inconclusive, 0, "ask for a limit of 1085",
		},
		{
			"the target refuses",
			Report{Attempted: 50, Failed: 50, FirstFailed: 1, FailedFrom: 1, Causes: map[string]int{"ECONNREFUSED": 50}},
			Budget{Ports: 1024},
			Inconclusive, 0, "the target refuses (RST)",
		},
		{
			"the target refuses from some number on",
			with(full(300, 50), func(r *Report) { r.Causes = map[string]int{"ECONNREFUSED": 50} }),
			Budget{Ports: 1024},
			Inconclusive, 0, "not for want of NAT ports",
		},
		{
			"nothing answers at all", full(0, 50),
			Budget{Ports: 1024},
			Inconclusive, 0, "nothing answers",
		},
		{
			"this machine's own ports",
			Report{
				Attempted: 900, Open: 899, Failed: 1, FirstFailed: 900, FailedFrom: 900,
				Causes: map[string]int{"EADDRNOTAVAIL": 1}, Stopped: StoppedByMachine,
			},
			Budget{Ports: 1024},
			Inconclusive, 0, "ip_local_port_range",
		},
		{
			"the target ends flows",
			with(full(600, 50), func(r *Report) { r.Lost = map[string]int{causeFIN: 300} }),
			Budget{Ports: 1024},
			Inconclusive, 0, "300 FIN",
		},
		{
			"interrupted",
			Report{Attempted: 300, Open: 290, Stopped: StoppedByUser},
			Budget{Ports: 1024},
			Inconclusive, 0, "interrupted at 290",
		},
		{
			"losses here and there",
			Report{Attempted: 900, Open: 890, Failed: 10, FirstFailed: 7, Causes: map[string]int{causeNoAnswer: 10}, Stopped: StoppedByLimit},
			Budget{Ports: 1024},
			Inconclusive, 0, "packets are lost on the way",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := tt.report
			r.Judge(tt.budget)
			v := r.Verdict
			if v.Outcome != tt.outcome || v.Measured != tt.measured || !strings.Contains(v.Text, tt.text) {
				t.Errorf("%s, measured %d, %q; want %s, %d, %q", v.Outcome, v.Measured, v.Text, tt.outcome, tt.measured, tt.text)
			}
		})
	}
}
