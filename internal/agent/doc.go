// Package agent is the running agent. It reads flows from the kernel, feeds them to the ledger, and publishes a
// snapshot each second, which package web serves.
//
//   - agent.go makes the parts and starts their goroutines; base.go is what all parts read.
//   - loop.go is the goroutine that owns the ledgers; publish.go shows its snapshot to readers.
//   - selection.go and choose.go decide which sources of flows run; sources.go makes them, supervise.go keeps them
//     running.
//   - machine.go reads what budgets are made of: NAT rules, limits, pool sizes, the cloud; reload.go reads the config.
//   - stalls.go looks for sockets that get no answer, kernel.go reads the kernel's own counters.
//   - statefile.go keeps what the forecast learned over a restart.
//   - notices.go holds what the agent cannot see or do; systemd.go tells the service manager how the agent is.
//   - confine.go gives up capabilities.
package agent
