package web

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// The page names the largest owners of a port space with their shares, and sums the others.
func TestPageNamesOwners(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newTestServer(t, busyState()).showPage(w, nil)
	page := w.Body.String()
	for _, want := range []string{
		"payments/checkout-7d9f (container api) <b>612</b>, 63 %", "fetcher (container) <b>200</b>, 21 %", "backup.service (unit) <b>100</b>, 10 %", "others <b>55</b>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
}

func TestPageOwnersOf(t *testing.T) {
	t.Parallel()
	held := func(k collector.OwnerKind, name string, n int) detector.OwnerHeld {
		return detector.OwnerHeld{Owner: collector.Owner{Kind: k, Name: name}, Held: n}
	}
	for _, tt := range []struct {
		name string
		in   detector.SpaceSnapshot
		want []pageOwner
		rest int
	}{
		{"nobody counts", detector.SpaceSnapshot{Held: 3}, nil, 0},
		{"empty", detector.SpaceSnapshot{Owners: []detector.OwnerHeld{held("pod", "a/b", 0)}}, nil, 0},
		{"unknown", detector.SpaceSnapshot{Held: 4, Owners: []detector.OwnerHeld{held("unknown", "unknown", 4)}}, []pageOwner{{"unknown", "", 4, "100 %"}}, 0},
		{"other last", detector.SpaceSnapshot{Held: 4, Owners: []detector.OwnerHeld{held("client", "10.0.0.1", 3), held("other", "other", 1)}}, []pageOwner{{"10.0.0.1", "client", 3, "75 %"}}, 1},
		{
			"a long name",
			detector.SpaceSnapshot{Held: 1, Owners: []detector.OwnerHeld{held("pod", strings.Repeat("n", 63)+"/"+strings.Repeat("p", 60)+"-x1", 1)}},
			[]pageOwner{{strings.Repeat("n", 29) + "…" + strings.Repeat("p", 26) + "-x1", "pod", 1, "100 %"}},
			0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, rest := pageOwnersOf(&tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" || rest != tt.rest {
				t.Errorf("rest %d, want %d (-want +got):\n%s", rest, tt.rest, diff)
			}
		})
	}
}
