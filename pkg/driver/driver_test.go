package driver

import "testing"

// TestOf: both names of a driver lead to one, and whatever else there may be is a driver of its own name.
func TestOf(t *testing.T) {
	for _, d := range known {
		if Of(d.Name) != d || Of(d.Plugin) != d {
			t.Errorf("%+v: by its names %+v and %+v", d, Of(d.Name), Of(d.Plugin))
		}
		if d.Scope != "local" && d.Scope != "global" || d.OnHost && d.OnParent || Makes(d.Name) != (d.Fixed == "") {
			t.Errorf("%+v contradicts itself", d)
		}
	}
	for _, name := range Proposed() {
		if !Makes(name) {
			t.Errorf("%s is proposed, and makes no network", name)
		}
	}
	if got := Of("calico"); got != (Driver{Plugin: "calico", Name: "calico", Scope: "local"}) || !Makes("calico") || Makes("portmap") {
		t.Errorf("a plugin of others: %+v", got)
	}
}
