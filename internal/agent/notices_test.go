package agent

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

// The log says once what comes and goes, and what only its numbers change of; the page has the numbers of now.
func TestNoticesThatFlap(t *testing.T) {
	t.Parallel()
	type step struct {
		after time.Duration // the step before
		texts []string
		log   []string // what the step logs: a text that comes, or - and one that goes
	}
	full := func(percent, minutes int) []string {
		return []string{fmt.Sprintf("the table of namespace 4026532246 holds %d %% of its 262144 entries: full within %d minutes", percent, minutes)}
	}
	const calm, full100 = "the table holds much", "the table holds 100 % of its 262144 entries: it is full"
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"numbers change", []step{
			{0, full(40, 5), full(40, 5)},
			{5 * time.Second, full(45, 5), nil},
			{5 * time.Second, full(50, 2), nil},
			{5 * time.Second, []string{full100}, []string{full100}},
			{5 * time.Second, full(95, 2), nil},
			{10 * time.Minute, full(95, 2), full(95, 2)},
			{5 * time.Second, full(90, 5), nil},
			{10 * time.Minute, full(90, 5), full(90, 5)},
			{10 * time.Minute, full(90, 5), nil},
			{5 * time.Second, nil, []string{"-" + full(90, 5)[0]}},
		}},
		{"it comes and goes", []step{
			{0, []string{calm}, []string{calm}},
			{5 * time.Second, nil, []string{"-" + calm}},
			{5 * time.Second, []string{calm}, nil},
			{5 * time.Second, nil, nil},
			{5 * time.Second, []string{calm}, nil},
			{10 * time.Minute, []string{calm}, []string{calm}},
			{time.Hour, []string{calm}, nil},
			{5 * time.Second, nil, []string{"-" + calm}},
			{time.Hour, nil, nil},
			{5 * time.Second, []string{calm}, []string{calm}},
		}},
		{"two texts take turns, and go", []step{
			{0, []string{"a"}, []string{"a"}},
			{5 * time.Second, []string{"b"}, []string{"b"}},
			{5 * time.Second, []string{"a"}, nil},
			{5 * time.Second, []string{"b"}, nil},
			{5 * time.Second, []string{"a"}, nil},
			{5 * time.Second, nil, []string{"-b"}},
		}},
		{"one more at the front", []step{
			{0, []string{"b", "c"}, []string{"b", "c"}},
			{5 * time.Second, []string{"a", "b", "c"}, []string{"a"}},
			{5 * time.Second, []string{"b", "c"}, []string{"-a"}},
			{5 * time.Second, []string{"b"}, []string{"-c"}},
		}},
		{"names with numbers are of different things", []step{
			{0, []string{"budget web1: 7 nodes", "budget web2: 7 nodes"}, []string{"budget web1: 7 nodes", "budget web2: 7 nodes"}},
			{5 * time.Second, []string{"budget web1: 9 nodes"}, []string{"-budget web2: 7 nodes"}},
		}},
		{"two that only a number tells apart", []step{
			{0, []string{"namespace 7 is gone", "namespace 8 is gone"}, []string{"namespace 7 is gone", "namespace 8 is gone"}},
			{5 * time.Second, []string{"namespace 8 is gone"}, []string{"-namespace 8 is gone"}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			logs := &logtest.Lines{}
			now := collector.Time(time.Hour)
			n := newNotices(slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{
				ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey {
						return slog.Attr{}
					}
					return a
				},
			})))
			n.now = func() collector.Time { return now }
			lines := 0
			for i, s := range tt.steps {
				now = now.Add(s.after)
				n.replace(slog.LevelWarn, "it", s.texts)
				n.settle()
				if diff := cmp.Diff(s.texts, n.list()); diff != "" {
					t.Errorf("step %d: page (-want +got)\n%s", i, diff)
				}
				var want []string
				for _, text := range s.log {
					line := fmt.Sprintf("level=WARN msg=notice subject=it notice=%s\n", quoted(text))
					if text[0] == '-' {
						line = fmt.Sprintf("level=INFO msg=\"notice withdrawn\" subject=it notice=%s\n", quoted(text[1:]))
					}
					want = append(want, line)
				}
				all := logs.All()
				if diff := cmp.Diff(want, append([]string(nil), all[lines:]...)); diff != "" {
					t.Errorf("step %d: log (-want +got)\n%s", i, diff)
				}
				lines = len(all)
			}
		})
	}
}

// quoted is text as slog writes it.
func quoted(text string) string {
	for _, r := range text {
		if r == ' ' {
			return fmt.Sprintf("%q", text)
		}
	}
	return text
}

// What stands though it came too soon after its last line is logged later, even if nobody says it again.
func TestNoticesSettle(t *testing.T) {
	t.Parallel()
	logs := &logtest.Lines{}
	now := collector.Time(time.Hour)
	n := newNotices(slog.New(slog.NewTextHandler(logs, nil)))
	n.now = func() collector.Time { return now }
	for range 3 {
		n.set("source", "broke")
		n.set("source", "")
	}
	n.set("source", "broke")
	n.settle()
	if got := len(logs.All()); got != 2 {
		t.Errorf("%d lines, want one that it broke, and one that it did not", got)
	}
	now = now.Add(sayAgainAfter)
	for range 3 {
		n.settle()
	}
	if got := len(logs.All()); got != 3 {
		t.Errorf("%d lines, want one more", got)
	}
	n.set("source", "")
	now = now.Add(sayAgainAfter)
	n.settle()
	if len(n.log) != 0 {
		t.Errorf("%d lines are kept", len(n.log))
	}
}
