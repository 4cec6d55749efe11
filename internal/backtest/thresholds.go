package backtest

// builtinThresholds are those with the best macro F1 on the training seeds of all scenarios, by
// method and horizon, as --scenario=all --json printed them. 0 is to warn always.
func builtinThresholds() map[string][horizons]float64 {
	return map[string][horizons]float64{
		NameForecast:         {0.188, 0.221, 0.145, 0.187},
		NameUtilisation:      {0.958, 0.924, 0.879, 0.243},
		"holt damped":        {0.963, 0.924, 0.872, 0.181},
		"holt":               {1.021, 1.11, 0, 0},
		"holt damped 15s":    {0.968, 0.932, 0.869, 0},
		"predict_linear 5m":  {0.95, 0.92, 0.488, 0},
		"predict_linear 15m": {0.933, 0.918, 0.899, 0},
		"predict_linear 60m": {0.944, 0.924, 0.919, 0.411},
		"little 1m":          {0.919, 0.903, 0.468, 0.237},
		"little 5m":          {0.946, 0.909, 0.478, 0.411},
	}
}
