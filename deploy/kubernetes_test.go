package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// objectMeta is what our objects use of metav1.ObjectMeta.
type objectMeta struct {
	Name   string
	Labels map[string]string
}

// prometheusRule is monitoring.coreos.com/v1, field by field: an operator's admission refuses what it does not know.
type prometheusRule struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   objectMeta
	Spec       struct {
		Groups []struct {
			Name, Interval string
			Rules          []struct {
				Record, Alert, Expr, For string
				KeepFiringFor            string `yaml:"keep_firing_for"`
				Labels, Annotations      map[string]string
			}
		}
	}
}

type configMap struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   objectMeta
	Data       map[string]string
}

// decode reads every document of a file and refuses fields that T does not have.
func decode[T any](t *testing.T, file string) []T {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(body))
	dec.KnownFields(true)
	var out []T
	for {
		var v T
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, v)
	}
}

// name is a DNS subdomain: what Kubernetes takes as the name of an object.
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

func TestPrometheusRule(t *testing.T) {
	t.Parallel()
	objects := decode[prometheusRule](t, "kubernetes/prometheusrule.yaml")
	if len(objects) != 1 {
		t.Fatalf("%d objects, want 1", len(objects))
	}
	r := objects[0]
	if r.APIVersion != "monitoring.coreos.com/v1" || r.Kind != "PrometheusRule" || !name.MatchString(r.Metadata.Name) || r.Metadata.Labels["release"] == "" {
		t.Errorf("apiVersion %q, kind %q, name %q, labels %v", r.APIVersion, r.Kind, r.Metadata.Name, r.Metadata.Labels)
	}
	// The operator's own patterns: Duration (non-empty) and group names that are unique.
	duration := regexp.MustCompile(`^(0|(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?)$`)
	groups := map[string]bool{}
	for _, g := range r.Spec.Groups {
		if groups[g.Name] || g.Name == "" || !duration.MatchString(g.Interval) {
			t.Errorf("group %q is taken or nameless, or its interval %q is none", g.Name, g.Interval)
		}
		groups[g.Name] = true
		for _, rule := range g.Rules {
			if (rule.Record == "") == (rule.Alert == "") || rule.Expr == "" || !duration.MatchString(rule.For) || !duration.MatchString(rule.KeepFiringFor) {
				t.Errorf("group %s: neither a record nor an alert, or no expression or duration: %+v", g.Name, rule)
			}
			if rule.Record != "" && (rule.For+rule.KeepFiringFor != "" || rule.Annotations != nil) {
				t.Errorf("record %s has what only an alert may have", rule.Record)
			}
		}
	}
	if len(groups) < 4 {
		t.Errorf("%d groups, want the rules of all files", len(groups))
	}
}

func TestConfigMaps(t *testing.T) {
	t.Parallel()
	objects := decode[configMap](t, "kubernetes/dashboards.yaml")
	files := map[string]bool{}
	for _, c := range objects {
		if c.APIVersion != "v1" || c.Kind != "ConfigMap" || !name.MatchString(c.Metadata.Name) || c.Metadata.Labels["grafana_dashboard"] != "1" || len(c.Data) != 1 {
			t.Errorf("apiVersion %q, kind %q, name %q, labels %v, %d files", c.APIVersion, c.Kind, c.Metadata.Name, c.Metadata.Labels, len(c.Data))
		}
		for file, body := range c.Data {
			// etcd refuses objects above 1.5 MiB, and kubectl apply annotations above 256 KiB.
			if !json.Valid([]byte(body)) || len(body) > 256<<10 {
				t.Errorf("%s: JSON: %v, %d bytes", file, json.Valid([]byte(body)), len(body))
			}
			committed, err := os.ReadFile("../dashboards/" + file)
			if err != nil || strings.TrimSpace(string(committed)) != strings.TrimSpace(body) {
				t.Errorf("%s is not the board in dashboards (%v)", file, err)
			}
			files[file] = true
		}
	}
	if len(files) != 4 {
		t.Errorf("%d boards, want 4", len(files))
	}
}

// grafanaFile is Grafana's alerting provisioning, version 1, field by field.
type grafanaFile struct {
	APIVersion int `yaml:"apiVersion"`
	Groups     []struct {
		OrgID                  int `yaml:"orgId"`
		Name, Folder, Interval string
		Rules                  []struct {
			UID, Title, Condition string
			Data                  []struct {
				RefID             string                 `yaml:"refId"`
				DatasourceUID     string                 `yaml:"datasourceUid"`
				RelativeTimeRange struct{ From, To int } `yaml:"relativeTimeRange"`
				Model             map[string]any
			}
			DashboardUID        string `yaml:"dashboardUid"`
			PanelID             int    `yaml:"panelId"`
			NoDataState         string `yaml:"noDataState"`
			ExecErrState        string `yaml:"execErrState"`
			For                 string
			KeepFiringFor       string `yaml:"keepFiringFor"`
			Annotations, Labels map[string]string
			IsPaused            bool `yaml:"isPaused"`
		}
	}
}

func TestGrafanaFile(t *testing.T) {
	t.Parallel()
	objects := decode[grafanaFile](t, "grafana/snatwatch-alerting.yaml")
	if len(objects) != 1 || objects[0].APIVersion != 1 || len(objects[0].Groups) != 2 {
		t.Fatalf("%+v, want one file of version 1 with two groups", objects)
	}
	// The shortest interval that Grafana takes is for pages only: each rule reads all that recording rules would have read.
	for i, want := range []string{"10s", "1m"} {
		g := objects[0].Groups[i]
		if g.Name == "" || g.Folder == "" || g.OrgID != 1 || g.Interval != want {
			t.Errorf("group %q, folder %q, organisation %d, interval %q, want %s; Grafana wants a multiple of 10 s", g.Name, g.Folder, g.OrgID, g.Interval, want)
		}
	}
	for _, r := range slices.Concat(objects[0].Groups[0].Rules, objects[0].Groups[1].Rules) {
		refs := map[string]bool{}
		for _, d := range r.Data {
			refs[d.RefID] = d.RefID == d.Model["refId"] && d.DatasourceUID != ""
		}
		if !refs[r.Condition] || r.UID == "" || r.Title == "" || r.PanelID == 0 || r.DashboardUID == "" {
			t.Errorf("%s: condition %q is no query, or uid %q, board %q or panel %d is missing", r.Title, r.Condition, r.UID, r.DashboardUID, r.PanelID)
		}
	}
}
