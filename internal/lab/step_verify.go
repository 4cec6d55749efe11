package lab

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/internal/verify"
)

// stressTest runs the command's own test behind one VIP and behind two: whoever sees only the node learns
// the budget by it, and from the far end the VIPs.
func stressTest(ctx context.Context, b *bench, r *StepReport) error {
	const beyond = 50 // flows asked for when all ports are taken
	far := b.Server(0)
	l, err := far.Listen(ctx, far.At(9960))
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- (&verify.Server{}).Serve(serving, l) }()
	tests := []struct {
		name   string
		node   int
		vips   int
		means  string
		report *verify.Report
	}{
		{name: "one VIP", node: nodeVerifyOne, vips: 1, means: "the budget is confirmed"},
		{name: "two VIPs", node: nodeVerifyTwo, vips: 2, means: "a budget of 1024 is wrong here: it is really 2048"},
	}
	var g errgroup.Group
	for i := range tests {
		t := &tests[i]
		g.Go(func() (err error) {
			t.report, err = verify.Run(ctx, verify.Options{
				Target: far.At(9960), Limit: t.vips*perVIP().Len() + beyond, Rate: 500, Timeout: 8 * time.Second,
				Hold: time.Second, Socket: b.Node(t.node).Socket,
			})
			return err
		})
	}
	err = g.Wait()
	stop()
	if ended := <-served; err == nil {
		err = ended
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for i := range tests {
		t := &tests[i]
		t.report.Judge(verify.Budget{Ports: perVIP().Len()})
		r.count(t.name+": flows open at the same time", t.report.Open, exactly(t.vips*perVIP().Len()), t.means)
		r.count(t.name+": flows that found no port", t.report.Causes["no answer"], exactly(beyond),
			"no answer within the timeout, nothing else is to be seen")
		r.count(t.name+": VIPs that the target saw", len(t.report.VIPs), exactly(t.vips),
			"verify --serve tells each caller")
		confirmed := 0
		if t.report.Verdict.Outcome == verify.Confirmed {
			confirmed = 1
		}
		r.count(t.name+": budget of 1024 confirmed", confirmed, exactly(2-t.vips), "1 is yes, 0 is no")
	}
	return nil
}
