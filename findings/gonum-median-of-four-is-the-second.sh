#!/usr/bin/env bash
# The median of 1, 2, 3 and 4 by gonum's interpolated quantile is 2, and every quantile up to a fourth is the lowest value.
#
# Guess: stat.Quantile with LinInterp interpolates as everybody does: 2.5 for the median, as Prometheus' quantile says
# of the same four series.
# Seen: it interpolates the distribution of which each sample is a step of 1/n, from below: the median is 2, and the
# quantile of 0.75 is 3, where Prometheus has 3.25. It is always the lower of the two, by up to the distance between two
# samples, which is large where samples are few: of four lifetimes, 1, 2, 3 and 240 s, the 0.75 quantile is 3 s by gonum and 62 s by
# Prometheus. So a program's quantiles do not agree with the board's, and a budget from them is too small.
# Seen with gonum.org/v1/gonum v0.17.0 and promtool 2.42.0 of Debian 12. Source: stat/stat.go of the module.
#
# Debian, as root to install, with Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

if ! command -v promtool >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module quantile

go 1.26.0

require gonum.org/v1/gonum v0.17.0
END
cat >main.go <<'END'
package main

import (
	"fmt"

	"gonum.org/v1/gonum/stat"
)

func main() {
	for _, samples := range [][]float64{{1, 2, 3, 4}, {1, 2, 3, 240}} {
		for _, q := range []float64{0.25, 0.5, 0.75, 0.9} {
			fmt.Printf("%.4g ", stat.Quantile(q, stat.LinInterp, samples, nil))
		}
	}
	fmt.Println()
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o quantile .
go version -m quantile | awk '/gonum/ { print $2, $3 }'
gonum=$(./quantile | xargs)
prometheus='1.75 2.5 3.25 3.7 1.75 2.5 62.25 168.9'
{
	printf 'evaluation_interval: 1m\ntests:\n'
	read -ra expected <<<"$prometheus"
	i=0
	for samples in '1 2 3 4' '1 2 3 240'; do
		printf -- '- interval: 1m\n  input_series:\n'
		for value in $samples; do printf "  - {series: 'lifetime{flow=\"%s\"}', values: '%s'}\n" "$value" "$value"; done
		printf '  promql_expr_test:\n'
		for q in 0.25 0.5 0.75 0.9; do
			printf "  - {expr: 'round(quantile(%s, lifetime), 0.0001)', eval_time: 0m, exp_samples: [{labels: '{}', value: %s}]}\n" "$q" "${expected[i]}"
			i=$((i + 1))
		done
	done
} >test.yaml
promtool test rules test.yaml >log 2>&1 || { cat log; echo 'Prometheus has changed'; exit 1; }
echo "quantiles 0.25, 0.5, 0.75, 0.9 of 1 2 3 4, and of 1 2 3 240"
echo "gonum:      $gonum"
echo "$(promtool --version 2>&1 | sed -n '1s/,.*version \([^ ]*\).*/ \1/p'): $prometheus"
[ "$gonum" = '1 2 3 3.6 1 2 3 145.2' ] || { echo 'the behaviour has changed'; exit 1; }
