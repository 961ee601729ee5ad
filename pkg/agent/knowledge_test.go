package agent

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProblemsGoWithTheirNetworks(t *testing.T) {
	k := newKnowledge()
	for _, about := range []string{aboutEtcd, aboutUnderlay, aboutNetwork("blue"), aboutNetwork("green"), aboutClaims("blue"), aboutClaims("green")} {
		k.note(about, errors.New("is wrong"))
	}
	k.noteOnly(aboutClaims, []string{"green"})
	k.noteOnly(aboutNetwork, []string{"blue"})
	want := []string{"claims in network green: is wrong", "etcd: is wrong", "network blue: is wrong", "underlay: is wrong"}
	if diff := cmp.Diff(want, k.sentences()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestWhatIsRemembered(t *testing.T) {
	k := newKnowledge()
	snap, _ := describe(blue(), "a", addr("192.0.2.11"))
	k.remember(map[string]snapshot{"blue": snap})
	if got := k.vtep(); got != addr("192.0.2.11") {
		t.Errorf("address on the underlay %v, want that of the snapshot", got)
	}
	own := []netip.Prefix{prefix("10.42.0.64/26"), prefix("10.42.7.0/26")}
	for range 2 {
		if missing := k.had("blue", own); !slices.Equal(missing, []netip.Prefix{prefix("10.42.0.0/26")}) {
			t.Errorf("missing %v, want the first block of the snapshot", missing)
		}
	}
	k.lost("blue", prefix("10.42.0.0/26"))
	if missing := k.had("blue", own); missing != nil {
		t.Errorf("missing %v after it was given to another", missing)
	}
	if !snap.equal(k.remembered()["blue"]) || len(snap.own().Blocks) != 2 {
		t.Error("the snapshot has changed")
	}
	k.forget("blue")
	if missing := k.had("blue", nil); missing != nil {
		t.Errorf("missing %v of a network that was removed", missing)
	}
}
