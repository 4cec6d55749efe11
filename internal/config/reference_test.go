package config

import (
	"encoding"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/detector/budget"
)

const reference = "../../deploy/snatwatch.yaml"

func readReference(t *testing.T) (string, *Config) {
	t.Helper()
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(reference, data)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), c
}

// The reference has every key of every struct, and names every model.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	text, c := readReference(t)
	has := map[string]bool{}
	for path := range c.at.lines {
		has[regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "")] = true
	}
	// tcp and udp have the same keys; one example is enough.
	alike := func(path string) string { return strings.ReplaceAll(path, ".udp.", ".tcp.") }
	for path := range has {
		has[alike(path)] = true
	}
	for _, path := range paths(reflect.TypeFor[Config](), "") {
		if !has[alike(path)] {
			t.Errorf("%s lacks key %s", reference, path)
		}
	}
	for _, m := range budget.Models() {
		if !regexp.MustCompile(`(?m)# ` + regexp.QuoteMeta(m.Name) + `  `).MatchString(text) {
			t.Errorf("%s does not say what model %s is", reference, m.Name)
		}
	}
}

// paths lists the keys of a struct and of those in it.
func paths(t reflect.Type, prefix string) (all []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if key == "" {
			continue
		}
		all = append(all, prefix+key)
		all = append(all, paths(t.Field(i).Type, prefix+key+".")...)
	}
	return all
}

// What the reference calls the defaults are the defaults, and its budgets resolve.
func TestReferenceHasTheDefaults(t *testing.T) {
	t.Parallel()
	_, c := readReference(t)
	def, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	budgets, _, err := c.Resolve(Machine{Nodes: map[string]int{}})
	if err != nil {
		t.Fatal(err)
	}
	if len(budgets) != len(c.Budgets) {
		t.Errorf("%d budgets of %d entries", len(budgets), len(c.Budgets))
	}
	c.Budgets, c.SharedDestinations = def.Budgets, nil
	opts := cmp.Options{
		cmpopts.IgnoreFields(Config{}, "at"), cmpopts.EquateEmpty(),

		cmp.Transformer("text", func(d Destinations) [2]string { return [2]string{prefixList(d.Include), prefixList(d.Exclude)} }),
	}
	if diff := cmp.Diff(def, c, opts); diff != "" {
		t.Errorf("defaults (-built in +reference):\n%s", diff)
	}
}
