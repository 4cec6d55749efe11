package backtest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// command replays a file with text.
func command(t *testing.T, text string) Command {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "flows.csv")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Command{
		Files: []string{file}, Tick: time.Second, Trace: filepath.Join(dir, "trace.csv"),
		Now: func() time.Time { return time.Unix(0, int64(now)) }, Bar: NewBar(nil), Parallel: 1,
	}
}

const fiveFlows = `start,duration,destination
0.5,3.2,192.0.2.1:443
1,0,192.0.2.1:443
2.25,10,192.0.2.1:443
5,1,192.0.2.1:443
40,2,192.0.2.1:443
`

// Held ports of five flows under a cool-down of 15 s, worked out by hand.
func TestTraceOfFiveFlows(t *testing.T) {
	t.Parallel()
	c := command(t, fiveFlows)
	c.Ports, c.CoolDowns = 10, []time.Duration{15 * time.Second}
	var first []byte
	for range 2 {
		var out, errs bytes.Buffer
		if err := c.Run(context.Background(), &out, &errs); err != nil || errs.Len() > 0 {
			t.Fatal(err, errs.String())
		}
		trace, err := os.ReadFile(c.Trace)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, trace) {
			t.Fatal("the same input gave another trace")
		}
		first = trace
	}
	rows, err := csv.NewReader(bytes.NewReader(first)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(TraceHeader(), rows[0]); diff != "" {
		t.Errorf("header (-want +got)\n%s", diff)
	}
	// From second to second: what is held from then on.
	steps := map[int]int{1: 2, 3: 3, 5: 4, 16: 3, 19: 2, 21: 1, 28: 0, 40: 1}
	held := 0
	for i, row := range rows[1:] {
		second := i + 1
		if n, ok := steps[second]; ok {
			held = n
		}
		want := []string{strconv.Itoa(second), "192.0.2.1:443", strconv.Itoa(held), "10"}
		if diff := cmp.Diff(want, row[:4]); diff != "" {
			t.Errorf("row %d (-want +got)\n%s", i, diff)
		}
		p, v := 0.0, 0.0
		for h := range horizons {
			x := [3]float64{}
			for k := range x {
				if x[k], err = strconv.ParseFloat(row[4+3*h+k], 64); err != nil || !(x[k] >= 0 && x[k] < 1e9) {
					t.Fatalf("row %d: %q, %v", i, row[4+3*h+k], err)
				}
			}
			if x[0] < p || x[0] > 1 || x[2] < v {
				t.Errorf("row %d: probability %v after %v, variance %v after %v", i, x[0], p, x[2], v)
			}
			p, v = x[0], x[2]
		}
	}
	if n := len(rows) - 1; n != 42 {
		t.Errorf("%d rows, want one a second until the last flow has ended", n)
	}
}

// The forecast of a tick knows what opened at its very moment, as all flows of a record in whole seconds do.
func TestTraceKnowsItsSecond(t *testing.T) {
	t.Parallel()
	for _, tick := range []time.Duration{500 * time.Millisecond, time.Second, 5 * time.Second, time.Minute} {
		c := command(t, "start,duration,destination\n0,1000,192.0.2.1:443\n300,1,192.0.2.1:443\n"+strings.Repeat("600,100,192.0.2.1:443\n", 1200))
		c.Ports, c.CoolDowns, c.Tick = 1024, []time.Duration{0}, tick
		if err := c.Run(context.Background(), &bytes.Buffer{}, &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		trace, err := os.ReadFile(c.Trace)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(trace)) {
			if row := strings.Split(line, ","); row[0] == "600" {
				mean, err := strconv.ParseFloat(row[5], 64)
				if row[2] != "1201" || row[4] != "1" || err != nil || mean < 300 {
					t.Errorf("tick %v: held %s, probability %s, mean %s; want 1201, 1, over 300", tick, row[2], row[4], row[5])
				}
			}
		}
	}
}

func TestCommandRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		set  func(*Command)
		want string
	}{
		{"no file", func(c *Command) { c.Files = nil }, "name files to replay, or a scenario"},
		{"no tick", func(c *Command) { c.Tick = 0 }, "tick 0s: want over 0 and at most a minute"},
		{"a tick that no horizon is a multiple of", func(c *Command) { c.Tick = 25 * time.Second }, "tick 25s: it does not divide a minute, and a horizon has whole ticks; want 0.5s, 1s,"},
		{"a tick of less than that", func(c *Command) { c.Tick = 700 * time.Millisecond }, "tick 700ms: it does not divide a minute"},
		{"fewer than no ports", func(c *Command) { c.Ports = -1 }, "budget -1: want ports, at most 1073741824, or none"},
		{"more ports than there are", func(c *Command) { c.Ports = 3e9 }, "budget 3000000000: want ports, at most 1073741824, or none"},
		{"nodes of static numbers", func(c *Command) { c.Nodes = 5 }, "nodes 5, vips 0: want none with the model static, or name another model"},
		{"a pool of none", func(c *Command) { c.Model = "azure-lb" }, "nodes: 0, want 1 to 1000"},
		{"a pool of fewer than none, with ports", func(c *Command) { c.Model, c.Nodes, c.Ports = "azure-lb", -1, 10 }, "nodes: -1, want"},
		{"a pool beyond the table, with ports", func(c *Command) { c.Model, c.Nodes, c.Ports = "azure-lb", 5000, 10 }, "nodes: 5000, want"},
		{"a model of a scenario", func(c *Command) {
			c.Files, c.Scenario, c.Hours, c.Seeds, c.TrainSeeds, c.Model = nil, "slow", 1, 1, 1, "azure-lb"
		}, "model, nodes and vips are for recorded flows; a scenario has its own budget"},
		{"nodes of a scenario", func(c *Command) { c.Files, c.Scenario, c.Quick, c.Nodes = nil, "slow", true, 5 }, "model, nodes and vips are for recorded flows; a scenario has its own budget"},
		{"VIPs of a scenario", func(c *Command) { c.Files, c.Scenario, c.Quick, c.VIPs = nil, "slow", true, 5 }, "model, nodes and vips are for recorded flows; a scenario has its own budget"},
		{"a profile of a record", func(c *Command) { c.Profile = "P0" }, "profile, hours, seeds, train-seeds and quick are for scenarios"},
		{"hours of a record", func(c *Command) { c.Hours, c.Sized = 3, true }, "profile, hours, seeds, train-seeds and quick are for scenarios"},
		{"a quick record", func(c *Command) { c.Quick = true }, "profile, hours, seeds, train-seeds and quick are for scenarios"},
		{"quick and of some hours", func(c *Command) { c.Files, c.Scenario, c.Quick, c.Hours, c.Sized = nil, "slow", true, 3, true }, "quick has hours, seeds and train-seeds of its own"},
		{"no such source", func(c *Command) { c.Source = "a" }, `source "a" is not in the record`},
		{"a trace of two replays", func(c *Command) { c.Ports, c.CoolDowns = 10, make([]time.Duration, 2) }, "here are 2 replays"},
		{"no such file", func(c *Command) { c.Files = []string{"none.csv"} }, "open none.csv: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := command(t, fiveFlows)
			tt.set(&c)
			if err := c.Run(context.Background(), &bytes.Buffer{}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// Where nothing is judged, the true reason is given.
func TestCommandSaysWhyNothingIsJudged(t *testing.T) {
	t.Parallel()
	// Six ports are held from the beginning on, and only then.
	text := "start,duration,destination\n" + strings.Repeat("0,30,192.0.2.1:443\n", 6) + strings.Repeat("600,1,192.0.2.1:443\n", 4)
	for ports, want := range map[int]string{
		0: "nothing to judge: no port space rises to 5 ports or more after the first cool-down and minute, so that there is no ceiling to choose; a budget may be given\n",
		100: "nothing to judge: no port space held 10 % of its ceiling\n\nHeld against the budget, the fullest first\n\n" +
			"  flows.csv 192.0.2.1:443/tcp 0 s held 6 of 100 ports at most, at 0s into the record; never exhausted\n",
	} {
		c := command(t, text)
		c.Ports, c.CoolDowns, c.Trace = ports, []time.Duration{0}, ""
		var out bytes.Buffer
		if err := c.Run(context.Background(), &out, &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		if _, got, _ := strings.Cut(out.String(), "\n"); got != want {
			t.Errorf("budget %d: it says %q, want %q", ports, got, want)
		}
	}
}

// The report of a record ends with what was held against the budget, when, and for how long that was exhausted. A record
// that is above its ceiling throughout has no episode, which is not said as if nothing were amiss: "0 episodes" once.
func TestCommandEndsWithThePeaks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, rows, first, last string }{
		{
			"746 of 64 throughout", strings.Repeat("0,7200,192.0.2.1:443\n", 746),
			"1 runs, port spaces at their ceiling throughout: 1, so that no episode begins, 0 predictions",
			"  flows.csv 192.0.2.1:443/tcp 0 s held 746 of 64 ports at most, at 0s into the record; at its ceiling throughout, " +
				"for 2h0m0s\n",
		},
		{
			"for a while", "0,7200,192.0.2.1:443\n" + strings.Repeat("3600,90,192.0.2.1:443\n", 70) + "4000,1,192.0.2.2:443\n",
			"1 runs, 1 episodes, ",
			"  flows.csv 192.0.2.1:443/tcp 0 s held 71 of 64 ports at most, at 1h0m0s into the record; exhausted for 1m30s\n" +
				"  flows.csv 192.0.2.2:443/tcp 0 s held 1 of 64 ports at most, at 1h6m40s into the record; never exhausted\n",
		},
		{
			"before anything is judged", strings.Repeat("0,40,192.0.2.1:443\n", 70) + "600,1,192.0.2.1:443\n",
			"1 runs, no episode after the warm-up, though ports were exhausted, ",
			"  flows.csv 192.0.2.1:443/tcp 0 s held 70 of 64 ports at most, at 0s into the record; exhausted for 40s\n",
		},
		{
			"through two VIPs", strings.Repeat("0,600,192.0.2.1:443,198.51.100.1\n", 60) + strings.Repeat("60,600,192.0.2.1:443,198.51.100.2\n", 40) +
				"900,1,192.0.2.1:443,198.51.100.2\n",
			"1 runs, no episode after the warm-up, though ports were exhausted, ",
			"  flows.csv 192.0.2.1:443/tcp 0 s held 100 of 64 ports at most, at 1m0s into the record (through 2 VIPs, at most 60 " +
				"through one); exhausted for 9m0s\n",
		},
		{
			"with times since 1970", strings.Repeat("1600000000,60,192.0.2.1:443\n", 7) + "1600000600,3600,192.0.2.1:443\n",
			"1 runs, 0 episodes, ",
			"  flows.csv 192.0.2.1:443/tcp 0 s held 7 of 64 ports at most, at 2020-09-13T12:26:40Z; never exhausted\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			head := "start,duration,destination\n"
			if strings.Contains(tt.name, "VIPs") {
				head = "start,duration,destination,vip\n"
			}
			c := command(t, head+tt.rows)
			c.Ports, c.CoolDowns, c.Trace = 64, []time.Duration{0}, ""
			var out bytes.Buffer
			if err := c.Run(context.Background(), &out, &bytes.Buffer{}); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			if !strings.HasPrefix(text, tt.first) || !strings.HasSuffix(text, "the fullest first\n\n"+tt.last) {
				t.Errorf("it begins %.120q and ends %q; want %q and %q", text, text[max(0, len(text)-300):], tt.first, tt.last)
			}
		})
	}
}

// One odd row of a record may not cost it its result, nor the machine its memory.
func TestCommandBoundsARun(t *testing.T) {
	t.Parallel()
	var rows strings.Builder
	rows.WriteString("start,duration,destination\n")
	for k := range 2000 {
		fmt.Fprintf(&rows, "%d,5,192.0.2.1:443\n", k)
	}
	tests := []struct {
		name, row string
		ports     int
		traced    bool
		want      string // "" for a result
	}{
		{"a flow of three years", "5,1e8,192.0.2.1:443\n", 10, false, ""},
		{"a flow of three years, ports chosen", "5,1e8,192.0.2.1:443\n", 0, false, ""},
		{"a flow of three years in a trace", "5,1e8,192.0.2.1:443\n", 10, true, "flows.csv: a flow that starts at 5 ends at 100000005: a trace until then has 100000005 ticks, more than 50000000; take a longer --tick, or mend the record"},
		{"a start a year late", "31000000,1,192.0.2.1:443\n", 10, false, "flows.csv: 31000000 ticks of 1 port spaces, more than 16000000 that can be judged at once: its flows start from 0 to 31000000, none of them between 1999 and 31000000; take a longer --tick or one --source, or mend the record"},
		{"a start a year late, ports chosen", "31000000,1,192.0.2.1:443\n", 0, false, "flows.csv: 31000000 ticks of 1 port spaces, more than 16000000"},
		{"a start two years late", "62000000,1,192.0.2.1:443\n", 10, false, "flows.csv: 62000000 ticks, more than 50000000: its flows start from 0 to 62000000, none of them between 1999 and 62000000; take a longer --tick, or mend the record"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := command(t, rows.String()+tt.row)
			if c.Ports, c.CoolDowns = tt.ports, []time.Duration{0}; !tt.traced {
				c.Trace = ""
			}
			var out bytes.Buffer
			err := c.Run(context.Background(), &out, &bytes.Buffer{})
			switch {
			case tt.want == "" && (err != nil || out.Len() == 0):
				t.Errorf("%v, want a result", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// Over 1 % of bad records fail the command after it has printed its figures; fewer do not.
func TestCommandTellsOfBadInput(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("1,1,192.0.2.1:443\n", 99)
	for bad, want := range map[string]error{"": nil, "2,-1,192.0.2.1:443\n": nil, "2,-1,x\n3,-1,x\n": ErrBadInput} {
		c := command(t, "start,duration,destination\n"+good+bad)
		c.Ports, c.CoolDowns, c.Trace = 200, []time.Duration{0}, ""
		var out, errs bytes.Buffer
		if err := c.Run(context.Background(), &out, &errs); !errors.Is(err, want) || out.Len() == 0 {
			t.Errorf("%q: %v, want %v; %d bytes of figures", bad, err, want, out.Len())
		}
		if bad != "" && !strings.HasPrefix(errs.String(), "flows.csv line 101 column duration: the duration is negative\n") {
			t.Errorf("%q: it says %s", bad, errs.String())
		}
	}
}
