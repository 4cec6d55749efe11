package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"time"
)

// sharding is how the rules of each shard are measured on a real Prometheus.
type sharding struct {
	// clusters is a regular expression for each shard, as snatgen was given it, and only says which are measured, from 1
	// on; all where it is empty.
	clusters []string
	only     []int
	// pace is how many times as often groups are evaluated as their files say. What an evaluation takes does not depend
	// on it, and a round of all groups takes 32 minutes at a pace of one.
	pace int
	// rounds of all groups are measured, after one that does not count.
	rounds int
}

// What stands in the database when rules begin: a chunk of 120 samples is half full then, as it is on average. There
// are samples ahead of now until rules were measured, so nothing but rules takes CPU.
const (
	behind = 12 * time.Minute
	settle = 10 * time.Minute
)

// measured is what was seen of one shard, or of all.
type measured struct {
	name   string
	nodes  int
	series int
	memory float64 // GB
	cores  float64
	// median is the evaluation that takes the most of its interval among the medians of groups, longest among all.
	median, longest evaluation
	missed          int // evaluations that began late or not at all
	recorded        int // series
}

// shards measures the rules of shards one after the other, each on a Prometheus with the series of the shard's
// clusters, and then a Prometheus above them that reads what all of them recorded.
func (f fleet) shards(out io.Writer, program, folder string, of sharding) error {
	var recorded []string
	_, _ = fmt.Fprintln(out, "| shard | nodes | series | samples/s | memory | rules, of a core | of its interval, the "+
		"group that takes the most: median | longest | missed | recorded series |\n|---|---|---|---|---|---|---|---|---|---|")
	total := measured{}
	for i, clusters := range of.clusters {
		if len(of.only) > 0 && !slices.Contains(of.only, i+1) {
			continue
		}
		one, err := f.of(clusters)
		if err != nil {
			return err
		}
		m, text, err := one.shard(program, filepath.Join(folder, fmt.Sprintf("shard-%d", i+1)), of)
		if err != nil {
			return err
		}
		m.name = fmt.Sprintf("%s, load %s", clusters, loadAverage())
		_, _ = fmt.Fprintln(out, m)
		recorded = append(recorded, text)
		total.add(m)
	}
	if len(recorded) < 2 {
		return nil
	}
	total.name = fmt.Sprintf("all %d", len(recorded))
	_, _ = fmt.Fprintln(out, total)
	return above(out, program, recorded)
}

// of are the nodes of the clusters that a regular expression matches.
func (f fleet) of(clusters string) (fleet, error) {
	re, err := regexp.Compile("^(?:" + clusters + ")$")
	if err != nil {
		return f, err
	}
	f.clusters = nil
	for c := range f.Clusters {
		if re.MatchString(fmt.Sprintf("c%d", c)) {
			f.clusters = append(f.clusters, c)
		}
	}
	if len(f.clusters) == 0 {
		return f, fmt.Errorf("--shard=%s: no cluster is called so: they are c0 to c%d", clusters, f.Clusters-1)
	}
	return f, nil
}

// String is a row of a table.
func (m measured) String() string {
	return fmt.Sprintf("| %s | %d | %d | %.0f | %.2f GB | %.2f %% | %s | %s | %d | %d |", m.name, m.nodes, m.series,
		float64(m.series)/step.Seconds(), m.memory, 100*m.cores, m.median, m.longest, m.missed, m.recorded)
}

func (m *measured) add(one measured) {
	m.nodes += one.nodes
	m.series += one.series
	m.memory += one.memory
	m.cores += one.cores
	m.missed += one.missed
	m.recorded += one.recorded
	if one.longest.share() > m.longest.share() {
		m.longest = one.longest
	}
	if one.median.share() > m.median.share() {
		m.median = one.median
	}
}

// shard measures the rules in a folder on the nodes of f's clusters, and returns what they recorded as well.
func (f fleet) shard(program, folder string, of sharding) (m measured, recorded string, err error) {
	dir, err := os.MkdirTemp("", "shard")
	if err != nil {
		return m, "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	round, err := paced(folder, dir, of.pace)
	if err != nil {
		return m, "", err
	}
	ahead := settle + time.Duration(of.rounds+1)*round
	end := time.Now().Add(ahead).Truncate(step)
	store, err := open(dir, true)
	if err != nil {
		return m, "", err
	}
	err = f.fill(store, end, int((behind+ahead)/step), func(string) bool { return true })
	series := int(store.Head().NumSeries())
	if err := errors.Join(err, store.Close()); err != nil {
		return m, "", err
	}
	debug.FreeOSMemory()
	s, stop, err := serve(program, dir, "", end)
	if err != nil {
		return m, "", err
	}
	defer stop()
	if m, err = s.measure(dir, round, of); err != nil {
		return m, "", err
	}
	if end.Before(time.Now()) {
		return m, "", errors.New("the series ended before the rules were measured: want fewer rounds or a faster machine")
	}
	m.nodes, m.series = f.present(), series
	recorded, m.recorded, err = s.recorded()
	return m, recorded, err
}

// measure lets the server, whose folder dir has the rules, rest, and then evaluate them; a round of all takes so long.
func (s *server) measure(dir string, round time.Duration, of sharding) (m measured, err error) {
	if err := s.rest(); err != nil {
		return m, err
	}
	idle, err := s.watch(30*time.Second, func(sample) {})
	if err != nil {
		return m, err
	}
	err = s.reload(dir, fmt.Sprintf("global: {evaluation_interval: %s}\nrule_files: ['*.yaml']\n",
		milliseconds(step/time.Duration(of.pace))))
	if err != nil {
		return m, err
	}
	if _, err := s.watch(round+10*time.Second, func(sample) {}); err != nil { // what rules record others read
		return m, err
	}
	seen, missed := evaluations{}, -1
	busy, err := s.watch(time.Duration(of.rounds)*round, func(now sample) {
		for name, e := range now.groups {
			e.between *= float64(of.pace)
			now.groups[name] = e
		}
		seen.see(now)
		if missed < 0 {
			missed = now.missed
		}
		m.memory, m.missed = now.memory, now.missed-missed
	})
	m.cores = (busy - idle) / float64(of.pace)
	m.longest, m.median = seen.worst()
	return m, err
}
