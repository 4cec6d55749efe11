package backtest

// builtinThresholds are those with the best macro F1 on the training seeds of all scenarios, by
// method and horizon, as --scenario all --json prints them.
func builtinThresholds() map[string][horizons]float64 {
	return map[string][horizons]float64{
		NameForecast:         {0.25, 0.25, 0.25, 0.25},
		NameUtilisation:      {0.946, 0.915, 0.271, 0.242},
		"holt damped":        {0.966, 0.932, 0, 0},
		"holt":               {0.993, 1.089, 0, 0},
		"holt damped 15s":    {0.957, 0.910, 0.856, 0},
		"predict_linear 5m":  {0.951, 0.930, 0.215, 0},
		"predict_linear 15m": {0.926, 0.917, 0.448, 0},
		"predict_linear 60m": {0.926, 0.920, 0.427, 0},
		"little 1m":          {0.923, 0.907, 0.237, 0.227},
		"little 5m":          {0.944, 0.914, 0.473, 0.268},
	}
}
