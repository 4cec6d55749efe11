package deploy

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

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
		}
		return object{"type": "object", "additionalProperties": false, "properties": properties}
	}
	t.Fatalf("no schema for %v: add one", typ)
	return nil
}

// The chart refuses for model auto what the agent refuses, and no other key.
func TestChartKnowsKeysOfAuto(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("helm/templates/_helpers.tpl")
	if err != nil {
		t.Fatal(err)
	}
	taken := regexp.MustCompile(`\$auto := list (.*) }}`).FindStringSubmatch(string(body))
	if taken == nil {
		t.Fatal("no list of keys")
	}
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
		refused := err != nil && strings.Contains(err.Error(), "model auto finds out for itself")
		if chart := !strings.Contains(taken[1], `"`+key+`"`); refused != chart {
			t.Errorf("%s: the agent refuses it: %v (%v), the chart: %v", key, refused, err, chart)
		}
	}
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
