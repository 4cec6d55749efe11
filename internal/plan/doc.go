// Package plan says what would keep a node's ports from running out, and by how much: how many VIPs, which
// pool size or allocation, which hold time, and what each change buys.
//
// # Method
//
// Ports do not queue: an open that finds none is lost. A port space is the loss system of Erlang, whose
// servers are ports, and whose holding time is the lifetime of a flow and the cool-down that the budget
// model adds. Its blocking depends on the mean of the hold time alone.
//
// The load a is opens per second × mean hold: the ports that would be held at the peak if there were
// enough. With c ports, the share of opens that fail during the peak is Erlang's B(c, a). The mean time
// until the first open fails, from the middle of the peak on, is computed by the birth-death chain,
//
//	τ(c, a) = (hold/a) · Σ 1/B(k, a)   over k = ⌊a⌋ … c
//
// and the probability that it happens in a peak of length T is 1 - exp(-T/τ).
//
// Peaks differ from day to day. The load of a day's peak is taken as log-normal with the spread that was
// measured; the probability of a day is the mean over it. Arrivals that come in bursts have a
// peakedness z above 1 (variance over mean of the ports held); by Hayward's approximation c and a are
// then divided by z.
//
// Lifetimes come from the buckets of a histogram: each is known to within the width of its bucket, the mean is exact. A
// destination whose own mean is known has the lifetimes of all flows, in the shares that make up its mean and differ
// least from theirs (least relative entropy).
//
// What is measured is known within a range. Every answer is worked out for the low and the high end of the
// load as well, and the ports needed are shown as a range.
//
// Where the ports held reached the ceiling, demand was cut off and is known from below only, by the share
// of opens that failed. That is said.
package plan
