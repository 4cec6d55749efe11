// Package flowlog reads flow logs as clouds and tools write them, row by row, and counts the ports that
// were held. Its memory follows the flows that are open at a time and the destinations there are, not the
// size of the log.
//
// A log tells of a flow in several rows, one for each interval in which it had packets. Rows of one tuple that
// follow within the gap of the format are one flow; a FIN or a reset ends it.
//
// Only flows that leave this network hold a port of ours. Rows of the answers, of flows that others opened, of those
// that were denied and of those to private addresses are left out and counted by why. Where a log tells the direction
// (flow-direction of AWS, O of Azure, reporter of Google, local_orig and local_resp of Zeek), that decides.
package flowlog
