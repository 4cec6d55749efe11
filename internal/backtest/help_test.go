package backtest

import (
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// approx compares figures that were computed in another order.
var approx = cmp.Options{cmpopts.EquateApprox(0, 1e-9), cmpopts.EquateNaNs()}

// now is when the records of these tests are read.
var now = collector.Time(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())

// at is so many seconds after the beginning of a record.
func at(s float64) collector.Time { return record.Epoch + record.Seconds(s) }

func repeat(n int, x int32) []int32 {
	var xs []int32
	for range n {
		xs = append(xs, x)
	}
	return xs
}
