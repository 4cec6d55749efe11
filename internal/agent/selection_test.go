package agent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/config"
)

// What a row of looks leads to: where each found what is best, and where that is not the best seen at once.
func TestFollowing(t *testing.T) {
	t.Parallel()
	busy := selection{choice: choice{source: config.SourceConntrack, why: "7 flows tracked"}, tracked: true}
	half := busy
	half.tracked = false
	quiet := selection{choice: choice{source: config.SourceSockets, why: "tracks nothing"}, tracked: true}
	blind := quiet
	blind.tracked, blind.untracked = false, true
	asked := selection{choice: choice{source: config.SourceConntrack, why: "asked for"}, tracked: true}
	askedBlind := asked
	askedBlind.tracked, askedBlind.untracked = false, true
	with := func(p selection, change func(*selection)) selection {
		change(&p)
		return p
	}
	local := func(p selection) selection { return with(p, func(p *selection) { p.local = true }) }
	opened := func(p selection, n uint64) selection { return with(p, func(p *selection) { p.opened = n }) }
	tests := []struct {
		name  string
		start selection
		looks []selection
		// want is what the looks lead to: "", or the source and its why, local where local sockets are read beside it.
		want []string
		said bool // that what was asked for is not active, at the last look
	}{
		{"nothing new", busy, []selection{busy, busy}, []string{"", ""}, false},
		{"quiet", busy, []selection{quiet, quiet, quiet, quiet}, []string{"", "", "", ""}, false},
		{"connections that it does not track", busy, []selection{blind, blind}, []string{"", "sockets: tracks nothing"}, false},
		{"quiet first", busy, []selection{quiet, quiet, blind, blind}, []string{"", "", "", "sockets: tracks nothing"}, false},
		{"one connection between two dumps", busy, []selection{blind, busy, blind, quiet, blind}, []string{"", "", "", "", ""}, false},
		{"flows of others, or of another zone", busy, []selection{opened(blind, 3), opened(blind, 5), opened(blind, 6)}, []string{"", "", ""}, false},
		{"none of others any more", busy, []selection{opened(blind, 3), opened(blind, 3), opened(blind, 3)}, []string{"", "", "sockets: tracks nothing"}, false},
		{"about half of the connections", busy, []selection{half, half, blind, half, blind}, []string{"", "", "", "", ""}, false},
		{"about half of the connections after none", blind, []selection{half, blind, half, busy}, []string{"", "", "", "conntrack: 7 flows tracked"}, false},
		{"conntrack becomes active", blind, []selection{blind, blind, busy}, []string{"", "", "conntrack: 7 flows tracked"}, false},
		{"a local budget while quiet", busy, []selection{quiet, local(quiet)}, []string{"", "conntrack: 7 flows tracked, local"}, false},
		{
			"one of another namespace while quiet", local(busy),
			[]selection{local(with(quiet, func(p *selection) { p.elsewhere = true }))},
			[]string{"conntrack: 7 flows tracked, local"},
			false,
		},
		{"the last local budget while quiet", local(busy), []selection{quiet}, []string{"conntrack: 7 flows tracked"}, false},
		{"budgets of translated flows while quiet", busy, []selection{with(quiet, func(p *selection) { p.translated = true })}, []string{"conntrack: 7 flows tracked"}, false},
		{"asked for and active", asked, []selection{asked, asked, asked}, []string{"", "", ""}, false},
		{"asked for and not active", asked, []selection{askedBlind, askedBlind, askedBlind}, []string{"", "", ""}, true},
		{"asked for and not seen for long", asked, []selection{askedBlind}, []string{""}, false},
		{"asked for and active again", asked, []selection{askedBlind, askedBlind, asked}, []string{"", "", ""}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := following{selection: tt.start}
			var got []string
			said := ""
			for _, q := range tt.looks {
				text := ""
				if next, changed := f.look(q); changed {
					text = string(next.source) + ": " + next.why
					if next.local {
						text += ", local"
					}
				}
				got = append(got, text)
				said = f.untrackedText(q)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (said != "") != tt.said || tt.said && !strings.Contains(said, "so new flows are not seen") {
				t.Errorf("said %q", said)
			}
		})
	}
}

// What is not known of times is said of the source that is read.
func TestTimesOfTheSourceThatIsRead(t *testing.T) {
	t.Parallel()
	f := following{selection: selection{choice: choice{source: config.SourceConntrack}}}
	quiet := selection{choice: choice{source: config.SourceSockets}}
	if _, changed := f.look(quiet); changed || timesText(f.choice, quiet.limits) == "" {
		t.Error("conntrack is read on, and what it does not know is not said")
	}
	quiet.limits = collector.Limits{Timestamps: true}
	if text := timesText(f.choice, quiet.limits); text != "" {
		t.Errorf("said of entries with stamps: %s", text)
	}
}
