package vxlan

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	type entry struct {
		key   string
		value string
	}
	m := match[string, entry]{
		want:  table[string]{"a": nil, "b": nil, "c": nil, "d": nil},
		key:   func(e entry) string { return e.key },
		right: func(e entry, _ *Peer) bool { return e.value == "right" },
	}
	for _, e := range []entry{{"a", "right"}, {"b", "wrong"}, {"b", "other"}, {"c", "wrong"}, {"c", "right"}, {"x", "right"}} {
		m.see(e)
	}
	wrong, surplus := m.others()
	if diff := cmp.Diff(map[string]bool{"b": true, "d": true}, keySet(m.want)); diff != "" {
		t.Errorf("missing (-want +got)\n%s", diff)
	}
	if len(wrong) != 1 || wrong["b"].value != "wrong" {
		t.Errorf("in the place of another: %v", wrong)
	}
	if want := []entry{{"b", "other"}, {"c", "wrong"}, {"x", "right"}}; !cmp.Equal(want, surplus, cmp.AllowUnexported(entry{})) {
		t.Errorf("surplus: %v, want %v", surplus, want)
	}
}

func keySet(t table[string]) map[string]bool {
	keys := make(map[string]bool)
	for k := range maps.Keys(t) {
		keys[k] = true
	}
	return keys
}
