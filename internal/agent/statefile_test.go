package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

// newStateLoop is a loop of both ledgers that nobody runs.
func newStateLoop(t *testing.T, now func() collector.Time) *loop {
	t.Helper()
	budgets := []*budget.Budget{
		resolved(t, budget.Params{Name: "nat", Model: "azure-lb-2018", Nodes: 10}),
		resolved(t, budget.Params{Name: "local", Model: "local", PortRange: collector.PortRange{First: 32768, Last: 60999}}),
	}
	return newLoop(now, budgets, func(*detector.Snapshot) {}, func(_ bool, budgets []*budget.Budget) *detector.Ledger {
		return detector.NewLedger(detector.LedgerConfig{Budgets: budgets, Start: now()})
	})
}

func TestStateFileIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		now := collector.Clock()
		logs := &logtest.Lines{}
		logger := slog.New(slog.NewTextHandler(logs, nil))
		a := &agent{logger: logger, now: now, notices: newNotices(logger), loop: newStateLoop(t, now)}
		a.loadState(path) // not there: no mistake
		ctx, cancel := context.WithCancel(t.Context())
		ended, done := make(chan struct{}), make(chan error, 1)
		go func() { defer close(ended); _ = a.loop.run(ctx) }()
		go func() { done <- a.keepState(ctx, path, ended) }()
		time.Sleep(saveEvery + time.Second)
		synctest.Wait()
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("keepState returned %v", err)
		}
		last, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(first) == string(last) {
			t.Error("the state was not written at the end")
		}
		b := &agent{logger: logger, now: now, notices: newNotices(logger), loop: newStateLoop(t, now)}
		b.loadState(path)
		if all := strings.Join(logs.All(), ""); !strings.Contains(all, "state restored") || strings.Contains(all, "WARN") {
			t.Errorf("log:\n%s", all)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("left behind: %v, %v", entries, err)
		}
	})
}

func TestStateFileThatIsBad(t *testing.T) {
	t.Parallel()
	now := collector.Clock()
	good := newStateLoop(t, now).learned()
	damaged := append([]byte{}, good...)
	damaged[len(damaged)/4] ^= 1
	for name, b := range map[string][]byte{
		"empty": nil, "cut off": good[:len(good)-3], "shorter than it says": good[:20], "damaged": damaged, "text": []byte("budgets: []\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newStateLoop(t, now)
			if err := l.restore(b, now()); err == nil {
				t.Error("no error")
			}
			if got := l.snapshot(); len(got.Budgets) != 2 {
				t.Errorf("budgets afterwards: %d", len(got.Budgets))
			}
		})
	}
}

func TestStateFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	a := &agent{notices: newNotices(slog.New(slog.DiscardHandler))}
	a.saveState(filepath.Join(t.TempDir(), "no", "such", "folder"), []byte("x"))
	if got := a.notices.list(); len(got) != 1 || !strings.Contains(got[0], "not written") {
		t.Errorf("notices: %q", got)
	}
}
