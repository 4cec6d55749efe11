// Package remote asks a running agent and a Prometheus what they know, for the commands that run
// beside them. An answer that is not what was asked for is an error that says so; nothing is guessed.
package remote
