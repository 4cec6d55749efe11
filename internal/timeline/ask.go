package timeline

import (
	"context"
	"encoding/json"

	"github.com/snatwatch/snatwatch/internal/prom"
)

// forecast returns the highest urgency of the page in the agent's snapshot, and the most ports held in one port space;
// both are zero if the agent does not answer.
func (r *recorder) forecast(ctx context.Context) (urgency float64, held int) {
	agent := prom.Server{URL: "http://" + r.o.Agent}
	body, err := agent.Get(ctx, "/api/v1/snapshot")
	if err != nil {
		return 0, 0
	}
	var s struct {
		Budgets []struct {
			Protocols []struct {
				Busiest int `json:"busiest_held"`
				Spaces  []struct {
					Forecast *struct {
						PageUrgency float64 `json:"page_urgency"`
					} `json:"forecast"`
				} `json:"spaces"`
			} `json:"protocols"`
		} `json:"budgets"`
	}
	if json.Unmarshal(body, &s) != nil {
		return 0, 0
	}
	for _, b := range s.Budgets {
		for _, p := range b.Protocols {
			held = max(held, p.Busiest)
			for _, space := range p.Spaces {
				if space.Forecast != nil {
					urgency = max(urgency, space.Forecast.PageUrgency)
				}
			}
		}
	}
	return urgency, held
}

// alerts returns the names of the alerts that fire in a Prometheus; ok is false if it does not answer.
func alerts(ctx context.Context, s *prom.Server) (names []string, ok bool) {
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	if s.API(ctx, "/api/v1/alerts", &data) != nil {
		return nil, false
	}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			names = append(names, a.Labels["alertname"])
		}
	}
	return names, true
}

// inhibited reports whether Alertmanager holds the prediction back.
func (r *recorder) inhibited(ctx context.Context, am *prom.Server) bool {
	body, err := am.Get(ctx, "/api/v2/alerts?inhibited=true")
	if err != nil {
		return false
	}
	var list []struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	if json.Unmarshal(body, &list) != nil {
		return false
	}
	for _, a := range list {
		if a.Labels["alertname"] == predicted && len(a.Status.InhibitedBy) > 0 {
			return true
		}
	}
	return false
}
