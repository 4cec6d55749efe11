package config

import (
	"bytes"
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/internal/words"
)

// decode reads one YAML document into the struct that dst points to, whose fields
// keep their value where the document does not have them. Keys that the struct
// does not have, keys given twice and values of another kind are mistakes.
func decode(file string, data []byte, dst any) (positions, Errors) {
	d := &decoder{at: positions{file: file, lines: map[string]int{}}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF): // no document: all defaults
		return d.at, nil
	case err != nil:
		return d.at, Errors{{File: file, Want: "YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return d.at, Errors{{File: file, Line: more.Line, Want: "one YAML document"}}
	}
	d.value(doc.Content[0], reflect.ValueOf(dst).Elem(), "")
	slices.SortStableFunc(d.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	return d.at, d.errs
}

type decoder struct {
	at   positions
	errs Errors
}

func (d *decoder) fail(n *yaml.Node, path, want string) {
	e := &Error{File: d.at.file, Line: n.Line, Key: path, Want: want}
	switch n.Kind {
	case yaml.ScalarNode:
		if e.Value = n.Value; e.Value == "" {
			e.Value = `""`
		}
	case yaml.SequenceNode:
		e.Value = "a list"
	case yaml.MappingNode:
		e.Value = "keys and values"
	case yaml.AliasNode:
		e.Value = "*" + n.Value
	}
	d.errs = append(d.errs, e)
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	d.at.lines[path] = n.Line
	if n.Kind == yaml.AliasNode {
		d.fail(n, path, "the value itself: aliases are not read")
		return
	}
	if v.Kind() == reflect.Pointer {
		if n.Tag == "!!null" {
			d.fail(n, path, "a value, or no such key")
			return
		}
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem(), path)
		v.Set(p)
		return
	}
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case v.Kind() == reflect.Struct && !isText:
		d.mapping(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	default:
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			d.fail(n, path, wantOf(v))
			return
		}
		if want := scalar(n.Value, v); want != "" {
			d.fail(n, path, want)
		}
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "keys and values: "+strings.Join(keysOf(v.Type()), ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		f, ok := field(v, key.Value)
		switch {
		case !ok:
			keys := keysOf(v.Type())
			told := "unknown key"
			if near := words.Nearest(key.Value, keys); near != "" {
				told += ", perhaps " + near
			}
			d.errs = append(d.errs, &Error{
				File: d.at.file, Line: key.Line, Key: at, Value: told, Want: "one of " + strings.Join(keys, ", "),
			})
		case seen[key.Value]:
			d.errs = append(d.errs, &Error{
				File: d.at.file, Line: key.Line, Key: at, Value: "given twice",
				Want: "each key once",
			})
		default:
			seen[key.Value] = true
			d.value(val, f, at)
		}
	}
}

// list replaces what the slice held.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "a list")
		return
	}
	s := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		d.value(c, s.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(s)
}

// scalar sets v from its text and returns what would be right, empty when it is.
func scalar(text string, v reflect.Value) (want string) {
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return wantOf(v)
		}
		*p = d
	case *netip.Prefix:
		return prefix(text, p)
	case *netip.Addr:
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return wantOf(v)
		}
		*p = a.Unmap()
	case encoding.TextUnmarshaler:
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return err.Error()
		}
	case *bool:
		if text != "true" && text != "false" {
			return wantOf(v)
		}
		*p = text == "true"
	case *int:
		i, err := strconv.Atoi(text)
		if err != nil {
			return wantOf(v)
		}
		*p = i
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return wantOf(v)
		}
		*p = f
	case *string:
		*p = text
	}
	return ""
}

func prefix(text string, dst *netip.Prefix) (want string) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			a = a.Unmap()
			return fmt.Sprintf("a CIDR, such as %v/%d for this address alone", a, a.BitLen())
		}
		return "a CIDR such as 203.0.113.0/24 or 2001:db8::/32"
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 { // flows have no mapped addresses
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return fmt.Sprintf("%v: the address has bits beyond the prefix", p.Masked())
	}
	*dst = p
	return ""
}

func wantOf(v reflect.Value) string {
	switch v.Addr().Interface().(type) {
	case *time.Duration:
		return "a duration such as 10s or 4m"
	case *netip.Prefix:
		return "a CIDR such as 203.0.113.0/24 or 2001:db8::/32"
	case *netip.Addr:
		return "an address such as 203.0.113.7 or 2001:db8::7"
	case *bool:
		return "true or false"
	case *int:
		return "a whole number"
	case *float64:
		return "a number"
	}
	return "one value"
}

func field(v reflect.Value, key string) (f reflect.Value, ok bool) {
	for i := range v.NumField() {
		if k := v.Type().Field(i).Tag.Get("yaml"); k != "" && k == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func keysOf(t reflect.Type) []string {
	keys := make([]string, 0, t.NumField())
	for f := range t.NumField() {
		if k := t.Field(f).Tag.Get("yaml"); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
