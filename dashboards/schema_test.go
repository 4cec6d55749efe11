package dashboards_test

import (
	"errors"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// Boards are dashboards of the classic model, decoded strictly: no field that the newest schema does not have, none
// of another type, none missing. Grafana 10 to 12 store that model, and 13 still takes it and migrates it to its own,
// v2, when a board is loaded (grafana.com/docs, v13: dashboard JSON model); a file of v2 would be of no use before
// 12.2.
func TestBoardsAreOfTheSchema(t *testing.T) {
	t.Parallel()
	plugins.RegisterDefaultPlugins()
	for name, b := range load(t) {
		var d dashboard.Dashboard
		// It returns a list of errors that is never nil as an error, though it may be empty.
		var faults cog.BuildErrors
		if err := d.UnmarshalJSONStrict([]byte(b.text)); !errors.As(err, &faults) || len(faults) > 0 {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d.SchemaVersion > 42 {
			t.Errorf("%s: schema version %d", name, d.SchemaVersion)
		}
	}
}
