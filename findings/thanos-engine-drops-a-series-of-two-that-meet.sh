#!/usr/bin/env bash
# Where group_left makes two series the same, Prometheus says so and Thanos' engine returns one of them.
#
# Guess: Thanos' PromQL engine (thanos query --query.promql-engine=thanos) gives the answers of Prometheus, or says "not supported".
# Seen: "held * on (node) group_left (dst) info" copies the label dst of info over that of held. If two series of a node differ in dst alone,
# both become the same: Prometheus fails with "grouping labels must ensure unique matches", and a rule shows its error. Thanos' engine
# returns one of the two, and no error or warning; a sum over the same expression counts both, and a range query gives one series
# with two values at each time. So a list and its total differ, and an alert on a rule that Prometheus reports as broken is silent for
# the destination that was left out.
# Seen with github.com/thanos-io/promql-engine v0.0.0-20260513095632-c5f6038078e3, which thanos v0.42.3 has, and
# github.com/prometheus/prometheus v0.308.1.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module engines

go 1.26.0

require (
	github.com/prometheus/prometheus v0.308.1
	github.com/thanos-io/promql-engine v0.0.0-20260513095632-c5f6038078e3
)
END
cat >engines_test.go <<'END'
package engines

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/thanos-io/promql-engine/engine"
)

const series = `
load 1m
  held{node="a",dst="x"} 40x10
  held{node="a",dst="y"} 7x10
  held{node="b",dst="x"} 80x10
  info{node="a",dst="store"} 1x10
  info{node="b",dst="store"} 1x10
`

// text is what a query returned, its series in order.
func text(query promql.Query, err error) string {
	if err != nil {
		return err.Error()
	}
	result := query.Exec(context.Background())
	vector, err := result.Vector()
	if err != nil {
		return err.Error()
	}
	var rows []string
	for _, s := range vector {
		rows = append(rows, fmt.Sprint(s.Metric, " ", s.F))
	}
	sort.Strings(rows)
	return fmt.Sprint(strings.Join(rows, ", "), "; warnings: ", len(result.Warnings))
}

func TestEngines(t *testing.T) {
	storage := promqltest.LoadedStorage(t, series)
	options := promql.EngineOpts{Timeout: time.Minute, MaxSamples: 1000000}
	prometheus, thanos := promql.NewEngine(options), engine.New(engine.Opts{EngineOpts: options})
	at, ctx := time.Unix(300, 0), context.Background()
	out, err := os.Create("seen")
	if err != nil {
		t.Fatal(err)
	}
	for _, expression := range []string{
		"held * on (node) group_left () info",
		"held * on (node) group_left (dst) info",
		"sum(held * on (node) group_left (dst) info)",
	} {
		fmt.Fprintln(out, expression)
		fmt.Fprintln(out, "  Prometheus:", text(prometheus.NewInstantQuery(ctx, storage, nil, expression, at)))
		fmt.Fprintln(out, "  Thanos:    ", text(thanos.NewInstantQuery(ctx, storage, nil, expression, at)))
	}
	expression := "held * on (node) group_left (dst) info"
	query, err := thanos.NewRangeQuery(ctx, storage, nil, expression, at, at.Add(time.Minute), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	result := query.Exec(ctx)
	matrix, err := result.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(out, expression+", from 300 s to 360 s")
	for _, s := range matrix {
		fmt.Fprint(out, "  Thanos:     ", s.Metric)
		for _, sample := range s.Floats {
			fmt.Fprintf(out, " %g at %d", sample.F, sample.T/1000)
		}
		fmt.Fprintln(out)
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go list -m github.com/prometheus/prometheus github.com/thanos-io/promql-engine
go test -p 2 -tags remove_all_sd -count 1 . >log 2>&1 || { cat log; exit 1; }
cat seen
cat >expected <<'END'
held * on (node) group_left () info
  Prometheus: {dst="x", node="a"} 40, {dst="x", node="b"} 80, {dst="y", node="a"} 7; warnings: 0
  Thanos:     {dst="x", node="a"} 40, {dst="x", node="b"} 80, {dst="y", node="a"} 7; warnings: 0
held * on (node) group_left (dst) info
  Prometheus: multiple matches for labels: grouping labels must ensure unique matches
  Thanos:     {dst="store", node="a"} 40, {dst="store", node="b"} 80; warnings: 0
sum(held * on (node) group_left (dst) info)
  Prometheus: multiple matches for labels: grouping labels must ensure unique matches
  Thanos:     {} 127; warnings: 0
held * on (node) group_left (dst) info, from 300 s to 360 s
  Thanos:     {dst="store", node="a"} 40 at 300 7 at 300 40 at 360 7 at 360
  Thanos:     {dst="store", node="b"} 80 at 300 80 at 360
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
