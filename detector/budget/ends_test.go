package budget_test

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Where a port is free before the end of its flow is known, flows that have ended count as held.
func TestEndsMatter(t *testing.T) {
	t.Parallel()
	const s = time.Second
	coolDown := func(d time.Duration) budget.Overrides {
		return budget.Overrides{CoolDown: map[collector.Reason]time.Duration{collector.FIN: d}}
	}
	for _, tt := range []struct {
		name   string
		params budget.Params
		want   bool
	}{
		{"Azure", budget.Params{Model: "azure-lb", Nodes: 10}, false},
		{"AWS", budget.Params{Model: "aws-nat-gateway"}, false},
		{"Huawei", budget.Params{Model: "huawei-nat-gateway"}, true},
		{"numbers given, with no cool-down", budget.Params{Model: "static", Ports: 1024}, true},
		{"numbers given", budget.Params{Model: "static", Ports: 1024, TCP: coolDown(240 * s)}, false},
		{"numbers given, a cool-down of less", budget.Params{Model: "static", Ports: 1024, TCP: coolDown(59 * s)}, true},
		{"this machine, which evicts closed entries", budget.Params{Model: "linux", EvictsTimeWait: true}, true},
		{"this machine", budget.Params{Model: "linux"}, false},
		{"this machine, with a short timeout", budget.Params{Model: "linux", EntryFIN: 7 * s}, true},
		{"local ports, which sockets tell of", budget.Params{Model: "local", ReuseTimeWait: s}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.params.Name = "nat"
			b, err := budget.Resolve(tt.params)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.EndsMatter(60 * s); got != tt.want {
				t.Errorf("%v with %v after FIN", got, b.TCP.CoolDown[collector.FIN])
			}
		})
	}
}
