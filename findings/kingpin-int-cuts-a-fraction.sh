#!/usr/bin/env bash
# kingpin takes 2.7 for a flag of type int, and makes it 2.
#
# Guess: a flag that is made by Int() refuses what is no whole number, as Go's package flag and kingpin's own Int64()
# do.
# Seen: Int() reads the value as a fraction and cuts it off. 2.7 is 2, 0.5 is 0 and 1e3 is 1000, without an error.
# Int64() refuses all three. So a limit of 0.5 is one of 0, which many programs take for "no limit". A program has to
# look at the text that was given, as ParseContext returns it, or use Int64().
# Seen with github.com/alecthomas/kingpin/v2 v2.4.0. Source: intValue.Set in values_generated.go.
#
# Needs Go. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module whole

go 1.24

require github.com/alecthomas/kingpin/v2 v2.4.0
MOD
cat >main.go <<'GO'
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kingpin/v2"
)

func app() *kingpin.Application {
	return kingpin.New("whole", "").Terminate(nil).UsageWriter(io.Discard).ErrorWriter(io.Discard)
}

func main() {
	changed := false
	for _, given := range []struct {
		text string
		want int
	}{{"2.7", 2}, {"0.5", 0}, {"1e3", 1000}} {
		argument := []string{"--limit=" + given.text}
		one := app()
		v := one.Flag("limit", "").Int()
		_, err := one.Parse(argument)
		other := app()
		other.Flag("limit", "").Int64()
		_, longErr := other.Parse(argument)
		set := flag.NewFlagSet("whole", flag.ContinueOnError)
		set.SetOutput(io.Discard)
		set.Int("limit", 0, "")
		stdErr := set.Parse(argument)
		fmt.Printf("%s: kingpin's Int gives %d, error %v; its Int64: %v; flag: %v\n", given.text, *v, err, longErr, stdErr)
		changed = changed || err != nil || *v != given.want || longErr == nil || stdErr == nil
	}
	if changed {
		fmt.Println("changed")
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go list -m github.com/alecthomas/kingpin/v2
go run .
