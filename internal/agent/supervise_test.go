package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

func TestSuperviseStartsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNotices(slog.New(slog.DiscardHandler))
		began, runs := time.Now(), []time.Duration{}
		ctx, cancel := context.WithCancel(t.Context())
		s := source{subject: "conntrack", run: func(ctx context.Context, _ collector.Sink) error {
			runs = append(runs, time.Since(began))
			switch len(runs) {
			case 4: // runs for long enough to be trusted again, then breaks
				time.Sleep(2 * time.Minute)
				if got := n.list(); len(got) != 0 {
					t.Errorf("notices of a source that runs well: %q", got)
				}
			case 6:
				cancel()
				<-ctx.Done()
				return ctx.Err()
			}
			return errors.New("socket closed")
		}}
		if err := supervise(ctx, s, nil, n); !errors.Is(err, context.Canceled) {
			t.Errorf("supervise returned %v", err)
		}
		want := []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 128 * time.Second, 130 * time.Second}
		if diff := cmp.Diff(want, runs); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"conntrack broke and is started again: socket closed"}, n.list()); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
	})
}

func TestSuperviseEndsWhereNothingHelps(t *testing.T) {
	t.Parallel()
	n := newNotices(slog.New(slog.DiscardHandler))
	refused := errors.New("missing right")
	s := source{
		subject:  "conntrack",
		run:      func(context.Context, collector.Sink) error { return refused },
		hopeless: func(err error) bool { return errors.Is(err, refused) },
	}
	if err := supervise(t.Context(), s, nil, n); !errors.Is(err, refused) {
		t.Errorf("supervise returned %v, want the source's error", err)
	}
}

func TestNoticesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	logs := &logtest.Lines{}
	n := newNotices(slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	n.set("source", "a")
	n.set("source", "a")
	n.replace(slog.LevelWarn, "budgets", []string{"x", "y"})
	n.replace(slog.LevelWarn, "budgets", []string{"x"})
	n.set("source", "")
	n.set("source", "")
	if diff := cmp.Diff([]string{"x"}, n.list()); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	want := []string{
		"level=WARN msg=notice subject=source notice=a\n",
		"level=WARN msg=notice subject=budgets notice=x\n",
		"level=WARN msg=notice subject=budgets notice=y\n",
		"level=INFO msg=\"notice withdrawn\" subject=budgets notice=y\n",
		"level=INFO msg=\"notice withdrawn\" subject=source notice=a\n",
	}
	if diff := cmp.Diff(want, logs.All()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// Processes come and go; that one cannot look at them is said once.
func TestRefusedIsLoggedOnce(t *testing.T) {
	t.Parallel()
	logs := &logtest.Lines{}
	a := &sensors{base: &base{notices: newNotices(slog.New(slog.NewTextHandler(logs, nil)))}}
	for hidden := range 5 {
		a.refused(&sockdiag.Stats{Refused: []*netns.AccessError{{
			What: "see the network namespaces of other processes", Hidden: 80 + hidden,
			Missing: netns.Capabilities(0).With(netns.SysPtrace),
		}}})
	}
	if all := logs.All(); len(all) != 1 || !strings.Contains(all[0], "other processes: needs CAP_SYS_PTRACE; to give it: ") {
		t.Errorf("log:\n%s", strings.Join(all, ""))
	}
}
