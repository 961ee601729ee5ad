package attachment

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestClear(t *testing.T) {
	p, r := newPlugin(t)
	network, other := networkOf(t, "lamp", ""), networkOf(t, "other", "")
	stale, alive := endable(t, "stale"), endable(t, "alive")
	p.answers(t, answerWith(alive, "10.9.0.7/24", "02:00:00:00:00:07"), 0)
	attach(t, r, network, Request{ID: "1f", Name: "web", Netns: stale.Path})
	attach(t, r, other, Request{ID: "1f", Netns: stale.Path})
	attach(t, r, network, Request{ID: "2f", Name: "db", Netns: alive.Path})
	attach(t, r, other, Request{ID: "2f", Netns: alive.Path})
	p.calls(t)

	err := r.Clear(t.Context(), network, func(err error) error { return err })
	if want := "network lamp is in use by containers db, web: disconnect them first"; !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("while containers are alive: got %v, want %s", err, want)
	}
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	err = r.Clear(t.Context(), network, func(err error) error { return err })
	if want := "network lamp is in use by container db: disconnect it first"; !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("while one is alive: got %v, want %s", err, want)
	}
	if calls := p.calls(t); calls[0] != "" {
		t.Errorf("calls for a network in use: %v", calls)
	}
	if err := alive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Clear(t.Context(), network, func(err error) error { return err }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DEL 2f eth0", "DEL 1f eth0", "GC"}, p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	left, err := r.List()
	if err != nil || len(left) != 2 || left[0].Network != "other" {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// endable is a namespace that the test itself closes.
func endable(t *testing.T, name string) *testnet.Namespace {
	t.Helper()
	ns, err := testnet.New(t.Name() + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}
