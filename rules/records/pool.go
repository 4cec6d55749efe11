package records

import "github.com/snatwatch/snatwatch/rules/options"

// Pool puts the pools side by side, whatever the scope of their budget: each
// node of a pool fails on its own, so the most loaded node and the expected
// number of exhausted nodes matter, not the sum against a sum. What they add up each agent has added up
// over its destinations before.
func Pool(o options.Options) []Record {
	return Of(o, PoolHeld, PoolOpened, PoolMean, PoolVariance, PoolFill, PoolProbability, PoolExpected)
}
