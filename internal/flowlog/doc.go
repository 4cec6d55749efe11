// Package flowlog reads flow logs as clouds and tools write them, row by row, and counts the ports that
// were held. Its memory follows the flows that are open at a time and the destinations there are, not the
// size of the log.
//
// A log tells of a flow in several rows, one for each interval in which it had packets. Rows of one tuple that
// follow within the gap of the format are one flow; a FIN or a reset ends it.
package flowlog
