package state_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// probe is an object that notes what is done to it, and fails where it is told to.
type probe struct {
	name    string
	notes   *[]string
	present bool // Ensure finds it there
	ensure  error
	verify  error
	remove  error
}

func (p probe) String() string { return p.name }

func (p probe) note(what string) { *p.notes = append(*p.notes, what+" "+p.name) }

func (p probe) Ensure(*kernel.Kernel) (bool, error) {
	p.note("ensure")
	return !p.present && p.ensure == nil, p.ensure
}

func (p probe) Verify(*kernel.Kernel) error { p.note("verify"); return p.verify }

func (p probe) Remove(*kernel.Kernel) error { p.note("remove"); return p.remove }

var (
	errProbe = errors.New("probe")
	errOther = errors.New("other")
)

func expectNotes(t *testing.T, notes []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A failed Apply removes exactly what it made, newest first.
func TestSetApplyTakesBack(t *testing.T) {
	var notes []string
	set := state.Set{
		probe{name: "a", notes: &notes},
		probe{name: "present", notes: &notes, present: true},
		state.Shared(probe{name: "shared", notes: &notes, remove: errOther}),
		state.Shared(probe{name: "shared and present", notes: &notes, present: true}),
		probe{name: "b", notes: &notes},
		probe{name: "broken", notes: &notes, ensure: errProbe},
		probe{name: "never", notes: &notes},
	}
	_, err := set.Apply(&kernel.Kernel{})
	if !errors.Is(err, errProbe) || !errors.Is(err, errOther) {
		t.Errorf("error %v, want both that of Ensure and that of Remove", err)
	}
	expectNotes(t, notes, "ensure a", "ensure present", "ensure shared", "ensure shared and present", "ensure b", "ensure broken",
		"remove b", "remove shared", "remove a")
}

func TestSetApplyUndo(t *testing.T) {
	var notes []string
	set := state.Set{
		probe{name: "a", notes: &notes}, probe{name: "present", notes: &notes, present: true},
		state.Shared(probe{name: "shared", notes: &notes}),
	}
	undo, err := set.Apply(&kernel.Kernel{})
	if err != nil {
		t.Fatal(err)
	}
	notes = nil
	if err := undo(); err != nil {
		t.Error(err)
	}
	expectNotes(t, notes, "remove shared", "remove a")
}

// Remove goes on past errors and leaves what others share.
func TestSetRemove(t *testing.T) {
	var notes []string
	set := state.Set{
		state.Shared(probe{name: "shared", notes: &notes}),
		probe{name: "a", notes: &notes, remove: errProbe}, probe{name: "b", notes: &notes, remove: errOther},
	}
	if err := set.Remove(&kernel.Kernel{}); !errors.Is(err, errProbe) || !errors.Is(err, errOther) {
		t.Errorf("error %v, want both", err)
	}
	expectNotes(t, notes, "remove b", "remove a")
}

func TestSetVerifyReportsAllDrift(t *testing.T) {
	k, container := newPair(t)
	set := state.Set{
		state.Shared(state.Bridge{Name: "br0"}),
		state.Veth{Owner: owner("a"), MAC: owner("a").MAC(), Bridge: "br0"},
		address("10.0.0.2/24"),
		state.Masquerade{Owner: owner("a"), Prefixes: prefixes("10.0.0.2/24")},
	}
	undo := apply(t, k, set...)
	if err := set.Verify(open(t, container)); err != nil {
		t.Errorf("Verify: %v", err)
	}
	testnet.Sh(t, "ip", "link", "set", "br0", "down")
	testnet.Sh(t, "nft", "flush", "chain", "inet", "fairway", "postrouting")
	container.Sh(t, "ip", "addr", "flush", "dev", "eth0")
	err := set.Verify(open(t, container))
	for _, text := range []string{"bridge br0 is down", "chain postrouting", "eth0 has no address 10.0.0.2/24"} {
		fails(t, err, state.ErrDrift, text)
	}
	if got := len(strings.Split(err.Error(), "\n")); got != 3 {
		t.Errorf("%d lines of drift, want 3:\n%v", got, err)
	}
	if err := undo(); err != nil {
		t.Errorf("undo: %v", err)
	}
	lacks(t, testnet.Sh(t, "ip", "link"), "br0", "veth")
}

// A real failure after real objects leaves nothing of the attachment, nor of what it made for all.
func TestSetApplyLeavesNothing(t *testing.T) {
	k, container := newPair(t)
	var notes []string
	_, err := state.Set{
		state.Shared(state.Bridge{Name: "br0"}),
		state.Veth{Owner: owner("a"), MAC: owner("a").MAC(), Bridge: "br0"},
		address("10.0.0.2/24"),
		state.SpoofCheck{Owner: owner("a"), MAC: owner("a").MAC()},
		state.Masquerade{Owner: owner("a"), Prefixes: prefixes("10.0.0.2/24")},
		probe{name: "broken", notes: &notes, ensure: errProbe},
	}.Apply(k)
	fails(t, err, errProbe, "probe")
	lacks(t, testnet.Sh(t, "ip", "link"), "br0", "veth")
	lacks(t, container.Sh(t, "ip", "link"), "eth0")
	lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), owner("a").Tag())
}

func TestSetFree(t *testing.T) {
	k, container := newPair(t)
	set := state.Set{state.Shared(state.Bridge{Name: "br0"}), state.Veth{Owner: owner("a")}}
	if err := set.Free(k); err != nil {
		t.Error(err)
	}
	container.Sh(t, "ip", "link", "add", "eth0", "type", "bridge")
	fails(t, set.Free(k), state.ErrExists, "eth0")
}

func TestSetReady(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br0", "type", "veth", "peer", "name", "x0")
	set := state.Set{state.Shared(state.Bridge{Name: "br0"}), state.Shared(state.Bridge{Name: "x0"}), state.Veth{Owner: owner("a")}}
	err := set.Ready(open(t, nil))
	fails(t, err, state.ErrConflict, "br0")
	fails(t, err, state.ErrConflict, "x0")
}

func TestWhere(t *testing.T) {
	for _, test := range []struct {
		object state.Object
		want   state.Place
	}{
		{state.Bridge{}, state.Host}, {state.Shared(state.Sysctl{In: state.Host}), state.Host},
		{address("10.0.0.2/24"), state.Container}, {state.Shared(address("10.0.0.2/24")), state.Container},
		{state.Announce{}, state.Container}, {state.LinkUp{In: state.Container}, state.Container}, {state.Route{In: state.Container}, state.Container},
	} {
		if got := state.Where(test.object); got != test.want {
			t.Errorf("%T lies in %s, want %s", test.object, got, test.want)
		}
	}
}

func TestSetWithoutRules(t *testing.T) {
	set := state.Set{
		state.Shared(state.Bridge{Name: "br0"}), state.Shared(state.Isolation{Bridge: "br0", Internal: true}),
		address("10.0.0.2/24"), state.SpoofCheck{Owner: owner("a")}, state.Masquerade{Owner: owner("a")},
	}
	var got []string
	for _, object := range set.WithoutRules() {
		got = append(got, object.String())
	}
	if diff := cmp.Diff([]string{"ip link add br0 up type bridge", "ip addr add 10.0.0.2/24 dev eth0"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What was applied before is not applied again, unless it is declared in another way by now.
func TestSetBeyond(t *testing.T) {
	veth := state.Veth{Owner: owner("a"), MAC: owner("a").MAC()}
	before := state.Set{state.Shared(state.Bridge{Name: "br0"}), veth, state.Masquerade{Owner: owner("a")}}
	masquerade := state.Masquerade{Owner: owner("a"), Prefixes: prefixes("10.0.0.2/24")}
	now := state.Set{state.Shared(state.Bridge{Name: "br0"}), veth, address("10.0.0.2/24"), masquerade}
	var got []string
	for _, object := range now.Beyond(before) {
		got = append(got, object.String())
	}
	if diff := cmp.Diff([]string{address("10.0.0.2/24").String(), masquerade.String()}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := len(now.Beyond(nil)); got != len(now) {
		t.Errorf("%d objects beyond nothing, want all %d", got, len(now))
	}
}
