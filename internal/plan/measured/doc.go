// Package measured makes the input of a plan from what was measured: by a running agent, by a Prometheus
// over a range, or in recorded flows. What is missing is an error or a note, never a guess that is not told.
package measured
