package backtest

// builtinThresholds are those with the best macro F1 on the training seeds of all scenarios, by
// method and horizon, as --scenario=all --json printed them. 0 is to warn always.
func builtinThresholds() map[string][horizons]float64 {
	return map[string][horizons]float64{
		NameForecast:         {0.187, 0.223, 0.252, 0.287},
		NameUtilisation:      {0.958, 0.924, 0.882, 0.243},
		"holt damped":        {0.964, 0.929, 0.883, 0.181},
		"holt":               {1.021, 1.11, 0, 0},
		"holt damped 15s":    {0.968, 0.936, 0.884, 0},
		"predict_linear 5m":  {0.95, 0.92, 0.467, 0},
		"predict_linear 15m": {0.933, 0.92, 0.898, 0},
		"predict_linear 60m": {0.929, 0.925, 0.92, 0.098},
		"little 1m":          {0.982, 0.907, 0.465, 0.237},
		"little 5m":          {0.947, 0.91, 0.476, 0.266},
	}
}
