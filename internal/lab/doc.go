// Package lab is the test bed: nodes, a NAT router and servers as network
// namespaces of this process, real TCP and UDP through real nftables rules, and
// counts of what the kernel then holds.
//
// Nothing of it has a name or a mount: the namespaces live as long as this
// process holds them, so they end with it, however it ends.
package lab
