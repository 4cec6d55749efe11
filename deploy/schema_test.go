package deploy

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/golden"
)

type object map[string]any

// The chart's schema has the keys of the agent's config, so that a typo is refused before it is installed.
// go test ./deploy -run Schema -update writes them into it.
func TestSchema(t *testing.T) {
	t.Parallel()
	const path = "helm/values.schema.json"
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var schema object
	if err := json.Unmarshal(body, &schema); err != nil {
		t.Fatal(err)
	}
	schema["definitions"].(map[string]any)["budget"] = schemaOf(t, reflect.TypeFor[config.Budget]())
	whole := schemaOf(t, reflect.TypeFor[config.Config]())
	// The chart has its own key for the port.
	delete(whole["properties"].(object), "listen")
	whole["properties"].(object)["cpu_budget"] = object{"type": "number", "exclusiveMinimum": 0, "maximum": 1}
	whole["properties"].(object)["budgets"] = object{"type": "array", "items": object{"$ref": "#/definitions/budget"}}
	schema["definitions"].(map[string]any)["config"] = whole
	want, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, path, string(want)+"\n")
}

// schemaOf returns the JSON schema of what the agent's config takes for a type.
func schemaOf(t *testing.T, typ reflect.Type) object {
	t.Helper()
	const port = `[0-9]{1,5}(-[0-9]{1,5})?`
	switch typ {
	case reflect.TypeFor[time.Duration]():
		return object{"type": "string", "pattern": `^([0-9.]+(ns|us|ms|s|m|h))+$`}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix](), reflect.TypeFor[config.SharedDestination]():
		return object{"type": "string", "pattern": `^[0-9a-fA-F.:/*\[\]]+$`}
	case reflect.TypeFor[config.PortRange]():
		return object{"type": []string{"string", "integer"}, "pattern": "^" + port + "$"}
	case reflect.TypeFor[config.Source]():
		return object{"enum": []string{"auto", "conntrack", "sockets"}}
	case reflect.TypeFor[config.Strategy]():
		return object{"enum": []string{"auto", "poll", "events"}}
	case reflect.TypeFor[config.Unique]():
		return object{"enum": []string{"endpoint", "address", "nothing"}}
	case reflect.TypeFor[config.NodesFrom]():
		return object{"enum": []string{"kubernetes"}}
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return schemaOf(t, typ.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": schemaOf(t, typ.Elem())}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Int:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Struct:
		properties := object{}
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := strings.Split(f.Tag.Get("yaml"), ",")[0]
			if !f.IsExported() || key == "" || key == "-" {
				continue
			}
			properties[key] = schemaOf(t, f.Type)
		}
		if typ == reflect.TypeFor[config.Budget]() {
			models := []string{config.ModelAuto}
			for _, m := range budget.Models() {
				models = append(models, m.Name)
			}
			properties["model"] = object{"enum": models}
			for _, property := range properties {
				// The agent takes 0 for a mistake: it is not what leaving the key out means.
				if p := property.(object); p["type"] == "integer" {
					p["minimum"] = 1
				}
			}
			properties["effective_ceiling"] = object{"type": "number", "exclusiveMinimum": 0, "maximum": 1}
		}
		return object{"type": "object", "additionalProperties": false, "properties": properties}
	}
	t.Fatalf("no schema for %v: add one", typ)
	return nil
}

// modelKeys says which keys of a budget the agent refuses for a model, and of which keys it needs one.
type modelKeys struct {
	Refuses []string `yaml:"refuses,flow"`
	Needs   []string `yaml:"needs,flow"`
}

// The chart knows what each model refuses and needs, so that helm says it, and not every agent at its start.
// go test ./deploy -run ChartKnowsModels -update writes it.
func TestChartKnowsModels(t *testing.T) {
	t.Parallel()
	known := map[string]modelKeys{config.ModelAuto: {Refuses: refusedByAuto(t)}}
	var some []string // keys that only some models take
	for _, m := range budget.Models() {
		some = append(some, m.Keys...)
	}
	slices.Sort(some)
	some = slices.Compact(some)
	for _, m := range budget.Models() {
		var keys modelKeys
		for _, key := range some {
			if !slices.Contains(m.Keys, key) {
				keys.Refuses = append(keys.Refuses, key)
			}
		}
		keys.Needs = neededBy(t, m.Name)
		known[m.Name] = keys
	}
	want, err := yaml.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "helm/files/models.yaml", "# The keys of a budget that the agent refuses for a model, and those of which it needs one.\n"+
		"# go test ./deploy -run ChartKnowsModels -update writes it.\n"+string(want))
}

// refusedByAuto asks the agent which keys of a budget model auto refuses.
func refusedByAuto(t *testing.T) (refused []string) {
	t.Helper()
	values := map[string]string{"integer": "1", "number": "0.5", "boolean": "true", "string": "1.2.3.4", "array": "[]", "object": "{}"}
	for key, property := range schemaOf(t, reflect.TypeFor[config.Budget]())["properties"].(object) {
		kind, _ := property.(object)["type"].(string)
		value := values[kind]
		switch key {
		case "name", "model":
			continue
		case "port_range":
			value = "1024-2047"
		case "nodes_from":
			value = "kubernetes"
		}
		_, err := config.Parse("f.yaml", []byte("budgets: [{name: a, model: auto, "+key+": "+value+"}]"))
		if err != nil && strings.Contains(err.Error(), "model auto finds out for itself") {
			refused = append(refused, key)
		}
	}
	slices.Sort(refused)
	return refused
}

// neededBy asks the model which keys of a budget it cannot do without: one of them is enough.
func neededBy(t *testing.T, model string) []string {
	t.Helper()
	_, err := budget.Resolve(budget.Params{Name: "a", Model: model})
	if err == nil {
		return nil
	}
	var mistake *budget.KeyError
	if !errors.As(err, &mistake) {
		t.Fatalf("%s: %v, want the key that is missing", model, err)
	}
	if mistake.Key == "nodes" {
		return []string{"nodes", "nodes_file", "nodes_from"}
	}
	_, err = budget.Resolve(budget.Params{Name: "a", Model: model, TCP: budget.Overrides{Ports: new(77)}})
	if err == nil {
		return []string{mistake.Key, "tcp", "udp"}
	}
	return []string{mistake.Key}
}

// Every key of the chart's values is in its schema, and every one has a comment or stands under one.
func TestSchemaHasEveryValue(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("helm/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := os.ReadFile("helm/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Properties map[string]any }
	if err := json.Unmarshal(schema, &s); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-zA-Z]+):`).FindAllStringSubmatch(string(body), -1) {
		keys[m[1]] = true
		if s.Properties[m[1]] == nil {
			t.Errorf("values.schema.json has no %s", m[1])
		}
	}
	for key := range s.Properties {
		if !keys[key] && key != "global" {
			t.Errorf("values.yaml has no %s", key)
		}
	}
}
