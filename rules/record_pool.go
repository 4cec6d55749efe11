package rules

import "github.com/snatwatch/snatwatch/detector/metrics"

// poolRecords put the pools side by side, whatever the scope of their budget: each
// node of a pool fails on its own, so the most loaded node and the expected
// number of exhausted nodes matter, not the sum against a sum. What they add up each agent has added up
// over its destinations before.
func (o Options) poolRecords() []Record {
	return o.records(PoolHeld, PoolOpened, PoolMean, PoolVariance, PoolFill, PoolProbability, PoolExpected)
}

// overPool aggregates an expression of nodes by pool and budget.
func (o Options) overPool(op, expr string, more ...metrics.Label) string {
	by := append([]metrics.Label{metrics.LabelPool, metrics.LabelBudget, metrics.LabelProtocol}, more...)
	return o.over(op, o.joined(metrics.LabelPool, expr), o.labels(by...))
}
