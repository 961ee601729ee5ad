package nameport

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// Both ways of writing the rules come to the same, and are told from what others have made of them.
func TestRedirect(t *testing.T) {
	testnet.NewHost(t)
	s, err := OpenFirst()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first := testnet.Sh(t, "nft", "list", "ruleset")
	if _, err := OpenFirst(); !errors.Is(err, ErrRedirected) {
		t.Errorf("a second time: %v", err)
	}
	r, err := OpenRedirect()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	finds := func(what string, want Found) {
		t.Helper()
		got, err := r.Find()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if to, err := leadsTo(); to != want.To || errors.Is(err, ErrNotRedirected) != (want.To == 0) || err != nil && want.To != 0 {
			t.Errorf("%s: leads to %d, %v, want %d", what, to, err, want.To)
		}
	}
	finds("as written", Found{To: s.Port})
	if err := r.Write(s.Port, Found{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, testnet.Sh(t, "nft", "list", "ruleset")); diff != "" {
		t.Errorf("rules (-first +again):\n%s", diff)
	}
	for _, change := range []string{
		"insert rule ip fairway-names output accept", "add rule ip fairway-names output accept",
		"insert rule ip fairway-names output ip daddr 127.0.0.11 udp dport 53 dnat to :9", "flush chain ip fairway-names output", "flush table ip fairway-names",
		"delete chain ip fairway-names output",
	} {
		testnet.Sh(t, "nft", strings.Fields(change)...)
		finds(change, Found{})
		if err := r.Write(s.Port, Found{}); err != nil {
			t.Fatal(err)
		}
		finds("written again", Found{To: s.Port})
	}
	for range 2 {
		if err := r.Remove(); err != nil {
			t.Fatal(err)
		}
		finds("removed", Found{Absent: true})
	}
}

func TestListen(t *testing.T) {
	testnet.NewHost(t)
	first, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(first.Port); err == nil {
		t.Error("two have one port")
	}
	first.Close()
	again, err := Listen(first.Port)
	if err != nil || again.Port != first.Port {
		t.Fatalf("the same port again: %v, %v", again, err)
	}
	again.Close()
}
