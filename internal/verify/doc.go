// Package verify is the stress test of a budget: it opens TCP flows to one target that its
// user owns, holds them, counts how many opened and how the others failed, and releases them
// all. A server at the far end tells each caller the address and port that it was translated to.
//
// It is careful with the NAT that it tests. It never opens more flows than its limit, opens no
// faster than its rate, waits while many flows are unanswered, stops after a row of failures,
// and resets every flow at the end: a reset frees a port soonest (15 s at Azure, 10 s on Linux;
// 240 s and 120 s after a FIN).
package verify
