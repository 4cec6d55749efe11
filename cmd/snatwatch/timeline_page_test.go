package main

import (
	"fmt"
	"testing"

	"github.com/snatwatch/snatwatch/detector"
)

// The timeline tells the crossing of the page that is shipped.
func TestTimelinePagesAtTheShippedLevel(t *testing.T) {
	t.Parallel()
	if want := fmt.Sprint(detector.PageRaise); pageAt != want {
		t.Errorf("--page-at is %s by default, want %s", pageAt, want)
	}
}
