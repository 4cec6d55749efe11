// Package natrules reads the NAT rules of the kernel (nftables, iptables-nft and iptables-legacy). They say to which
// addresses and ports this machine translates the source of flows.
//
// It reads what can change the source of an outgoing flow, and nothing else: the base chains at postrouting, and the
// chains that they lead to. No file uses one that stands behind it here:
//
//   - rule, flows, step: a rule as a reader of this package sees it, and as the walk needs it;
//   - attrs, element, registers: what bytes of nf_tables say;
//   - compiler, compare, lookup, snat, xtables, compile: expressions become conditions and outcomes;
//   - nftables, tables; legacy_parse, legacy: the chains of nf_tables, and those of iptables-legacy;
//   - path, conditions, walk: chains are followed as the kernel does for any packet, by priority, through jumps, each
//     protocol and address family apart, leaving out what rules before took;
//   - links, settle: the addresses of interfaces, for masquerade;
//   - read, reader: a Ruleset of all that, made again only where something has changed.
package natrules
