package forecast

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// Calls that ended by RST come to end by FIN, whose ports cool for 240 s and not for 15: that is seen minutes before
// the ports are gone, and only once it has happened.
func TestShiftOfReasonsIsSeen(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		s := newSpace(NewForecaster(0), seed, 0)
		s.b.TCP.CoolDown[collector.RST] = 15 * time.Second
		s.b.TCP.CoolDown[collector.FIN] = 240 * time.Second
		s.account.setTerms(&s.b.TCP)
		s.o = s.account.Outlook(s.now)
		const calm = 1800
		warned, full := 0, 0
		for second := 0; full == 0 && second < calm+400; second++ {
			reason := collector.RST
			for range 5 {
				if second >= calm && s.rng.IntN(60) < second-calm { // within a minute
					reason = collector.FIN
				}
				at := s.now.Add(time.Duration(s.rng.Int64N(9e8)))
				s.o.Open(moment(at))
				end := at.Add(50 * time.Millisecond)
				s.o.Close(moment(at), moment(end), end.Add(s.b.TCP.CoolDown[reason]), reason)
				s.account.Closed(moment(at), moment(end), reason)
			}
			s.now = s.now.Add(time.Second)
			s.tick()
			if s.o.forecast.Urgency >= detector.PageRaise && warned == 0 {
				warned = second
			}
			if s.o.held() >= 1024 {
				full = second
			}
		}
		if warned < calm || full-warned < 135 {
			t.Errorf("seed %d: warned at +%d s, full at +%d s", seed, warned-calm, full-calm)
		}
	}
}
