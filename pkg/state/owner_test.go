package state_test

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
)

// What is derived from an owner must not change from one release to the next: DEL finds by it what an older ADD has made.
func TestOwnerIsStable(t *testing.T) {
	o := statetest.Owner("a")
	for _, test := range []struct{ what, got, want string }{
		{"host link", o.HostLink(), "veth4jcfvg8lr5r"},
		{"MAC", o.MAC().String(), "fa:d0:cc:0d:57:b6"},
		{"tag", o.Tag(), "fairway net a eth0"},
	} {
		if test.got != test.want {
			t.Errorf("%s %s, want %s", test.what, test.got, test.want)
		}
	}
}

// Owners that differ anywhere have nothing in common, although their parts joined may be the same.
func TestOwnersDiffer(t *testing.T) {
	long := strings.Repeat("n", 200)
	owners := []state.Owner{
		{Network: "net", ContainerID: "a", IfName: "eth0"}, {Network: "net", ContainerID: "a", IfName: "eth1"},
		{Network: "net", ContainerID: "ae", IfName: "th0"}, {Network: "neta", ContainerID: "", IfName: "eth0"},
		{Network: "net2", ContainerID: "a", IfName: "eth0"},
		{Network: long, ContainerID: "a", IfName: "eth0"}, {Network: long, ContainerID: "b", IfName: "eth0"},
		{Network: long + "n", ContainerID: "a", IfName: "eth0"}, {Network: "net", ContainerID: long, IfName: "eth0"},
		{Network: "net", ContainerID: long, IfName: "eth1"}, {Network: "net", ContainerID: long + "n", IfName: "eth0"},
	}
	seen := make(map[string]state.Owner)
	for _, o := range owners {
		for _, text := range []string{o.HostLink(), o.MAC().String(), o.Tag()} {
			if other, ok := seen[text]; ok {
				t.Errorf("%+v and %+v have %s in common", o, other, text)
			}
			seen[text] = o
		}
		if len(o.HostLink()) > 15 || len(o.Tag()) > 127 || o.MAC()[0]&3 != 2 {
			t.Errorf("%+v: link %s, tag %s, MAC %s", o, o.HostLink(), o.Tag(), o.MAC())
		}
	}
}
