package forecast

// courseMost is how many times its present value the rate may reach because of the time of day.
const courseMost = 4

// recur computes the two components that depend on the time of day: bursts of every hour on top of the level, and
// the course of the day.
func (o tick) recur(w *workspace, now float64) {
	r, c := &o.rhythm, &w.course
	w.bursts = w.bursts[:0]
	bin := r.start / rhythmBin
	for b := bin; b < bin+hourBins && len(w.bursts) < burstsMost; b++ {
		excess, variance := r.burst(b)
		if excess == 0 {
			continue
		}
		e := expected{float64(b*rhythmBin) - now, float64(excess), float64(variance)}
		if b == bin {
			// The flows of the burst that came already are among the held.
			e.excess -= max(0, float64(r.counts[0])-float64(r.level)*(now-float64(r.start))/rhythmBin)
			e.at = 0
			if e.excess <= 0 {
				continue
			}
		}
		w.bursts = append(w.bursts, e)
	}
	rate := float64(r.level) / rhythmBin
	w.knowsDay = r.knowsDay(now)
	today := r.course(now) // not 0 where the day is known
	for i, u := range w.grid {
		c.mean[recurring][i], c.burst[i] = c.base[i]+rate*c.gain[i], 0
		for _, e := range w.bursts {
			if e.at < u {
				q := w.stays(o.account, u-e.at)
				c.mean[recurring][i] += e.excess * q
				c.burst[i] += e.variance * q * q
			}
		}
		c.mean[day][i] = c.base[i] + o.rate*c.gain[i]
		if w.knowsDay {
			c.mean[day][i] = c.base[i]
			before, gain := 0.0, c.gain[i]
			for _, v := range w.grid[:i+1] {
				after, _ := w.gain(o.account, u-v)
				c.mean[day][i] += o.rate * min(r.course(now+(before+v)/2)/today, courseMost) * (gain - after)
				before, gain = v, after
			}
		}
		c.peak[i], c.peakBurst[i] = c.mean[recurring][i], c.burst[i]
	}
	o.peaks(w, rate)
}

// peaks finds the highest fill that bursts lead to between the times of the grid. The flows of a burst come within
// its first burstLasts seconds.
func (o tick) peaks(w *workspace, rate float64) {
	const burstLasts = 8
	c := &w.course
	i := 0
	for n, e := range w.bursts {
		u := e.at + burstLasts
		for i < aheads && w.grid[i] < u {
			i++
		}
		if i == aheads {
			return
		}
		from, base, gain := 0.0, float64(o.held()), 0.0
		if i > 0 {
			from, base, gain = w.grid[i-1], c.base[i-1], c.gain[i-1]
		}
		x := (u - from) / (w.grid[i] - from)
		mean := base + x*(c.base[i]-base) + rate*(gain+x*(c.gain[i]-gain))
		variance := 0.0
		for _, e := range w.bursts[:n+1] {
			q := w.stays(o.account, u-e.at-burstLasts/2)
			mean += e.excess * q
			variance += e.variance * q * q
		}
		if mean > c.peak[i] {
			c.peak[i], c.peakBurst[i] = mean, variance
		}
	}
}

// trust returns the weight of what recurs in the probability of horizon h.
func (o tick) trust(w *workspace, h int) float64 {
	switch {
	case o.account.f.without.leaves(recurring), len(w.bursts) == 0:
		return 0
	case w.expectsBurst(w.grid[w.horizon[h]]):
		return o.learnt[h].duel[1].trust()
	}
	return o.learnt[h].duel[0].trust()
}
