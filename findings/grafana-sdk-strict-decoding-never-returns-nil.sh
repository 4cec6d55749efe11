#!/usr/bin/env bash
# Strict decoding of a valid dashboard with Grafana's foundation SDK for Go returns an error that is not nil.
#
# Guess: UnmarshalJSONStrict returns nil for JSON that has every field and no other, so "if err != nil" tells a
# good dashboard from a bad one.
# Seen: it returns its list of faults, of type cog.BuildErrors, as an error. An empty list in an error is no nil
# error: err != nil is true, and the text of the error is empty. Validate of the same type returns nil. What works is
# errors.As with a cog.BuildErrors, and its length.
# Seen with github.com/grafana/grafana-foundation-sdk/go v0.0.22. Source: the end of Dashboard.UnmarshalJSONStrict in
# go/dashboard/types_gen.go.
#
# Needs Go. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module strict

go 1.24

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	built, err := dashboard.NewDashboardBuilder("empty").Build()
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(built)
	if err != nil {
		panic(err)
	}
	var strict dashboard.Dashboard
	err = strict.UnmarshalJSONStrict(text)
	var faults cog.BuildErrors
	fmt.Printf("err != nil: %v, its text: %q, faults in it: %d of %T\n", err != nil, fmt.Sprint(err), len(faults), err)
	fmt.Printf("Validate() == nil: %v\n", strict.Validate() == nil)
	if err == nil || !errors.As(err, &faults) || len(faults) != 0 {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go list -m github.com/grafana/grafana-foundation-sdk/go
go run .
