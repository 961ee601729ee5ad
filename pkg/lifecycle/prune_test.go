package lifecycle

import (
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

func TestPruneFilter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	n := conflist.Network{Created: now.Add(-time.Hour), Labels: map[string]string{"tier": "db", "keep": ""}}
	for _, test := range []struct {
		filters string // separated by spaces
		want    bool
	}{
		{"", true},
		{"label=tier", true},
		{"label=tier=db", true},
		{"label=tier=web", false},
		{"label=tier label=keep", true},
		{"label=tier label=other", false},
		{"label!=keep", false},
		{"label!=tier=web", true},
		{"label!=keep label!=tier", false},
		{"label!=keep label!=tier=web", true},
		{"until=30m", true},
		{"until=2h", false},
		{"until=2026-03-01T11:00:00Z", true},
		{"until=2026-03-01T10:59:59Z", false},
		{"until=2026-03-01T10:59", false},
		{"until=2026-03-02", true},
		{"until=1772362800", true},
		{"until=1772362799", false},
	} {
		f, err := NewPruneFilter(strings.Fields(test.filters), now)
		if err != nil {
			t.Errorf("%s: %v", test.filters, err)
			continue
		}
		if got := f.passes(n); got != test.want {
			t.Errorf("%s: got %t", test.filters, got)
		}
	}
	for filters, want := range map[string]string{
		"label": "write KEY=VALUE", "until=": "write KEY=VALUE", "until!=1h": "write KEY=VALUE", "until=soon": "write a time like",
		"until=1h until=2h": "given twice", "driver=bridge": `there is no key "driver"`,
	} {
		if _, err := NewPruneFilter(strings.Fields(filters), now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", filters, err, want)
		}
	}
}
