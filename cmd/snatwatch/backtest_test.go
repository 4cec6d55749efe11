package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// runBacktest runs the subcommand and returns its exit status and what it printed.
func runBacktest(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	e := &env{stdout: &out, stderr: &errs}
	status = e.run(context.Background(), append([]string{"backtest"}, args...))
	return status, out.String(), errs.String()
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// calls is a record: every second for ten minutes a call of 2 s to a store, every tenth one to a cache.
func calls() string {
	var b strings.Builder
	b.WriteString("start,duration,destination,protocol,reason\n")
	for k := range 600 {
		fmt.Fprintf(&b, "%d.5,2,203.0.113.7:443,tcp,fin\n", k)
		if k%10 == 0 {
			fmt.Fprintf(&b, "%d.5,0.1,192.0.2.1:6379,tcp,rst\n", k)
		}
	}
	return b.String()
}

func TestBacktestTrace(t *testing.T) {
	t.Parallel()
	record := writeFile(t, "calls.csv", calls())
	trace := filepath.Join(t.TempDir(), "trace.csv")
	status, stdout, stderr := runBacktest(t, record, "--budget=100", "--cooldown=30", "--tick=5s", "--trace="+trace)
	if status != statusOK || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	if want := "1 runs, 0 episodes"; !strings.Contains(stdout, want) {
		t.Errorf("output lacks %q:\n%s", want, stdout)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	header := "t,destination,held,budget,p_1m,mean_1m,variance_1m,p_5m,mean_5m,variance_5m,p_15m,mean_15m,variance_15m,p_1h,mean_1h,variance_1h,protocol"
	if diff := cmp.Diff(header, strings.Join(rows[0], ",")); diff != "" {
		t.Fatalf("header (-want +got)\n%s", diff)
	}
	held := map[string]map[string]string{}
	for n, row := range rows[1:] {
		if held[row[1]] == nil {
			held[row[1]] = map[string]string{}
		}
		held[row[1]][row[0]] = row[2]
		if row[3] != "100" || row[16] != "tcp" {
			t.Fatalf("row %d: budget %s, protocol %s", n, row[3], row[16])
		}
		last := 0.0
		for h := range 4 {
			var x [3]float64
			for i := range x {
				if x[i], err = strconv.ParseFloat(row[4+3*h+i], 64); err != nil || math.IsNaN(x[i]) || math.IsInf(x[i], 0) {
					t.Fatalf("row %d: %q is not a finite number", n, row[4+3*h+i])
				}
			}
			if x[0] < last || x[0] > 1 || x[1] < 0 || x[2] < 0 {
				t.Fatalf("row %d horizon %d: p %v after %v, mean %v, variance %v", n, h, x[0], last, x[1], x[2])
			}
			last = x[0]
		}
	}
	// A call is held for 2 + 30 s, so 32 at a time; one of the cache's for 30.1 s: three, or four while
	// one has just come.
	if got := held["203.0.113.7:443"]["300"]; got != "32" {
		t.Errorf("store at 300 s: %s held, want 32", got)
	}
	if got := held["192.0.2.1:6379"]["300"]; got != "3" {
		t.Errorf("cache at 300 s: %s held, want 3", got)
	}
	if got := len(held["203.0.113.7:443"]); got != 120 {
		t.Errorf("%d ticks of the store, want 120", got)
	}
}

func TestBacktestExitStatus(t *testing.T) {
	t.Parallel()
	const bad = "601,-1,203.0.113.7:443,tcp,fin\n"
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(calls()))
	_ = z.Close()
	tests := []struct {
		name, file, text string
		args             []string
		status           int
		stderr           string
	}{
		{"good", "a.csv", calls(), nil, statusOK, ""},
		{"gzipped", "a.csv.gz", zipped.String(), nil, statusOK, ""},
		{"few bad", "a.csv", calls() + strings.Repeat(bad, 6), nil, statusOK, "a.csv line 662 column duration: the duration is negative"},
		{"over 1 % bad", "a.csv", calls() + strings.Repeat(bad, 7), nil, statusError, "a.csv: 7 of 667 records are bad"},
		{"cut short", "a.csv.gz", zipped.String()[:zipped.Len()-9], nil, statusError, "the file is broken from here on: unexpected EOF"},
		{"future", "a.csv", calls() + strings.Repeat("9000000000,1,a,tcp,fin\n", 9), nil, statusError, "line 662 column start: lies in the future"},
		{"empty", "a.csv", "", nil, statusError, "no usable flow"},
		{"missing column", "a.csv", "start,destination\n1,a\n", nil, statusError, "a.csv column duration: is missing"},
		{"no such file", "", "", []string{"/nonexistent.csv"}, statusError, "/nonexistent.csv"},
		{"nothing to do", "", "", nil, statusError, "name files to replay, or a scenario"},
		{"no such scenario", "", "", []string{"--scenario=storm"}, statusError, `scenario "storm": want all, or one of steady`},
		{"no such profile", "", "", []string{"--scenario=slow", "--profile=P1"}, statusError, `profile "P1": want P0, P15 or P240`},
		{"hours of a record", "a.csv", calls(), []string{"--hours=8"}, statusError, "hours, seeds, train-seeds and quick are for scenarios"},
		{"seeds of a record", "a.csv", calls(), []string{"--seeds=1"}, statusError, "hours, seeds, train-seeds and quick are for scenarios"},
		{"train-seeds of a record", "a.csv", calls(), []string{"--train-seeds=2"}, statusError, "hours, seeds, train-seeds and quick are for scenarios"},
		{"nodes of a scenario", "", "", []string{"--scenario=slow", "--nodes=3"}, statusError, "model, nodes and vips are for recorded flows"},
		{"no such model", "a.csv", calls(), []string{"--model=cloud"}, statusError, "model"},
		{"model without nodes", "a.csv", calls(), []string{"--model=azure-lb"}, statusError, "nodes"},
		{"model", "a.csv", calls(), []string{"--model=azure-lb", "--nodes=60"}, statusOK, ""},
		{"cool-down", "a.csv", calls(), []string{"--cooldown=-5"}, statusError, `cool-down "-5"`},
		{"tick", "a.csv", calls(), []string{"--tick=0s"}, statusError, "tick 0s"},
		{"trace of many", "a.csv", calls(), []string{"--trace=/dev/null"}, statusError, "a trace takes one record"},
		{"unknown source", "a.csv", calls(), []string{"--source=b"}, statusError, `source "b" is not in the record`},
		{"unknown flag", "", "", []string{"--what"}, statusUsage, "unknown long flag"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := tt.args
			if tt.file != "" {
				args = append([]string{writeFile(t, tt.file, tt.text)}, args...)
			}
			status, _, stderr := runBacktest(t, args...)
			if status != tt.status || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("status %d, stderr %q; want %d and %q", status, stderr, tt.status, tt.stderr)
			}
		})
	}
}

// A bad file beside a good one does not keep that from being judged.
func TestBacktestGoesOn(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := runBacktest(t, writeFile(t, "bad.csv", "what\n1\n"), writeFile(t, "good.csv", calls()), "--budget=40", "--cooldown=30s")
	if status != statusError || !strings.Contains(stdout, "good.csv 203.0.113.7:443/tcp 30 s") || !strings.Contains(stderr, "bad.csv column start: is missing") {
		t.Errorf("status %d, stderr %q, stdout:\n%s", status, stderr, stdout)
	}
}

func TestBacktestScenario(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.html")
	status, stdout, stderr := runBacktest(t, "--scenario=burst", "--profile=P240", "--hours=1", "--seeds=1", "--train-seeds=1", "--json", "--html="+page)
	if status != statusOK || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var got struct {
		Runs     int      `json:"runs"`
		Horizons []string `json:"horizons"`
		Methods  []struct {
			Name string     `json:"name"`
			Kind string     `json:"kind"`
			MAE  []*float64 `json:"mae"`
		} `json:"methods"`
		Cells []struct {
			Member string `json:"member"`
			Apart  int    `json:"ledger_apart"`
		} `json:"cells"`
		Targets []struct {
			Text string `json:"text"`
		} `json:"targets"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.Runs != 1 || len(got.Horizons) != 4 || len(got.Methods) != 10 || got.Methods[0].Name != "snatwatch" || got.Methods[0].Kind != "forecast" ||
		len(got.Cells) != 1 || got.Cells[0].Member != "P240" || got.Cells[0].Apart != 0 || len(got.Targets) != 4 {
		t.Errorf("got %+v", got)
	}
	for _, m := range got.Methods {
		if m.MAE[0] == nil || *m.MAE[0] <= 0 {
			t.Errorf("%s: no mean absolute error", m.Name)
		}
	}
	html, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"burst P240", `<polygon class="held" points="`, `<polygon class="band" points="`, `class="h1h"`} {
		if !bytes.Contains(html, []byte(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{"http://", "https://", "src=", "<script", "NaN"} {
		if bytes.Contains(html, []byte(not)) {
			t.Errorf("the page has %q", not)
		}
	}
}
