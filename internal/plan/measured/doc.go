// Package measured makes the input of a plan from what was measured: by a running agent, by a Prometheus
// over a range, or in recorded flows. What is missing is an error or a note, never a guess that is not told.
//
// # What a plan costs
//
// A week of 1,000 nodes in Prometheus 2.42, both on two cores that had a load of 7, on 30 November 2026. Nodes with
// budgets of their own: 5.8 to 6.2 s on the clock, 3.9 s of Prometheus' processors, 0.5 s and 29 MB of the plan's own.
// Nodes behind one gateway, with 10 destinations each, whose sums rules have recorded: 5.7 to 10.4 s, 2.7 s, 0.3 s and
// 22 MB; where nothing was recorded of the gateway, Prometheus takes some 0.5 s more for each destination. The program
// .ci/tools/evaluation/week writes such a week: what is read over all of it each 15 seconds, the rest each minute.
package measured
