package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// notices are what the agent cannot see or do, why, and what would help: one text for each subject. The agent logs a
// notice when it comes and when it goes, and shows it on the page meanwhile.
type notices struct {
	logger *slog.Logger

	mu   sync.Mutex
	text map[string]string
}

func newNotices(logger *slog.Logger) *notices {
	return &notices{logger: logger, text: map[string]string{}}
}

// set makes text the notice about subject; an empty text withdraws it.
func (n *notices) set(subject, text string) { n.say(slog.LevelWarn, subject, text) }

func (n *notices) say(level slog.Level, subject, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.text[subject]
	switch text {
	case before:
		return
	case "":
		delete(n.text, subject)
		n.logger.Info("notice withdrawn", "subject", subject, "notice", before)
		return
	}
	n.text[subject] = text
	n.logger.Log(context.Background(), level, "notice", "subject", subject, "notice", text)
}

// replace makes texts the notices about subject, and withdraws all others about it.
func (n *notices) replace(level slog.Level, subject string, texts []string) {
	for i, text := range texts {
		n.say(level, fmt.Sprintf("%s %03d", subject, i), text)
	}
	for i := len(texts); n.has(fmt.Sprintf("%s %03d", subject, i)); i++ {
		n.set(fmt.Sprintf("%s %03d", subject, i), "")
	}
}

func (n *notices) has(subject string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text[subject] != ""
}

// list returns the texts in the order of their subjects.
func (n *notices) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, subject := range slices.Sorted(maps.Keys(n.text)) {
		out = append(out, n.text[subject])
	}
	return out
}
