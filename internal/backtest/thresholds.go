package backtest

// builtinThresholds are those with the best macro F1 on the training seeds of all scenarios, by
// method and horizon, as --scenario=all --hours=5 --json printed them. 0 is to warn always.
func builtinThresholds() map[string][horizons]float64 {
	return map[string][horizons]float64{
		NameForecast:         {0.133, 0.227, 0.291, 0.134},
		NameUtilisation:      {0.961, 0.920, 0.883, 0.243},
		"holt damped":        {0.957, 0.917, 0.879, 0.192},
		"holt":               {1.010, 1.139, 0, 0},
		"holt damped 15s":    {0.969, 0.937, 0.890, 0},
		"predict_linear 5m":  {0.926, 0.922, 0.903, 0},
		"predict_linear 15m": {0.960, 0.920, 0.902, 0.118},
		"predict_linear 60m": {0.929, 0.925, 0.921, 0.428},
		"little 1m":          {1.004, 0.911, 0.872, 0.240},
		"little 5m":          {0.925, 0.910, 0.477, 0.268},
	}
}
