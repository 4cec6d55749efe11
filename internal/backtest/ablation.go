package backtest

import "github.com/snatwatch/snatwatch/detector"

// Ablations are the forecast without one of its parts each, to see what that part earns, and
// without any.
func Ablations() []Variant {
	parts := []struct {
		name string
		part detector.Part
	}{
		{"without ages of live flows", detector.PartAges},
		{"without release schedule", detector.PartRelease},
		{"without fast hazards", detector.PartSpeeds},
		{"without the test of hazards", detector.PartGate},
		{"without surprise", detector.PartSurprise},
		{"without nowcast of arrivals", detector.PartNowcast},
		{"without trend", detector.PartTrend},
		{"without drift", detector.PartDrift},
		{"without long means", detector.PartMeans},
		{"without learned tail", detector.PartTail},
		{"without recalibration", detector.PartCalibration},
		{"without rhythm of the hour", detector.PartRhythm},
		{"without course of the day", detector.PartDay},
		{"without averaged fill", detector.PartSettle},
	}
	var all detector.Part
	var vs []Variant
	for _, p := range parts {
		all |= p.part
		vs = append(vs, Variant{p.name, detector.LedgerConfig{Without: p.part}})
	}
	return append(vs, Variant{"without any of it", detector.LedgerConfig{Without: all}})
}
