package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

var intervals = regexp.MustCompile(`(?m)^    interval: (\S+)$`)

// paced copies the rule files of a folder to dir with groups that are evaluated so many times as often as they say, and
// returns the longest interval.
func paced(folder, dir string, pace int) (longest time.Duration, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no rule files in %s", folder)
	}
	for _, path := range files {
		body, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		text := intervals.ReplaceAllStringFunc(string(body), func(line string) string {
			every, bad := time.ParseDuration(intervals.FindStringSubmatch(line)[1])
			if bad != nil {
				err = fmt.Errorf("%s: %w", path, bad)
			}
			every /= time.Duration(pace)
			longest = max(longest, every)
			return "    interval: " + milliseconds(every)
		})
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(text), 0o600); err != nil {
			return 0, err
		}
	}
	return longest, nil
}

// milliseconds writes d as Prometheus reads it, which knows no fractions.
func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// evaluation is one of a group: when it began, how long it took on the clock, and how long it is from one to the next,
// in seconds.
type evaluation struct {
	group             string
	at, took, between float64
}

func (e evaluation) share() float64 {
	if e.between == 0 {
		return 0
	}
	return e.took / e.between
}

func (e evaluation) String() string {
	return fmt.Sprintf("%.2f %%, %s: %.2f s of %.0f s", 100*e.share(), e.group, e.took, e.between)
}

// evaluations are those that were seen of each group.
type evaluations map[string][]evaluation

// see adds the last of each group, where it is a new one.
func (all evaluations) see(now sample) {
	for name, e := range now.groups {
		if seen := all[name]; len(seen) == 0 || seen[len(seen)-1].at != e.at {
			all[name] = append(seen, e)
		}
	}
}

// worst are the evaluation that takes the most of its interval, and the one that does so among the medians of all
// groups.
func (all evaluations) worst() (longest, median evaluation) {
	for _, seen := range all {
		slices.SortFunc(seen, func(a, b evaluation) int { return cmp.Compare(a.took, b.took) })
		if e := seen[len(seen)-1]; e.share() > longest.share() {
			longest = e
		}
		if e := seen[len(seen)/2]; e.share() > median.share() {
			median = e
		}
	}
	return longest, median
}

// sample is what a server tells of itself at one moment.
type sample struct {
	cpu    float64 // seconds, since it began
	memory float64 // GB
	missed int     // evaluations, since it began
	series int
	groups map[string]evaluation // the last of each group
}

// line is of a metric with at most one label that names a group of rules, as file;group.
var line = regexp.MustCompile(`(?m)^(\w+)(?:\{rule_group="[^"]*;([^"]*)"\})? (\S+)$`)

func (s *server) sample() (sample, error) {
	body, err := s.get(context.Background(), "/metrics", nil)
	if err != nil {
		return sample{}, err
	}
	now := sample{groups: map[string]evaluation{}}
	for _, m := range line.FindAllStringSubmatch(string(body), -1) {
		var v float64
		if _, err := fmt.Sscan(m[3], &v); err != nil || math.IsNaN(v) {
			continue
		}
		e := now.groups[m[2]]
		e.group = m[2]
		switch m[1] {
		case "process_cpu_seconds_total":
			now.cpu = v
		case "process_resident_memory_bytes":
			now.memory = v / 1e9
		case "prometheus_tsdb_head_series":
			now.series = int(v)
		case "prometheus_rule_group_iterations_missed_total":
			now.missed += int(v)
		case "prometheus_rule_group_last_evaluation_timestamp_seconds":
			e.at = v
		case "prometheus_rule_group_last_duration_seconds":
			e.took = v
		case "prometheus_rule_group_interval_seconds":
			e.between = v
		}
		if e.group != "" {
			now.groups[e.group] = e
		}
	}
	return now, nil
}

// watch gives what the server tells each half second to see, and returns the cores that it takes on average.
func (s *server) watch(during time.Duration, see func(sample)) (cores float64, err error) {
	begin, first := time.Now(), sample{}
	for {
		now, err := s.sample()
		if err != nil {
			return 0, err
		}
		if first.cpu == 0 {
			begin, first = time.Now(), now
		}
		see(now)
		if past := time.Since(begin); past > during {
			return (now.cpu - first.cpu) / past.Seconds(), nil
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// reload gives the server, whose folder is dir, another config.
func (s *server) reload(dir, config string) error {
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte(config), 0o600); err != nil {
		return err
	}
	_, err := s.get(context.Background(), "/-/reload", url.Values{})
	return err
}

// recorded is what rules have recorded, as a scrape of it reads, and how many series it is.
func (s *server) recorded() (text string, series int, err error) {
	const names = `{__name__=~"(instance|pool|gateway):.*"}`
	body, err := s.get(context.Background(), "/federate?"+url.Values{"match[]": {names}}.Encode(), nil)
	if err != nil {
		return "", 0, err
	}
	for l := range strings.Lines(string(body)) {
		if !strings.HasPrefix(l, "#") {
			series++
		}
	}
	return string(body), series, nil
}

// loadAverage is how many processes ran or waited to run, on average over one, five and fifteen minutes.
func loadAverage() string {
	body, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(body))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}
