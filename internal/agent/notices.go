package agent

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// sayAgainAfter is the least time between two log lines of a subject that say the same, whatever their numbers are.
const sayAgainAfter = 10 * time.Minute

// notices are what the agent cannot see or do, why, and what would help: some texts for each subject. The page shows
// them as they are now. The log has a line when a text comes and when it goes. What comes and goes, and numbers that
// change, are logged once in sayAgainAfter.
type notices struct {
	logger *slog.Logger
	now    func() collector.Time
	// number is a figure or a duration, but no part of a name.
	number *regexp.Regexp

	mu   sync.Mutex
	text map[string][]notice // by subject
	log  map[statement]*line // of which there was one in sayAgainAfter, or that stand
}

// notice is a text and the level at which it is logged.
type notice struct {
	level slog.Level
	text  string
}

// statement is what a text says, whatever its numbers are: the nth text of a subject with these words.
type statement struct {
	subject, words string
	nth            int
}

// line is the last log line of a statement.
type line struct {
	at     collector.Time
	text   string
	stands bool // nothing was logged since that withdraws or replaces it
}

func newNotices(logger *slog.Logger) *notices {
	return &notices{
		logger: logger, now: collector.Clock(), text: map[string][]notice{}, log: map[statement]*line{},
		number: regexp.MustCompile(`(^|[ (])([0-9]+(\.[0-9]+)?(ns|µs|ms|h|m|s)?)+`),
	}
}

// set makes text the notice about subject; an empty text withdraws it.
func (n *notices) set(subject, text string) { n.say(slog.LevelWarn, subject, text) }

func (n *notices) say(level slog.Level, subject, text string) {
	if text == "" {
		n.replace(level, subject, nil)
		return
	}
	n.replace(level, subject, []string{text})
}

// replace makes texts the notices about subject, and withdraws all others about it.
func (n *notices) replace(level slog.Level, subject string, texts []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.text, subject)
	for _, text := range texts {
		n.text[subject] = append(n.text[subject], notice{level, text})
	}
	n.write(subject)
}

// settle logs what came too soon after its last line, and still stands. Call it again and again.
func (n *notices) settle() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, subject := range slices.Sorted(maps.Keys(n.text)) {
		n.write(subject)
	}
	maps.DeleteFunc(n.log, func(_ statement, l *line) bool {
		return !l.stands && n.now().Sub(l.at) >= sayAgainAfter
	})
}

// write logs what the log does not have of a subject.
func (n *notices) write(subject string) {
	now := n.now()
	stand := map[statement]bool{}
	said, unsaid := 0, 0 // that the log did not have
	for _, t := range n.text[subject] {
		s := statement{subject: subject, words: n.number.ReplaceAllString(t.text, "$1#")}
		for stand[s] {
			s.nth++
		}
		stand[s] = true
		l := n.log[s]
		switch known, soon := l != nil && l.stands, l != nil && now.Sub(l.at) < sayAgainAfter; {
		case known && (soon || l.text == t.text):
			continue
		case soon:
			unsaid++
			continue
		case !known:
			said++
		}
		n.log[s] = &line{at: now, text: t.text, stands: true}
		n.logger.Log(context.Background(), t.level, "notice", "subject", subject, "notice", t.text)
	}
	for _, s := range n.outdated(subject, stand) {
		l := n.log[s]
		switch {
		case said > 0: // what was said takes its place
			said--
			l.stands = false
		case unsaid > 0: // what stands is not said yet
			unsaid--
		default:
			l.stands = false
			n.logger.Info("notice withdrawn", "subject", subject, "notice", l.text)
		}
	}
}

// outdated returns what the log says of subject and does not stand, the oldest first.
func (n *notices) outdated(subject string, stand map[statement]bool) []statement {
	var out []statement
	for s, l := range n.log {
		if s.subject == subject && l.stands && !stand[s] {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b statement) int {
		return cmp.Or(cmp.Compare(n.log[a].at, n.log[b].at), cmp.Compare(a.words, b.words), cmp.Compare(a.nth, b.nth))
	})
	return out
}

// list returns the texts in the order of their subjects.
func (n *notices) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, subject := range slices.Sorted(maps.Keys(n.text)) {
		for _, t := range n.text[subject] {
			out = append(out, t.text)
		}
	}
	return out
}
