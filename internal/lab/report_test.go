package lab

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		bounds *Bounds
		text   string
		in     []float64
		out    []float64
	}{
		{"none", nil, "", []float64{-1, 0, 1e9}, nil},
		{"exactly", exactly(1024), "1024", []float64{1024}, []float64{1023, 1025}},
		{"at least", atLeast(76), "≥ 76", []float64{76, 1e9}, []float64{75.9}},
		{"at most", atMost(24), "≤ 24", []float64{0, 24}, []float64{25}},
		{"between", between(0, 0.05), "0–0.05", []float64{0, 0.05}, []float64{0.051, -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.bounds.String(); got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
			for _, v := range tt.in {
				if !tt.bounds.holds(v) {
					t.Errorf("%v does not hold %v", tt.bounds, v)
				}
			}
			for _, v := range tt.out {
				if tt.bounds.holds(v) {
					t.Errorf("%v holds %v", tt.bounds, v)
				}
			}
		})
	}
}

// report is one with a row of each kind, and a step that broke off.
func report() Report {
	a := StepReport{Name: "one-vip", Title: "1100 flows"}
	a.count("sockets", 1023, exactly(1024), "one too few")
	a.add("loss", 0.123, "%", nil, "rare")
	a.count("drops", 76, atLeast(76), "seen")
	b := StepReport{Name: "fill", Title: "more flows", Error: "send: network is down"}
	return Report{Kernel: "6.18.0", Steps: []StepReport{a, b}}
}

func TestWriteTable(t *testing.T) {
	t.Parallel()
	r := report()
	var got bytes.Buffer
	if err := r.WriteTable(&got); err != nil {
		t.Fatal(err)
	}
	const want = `Linux 6.18.0, counted from the kernel
     measured  expected  what was counted                                       what it means

one-vip: 1100 flows
FAIL     1023  1024      sockets                                                one too few
       0.12 %            loss                                                   rare
ok         76  ≥ 76      drops                                                  seen

fill: more flows
FAIL send: network is down
`
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Errorf("table (-want +got):\n%s", d)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	r := report()
	want := []string{"one-vip: sockets: expected 1024, measured 1023", "fill: send: network is down"}
	if d := cmp.Diff(want, r.failures()); d != "" {
		t.Errorf("failures (-want +got):\n%s", d)
	}
}

func TestWriteJSON(t *testing.T) {
	t.Parallel()
	r := Report{Kernel: "6.18.0", OK: true, Steps: []StepReport{{Name: "s", Title: "t"}}}
	r.Steps[0].count("sockets", 1024, atLeast(1000), "enough")
	var got bytes.Buffer
	if err := r.WriteJSON(&got); err != nil {
		t.Fatal(err)
	}
	const want = `{
  "kernel": "6.18.0",
  "ok": true,
  "steps": [
    {
      "name": "s",
      "title": "t",
      "rows": [
        {
          "what": "sockets",
          "measured": 1024,
          "expected": {
            "min": 1000
          },
          "ok": true,
          "means": "enough"
        }
      ]
    }
  ]
}
`
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Errorf("JSON (-want +got):\n%s", d)
	}
}
