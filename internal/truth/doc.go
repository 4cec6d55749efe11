// Package truth holds tests that compare the ledger with the kernel: real connections, the conntrack source and a
// ledger in one process, and the kernel's table beside them. They run on every kernel that .ci/guests boots.
package truth
