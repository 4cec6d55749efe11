// Package owner finds out whose a flow is: the pod, container, unit, process or client behind it. A Watcher looks at
// the machine's cgroups, processes and namespaces again and again and shows what it saw as a View; a Table, which one
// goroutine owns, gives each owner a number and writes it into flows. Nothing is written to the machine and no
// program is run.
//
// A socket carries the id of its cgroup (sock_diag's INET_DIAG_CGROUP_ID), which is the inode number of the cgroup's
// folder in the cgroup v2 tree. A flow of conntrack carries the address that it came from: a
// namespace's address on this machine belongs to the processes in there, the machine's own to one of its sockets, any
// other to a client.
package owner
