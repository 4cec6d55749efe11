// Package natrules reads the NAT rules of the kernel (nftables, iptables-nft and iptables-legacy). They say to which
// addresses and ports this machine translates the source of flows.
//
// It reads what can change the source of an outgoing flow, and nothing else: the base chains at postrouting, and the
// chains that they lead to. Bytes become expressions (dump, elements, attrs), expressions conditions and outcomes
// (compile, compare, lookup, keyed, draw, snat, xtables; legacy for iptables-legacy), and a walk follows them as the
// kernel does for any packet (walk, path, ends): by priority, through jumps, each protocol and address family apart,
// leaving out what rules before took.
// What comes out gets the addresses of interfaces (links, settle) and becomes a Ruleset. A Reader does so again only
// where something has changed.
package natrules
