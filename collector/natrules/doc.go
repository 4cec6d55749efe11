// Package natrules reads from the kernel's own nftables rules, those of
// iptables-nft included, to which addresses and ports this machine translates
// the source of flows.
package natrules
