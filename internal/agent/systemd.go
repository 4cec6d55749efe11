package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tellSystemd tells the service manager (Type=notify) when the first dump is complete, feeds its watchdog
// while snapshots are younger than the watchdog's time, and says what stands on the page in its status
// line. Where no service manager asked for it, nothing is sent.
func (p *publisher) tellSystemd(ctx context.Context) error {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		p.logger.Warn("watchdog not fed", "err", err)
	}
	t := supervised{logger: p.logger, watchdog: watchdog}
	for !p.ready.Load() {
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	if !t.send(daemon.SdNotifyReady) {
		return nil
	}
	for {
		t.send(statusLine(p.notices.list()))
		if p.age() < t.watchdog {
			t.send(daemon.SdNotifyWatchdog)
		}
		if err := sleep(ctx, t.every()); err != nil {
			t.send(daemon.SdNotifyStopping)
			return err
		}
	}
}

// supervised sends messages to the service manager, if there is one.
type supervised struct {
	logger *slog.Logger
	// watchdog is how long after the last message of life the agent is started anew; 0 is never.
	watchdog time.Duration
	failed   bool
}

// send reports whether there is a service manager. It logs the first failure.
func (s *supervised) send(message string) bool {
	told, err := daemon.SdNotify(false, message)
	if err != nil && !s.failed {
		s.logger.Warn("service manager not told", "err", err)
	}
	s.failed = s.failed || err != nil
	return told || err != nil
}

// every is the time between two messages: twice in the watchdog's time, and each ten seconds at least.
func (s *supervised) every() time.Duration {
	if s.watchdog == 0 {
		return 10 * time.Second
	}
	return min(s.watchdog/2, 10*time.Second)
}

// statusLine is what systemctl status shows: the first notice, and how many there are.
func statusLine(notices []string) string {
	switch len(notices) {
	case 0:
		return "STATUS=watching"
	case 1:
		return fmt.Sprintf("STATUS=watching; notice: %.500s", oneLine(notices[0]))
	}
	return fmt.Sprintf("STATUS=watching; %d notices, the first: %.500s", len(notices), oneLine(notices[0]))
}

// oneLine keeps a text from being read as more than one assignment of the protocol.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
