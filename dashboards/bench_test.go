package dashboards_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkBoards measures what it costs to open each board on a made-up fleet of 1,000 nodes with 50 destinations
// each: the time that a real Prometheus takes for all its queries, one after the other, the CPU of it and the bytes
// of its answers. Each board is opened three times and the least is reported: other work on the machine only adds.
// SNATWATCH_BOARDS names a folder with other JSON to compare with; PROMETHEUS is the program, or prometheus in PATH.
// Making the fleet up takes minutes.
//
//	go test -run=^$ -bench=Boards -benchtime=1x -timeout=30m ./dashboards
func BenchmarkBoards(b *testing.B) {
	compared := map[string]map[string]board{"": load(b)}
	if dir := os.Getenv("SNATWATCH_BOARDS"); dir != "" {
		compared["other/"] = read(b, dir)
	}
	a := serve(b, program(b), &fleet{nodes: 1000, destinations: 50, every: 15 * time.Second})
	for _, prefix := range slices.Sorted(maps.Keys(compared)) {
		boards := compared[prefix]
		for _, name := range slices.Sorted(maps.Keys(boards)) {
			b.Run(prefix+strings.TrimSuffix(name, ".json"), func(b *testing.B) {
				a.open(b, boards[name], boards[name].single(&fleet{}))
				for b.Loop() {
					var bytes int
					least, cpu := time.Hour, 1e9
					for range 3 {
						var all time.Duration
						bytes = 0
						before := a.cpu(b)
						for _, p := range boards[name].Panels {
							for i := range p.Targets {
								_, size, took := a.ask(b, p, i, boards[name].single(&fleet{}))
								bytes, all = bytes+size, all+took
							}
						}
						least, cpu = min(least, all), min(cpu, a.cpu(b)-before)
					}
					b.ReportMetric(least.Seconds(), "s")
					b.ReportMetric(cpu, "cpu-s")
					b.ReportMetric(float64(bytes)/1000, "kB")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// looked returns the boards of the folder that SNATWATCH_BOARDS names, to see what tests say of others, or the committed
// ones.
func looked(t testing.TB) map[string]board {
	t.Helper()
	if dir := os.Getenv("SNATWATCH_BOARDS"); dir != "" {
		return read(t, dir)
	}
	return load(t)
}

// read returns the boards of a folder.
func read(t testing.TB, dir string) map[string]board {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no boards in %s: %v", dir, err)
	}
	out := map[string]board{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := parseBoard(string(body))
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(file)] = b
	}
	return out
}

// cpu is the CPU time that the server has taken, in seconds.
func (a *asked) cpu(t testing.TB) float64 {
	t.Helper()
	body, err := a.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		var seconds float64
		if n, _ := fmt.Sscanf(line, "process_cpu_seconds_total %g", &seconds); n == 1 {
			return seconds
		}
	}
	t.Fatal("Prometheus does not tell its CPU time")
	return 0
}
