package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// A flag or command that is not there: its name is near another, or the names are listed.
func TestMistakesSayWhatIsMeant(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want, help string }{
		{"--confg=x", "unknown long flag '--confg', perhaps --config", "snatwatch --help"},
		{"look --agnet x", "unknown long flag '--agnet', perhaps --agent", "snatwatch look --help"},
		{"look --config=x", "unknown long flag '--config'", "snatwatch look --help"}, // of another command
		{"loook", "unexpected loook, perhaps look", "snatwatch --help"},
		{"frobnicate", "unexpected frobnicate: want a command: help, run or look", "snatwatch --help"},
		{"look more", "unexpected more", "snatwatch look --help"},
		{"look --sort=x", "--sort: x: want left or held", "snatwatch look --help"},
	} {
		app := kingpin.New("snatwatch", "")
		app.Terminate(nil)
		app.Command("run", "").Default().Flag("config", "").String()
		look := app.Command("look", "")
		look.Flag("agent", "").String()
		look.Flag("sort", "").Enum("left", "held")
		args := strings.Fields(tt.args)
		if _, err := Parse(app, args); err == nil || err.Error() != tt.want {
			t.Errorf("%s: error %v, want %s", tt.args, err, tt.want)
		}
		if got := Help(app, args); got != tt.help {
			t.Errorf("%s: help %s, want %s", tt.args, got, tt.help)
		}
	}
}

// A negative number is the value of the flag before it; nothing else changes.
func TestJoined(t *testing.T) {
	t.Parallel()
	got := joined([]string{"plan", "--opens", "-5", "--json", "-h", "--", "-5", "x", "-1", "--share", "-.5", "--x", "-.", "--"})
	if want := []string{"plan", "--opens=-5", "--json", "-h", "--", "-5", "x", "-1", "--share=-.5", "--x", "-.", "--"}; !slices.Equal(got, want) {
		t.Errorf("joined %q, want %q", got, want)
	}
}
