package measured

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/plan"
)

// log writes a flow log of AWS: on each of so many days, for an hour, a flow each second that lives for some seconds, to
// one destination, and every fourth second one to another.
func log(t *testing.T, days, life int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("version interface-id srcaddr dstaddr srcport dstport protocol start end action log-status tcp-flags\n")
	row := func(second, last int) {
		start := 1600000000 + second
		fmt.Fprintf(&b, "5 eni-1 10.0.0.5 203.0.113.%d %d 443 6 %d %d ACCEPT OK 3\n", last, 1024+second%60000, start, start+life)
	}
	for d := range days {
		for s := range 3600 {
			if row(d*86400+s, 7); s%4 == 0 {
				row(d*86400+s, 8)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "flows.log")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFromLogs(t *testing.T) {
	t.Parallel()
	today := budget.Params{Name: "today", Model: "azure-lb-manual", Ports: 512, Nodes: 4, VIPCount: 1}
	in, lines, err := FromLogs([]string{log(t, 4, 10)}, today)
	if err != nil {
		t.Fatal(err)
	}
	// One a second, held for 10 s and a cool-down of 240 s: 250, and one more while a second begins.
	d := &in.Demand
	if d.Destination != "203.0.113.7:443" || math.Abs(d.Next-0.25) > 0.02 || math.Abs(d.Lifetimes.Mean()-10) > 0.01 || d.Cut {
		t.Errorf("%+v; want 203.0.113.7:443, lifetimes of 10 s, the next at a quarter", d)
	}
	if load := d.Rate * 250; load < 200 || load > 251 {
		t.Errorf("a load of %.1f ports; want a little under 250", load)
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"18000 rows, 18000 of them hold ports", "203.0.113.7:443/tcp from 10.0.0.5 held 250 of 512 ports at most, at 2020-09-13T12:30:49Z; never exhausted"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if _, err := plan.Make(in); err != nil {
		t.Error(err)
	}
	today.Ports = 64
	in, lines, err = FromLogs([]string{log(t, 1, 10)}, today)
	if text := strings.Join(lines, "\n"); err != nil || !strings.Contains(text, "held 250 of 64 ports at most") || !strings.Contains(text, "at its ceiling throughout") {
		t.Errorf("error %v; no word of 250 of 64 held throughout in\n%s", err, text)
	}
	if notes := strings.Join(in.Notes, "\n"); !strings.Contains(notes, "the peaks of 1 day only") {
		t.Errorf("notes %q, want a word of 1 day", notes)
	}
}

// A directory stands for the files that snatwatch record wrote there.
func TestFromLogsOfADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	today := budget.Params{Name: "today", Model: "static", Ports: 64}
	if _, _, err := FromLogs([]string{dir}, today); err == nil || !strings.Contains(err.Error(), "has no file *.csv.gz") {
		t.Errorf("an empty directory: error %v", err)
	}
	for i := range 2 {
		rows := "# snatwatch record 1\nstart_s,end_s,destination,port,source,protocol,reason\n"
		for k := range 30 {
			rows += fmt.Sprintf("%d,%d,203.0.113.7,443,10.0.0.5,tcp,fin\n", 1600000000+i*3600+k, 1600000000+i*3600+60)
		}
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = io.WriteString(z, rows)
		_ = z.Close()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("flows-%d.csv.gz", i)), zipped.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, lines, err := FromLogs([]string{dir}, today)
	if text := strings.Join(lines, "\n"); err != nil || strings.Count(text, "snatwatch record, 30 rows") != 2 || !strings.Contains(text, "held 30 of 64") {
		t.Errorf("error %v; want two files with 30 ports at most:\n%s", err, text)
	}
}

func TestFromLogsRefuses(t *testing.T) {
	t.Parallel()
	good := budget.Params{Name: "today", Model: "static", Ports: 64}
	dir := t.TempDir()
	moment := filepath.Join(dir, "list")
	if err := os.WriteFile(moment, []byte(strings.Repeat("tcp 6 431999 ESTABLISHED src=10.0.0.5 dst=203.0.113.7 sport=1 dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1\n", 70)), 0o600); err != nil {
		t.Fatal(err)
	}
	in, lines, err := FromLogs([]string{moment}, good)
	if err == nil || !strings.Contains(err.Error(), "a list of one moment") || !strings.Contains(strings.Join(lines, "\n"), "held 70 of 64 ports at most") {
		t.Errorf("%+v, lines %q, error %v; want 70 of 64 told and no plan", in, lines, err)
	}
	for _, tt := range []struct {
		path   string
		budget budget.Params
		want   string
	}{
		{filepath.Join(dir, "none"), good, "no such file"},
		{moment, budget.Params{Model: "azure-lb"}, "nodes: missing"},
	} {
		if _, _, err := FromLogs([]string{tt.path}, tt.budget); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.path, err, tt.want)
		}
	}
}
