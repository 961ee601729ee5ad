package state_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/rescue"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
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
	panics  string // the method that panics
}

func (p probe) String() string { return p.name }

func (p probe) note(what string) {
	*p.notes = append(*p.notes, what+" "+p.name)
	if what == p.panics {
		panic("probe")
	}
}

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

// adder is a probe of which a part is there already: it notes one step, and ends as the probe does.
type adder struct{ probe }

func (a adder) Add(k *kernel.Kernel, made *rescue.Rollback) error {
	made.Push(func() error { a.note("take back"); return nil })
	_, err := a.Ensure(k)
	return err
}

// TestSetTakesBackSteps: of an object that may be there in part, what this call has done is taken back, whether it succeeds, fails or
// panics; it is never removed.
func TestSetTakesBackSteps(t *testing.T) {
	for name, tt := range map[string]struct {
		last probe
		want error
	}{
		"fails":  {probe{ensure: errProbe}, errProbe},
		"panics": {probe{panics: "ensure"}, rescue.ErrPanic},
	} {
		t.Run(name, func(t *testing.T) {
			var notes []string
			tt.last.name, tt.last.notes = "last", &notes
			set := state.Set{adder{probe{name: "first", notes: &notes, present: true}}, adder{tt.last}}
			if err := apply(set); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			expectNotes(t, notes, "ensure first", "ensure last", "take back last", "take back first")
		})
	}
}

// TestSetPanics: a panic is an error like others; what the object that panicked may have made is removed, unless others share it.
func TestSetPanics(t *testing.T) {
	var notes []string
	at := func(name, method string) probe { return probe{name: name, notes: &notes, panics: method} }
	for _, tt := range []struct {
		name string
		do   func(state.Set) error
		set  state.Set
		want []string
	}{
		{"Apply", apply, state.Set{at("a", "remove"), at("b", ""), at("broken", "ensure"), at("never", "")},
			[]string{"ensure a", "ensure b", "ensure broken", "remove broken", "remove b", "remove a"}},
		{"Apply of what is shared", apply, state.Set{at("a", ""), state.Shared(at("broken", "ensure"))},
			[]string{"ensure a", "ensure broken", "remove a"}},
		{"Remove", func(s state.Set) error { return s.Remove(&kernel.Kernel{}) }, state.Set{at("a", ""), at("b", "remove")},
			[]string{"remove b", "remove a"}},
		{"Verify", func(s state.Set) error { return s.Verify(&kernel.Kernel{}) }, state.Set{at("a", "verify"), at("b", "")},
			[]string{"verify a", "verify b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			notes = nil
			if err := tt.do(tt.set); !errors.Is(err, rescue.ErrPanic) {
				t.Errorf("got %v, want a panic's error", err)
			}
			expectNotes(t, notes, tt.want...)
		})
	}
}

func apply(s state.Set) error {
	_, err := s.Apply(&kernel.Kernel{})
	return err
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
	k, container := statetest.NewPair(t)
	set := state.Set{
		state.Shared(bridging.Bridge{Name: "br0"}),
		state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC(), Bridge: "br0"},
		statetest.Address("10.0.0.2/24"),
		ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.0.0.2/24")},
	}
	undo := statetest.Apply(t, k, set...)
	if err := set.Verify(statetest.Open(t, container)); err != nil {
		t.Errorf("Verify: %v", err)
	}
	testnet.Sh(t, "ip", "link", "set", "br0", "down")
	testnet.Sh(t, "nft", "flush", "chain", "inet", "fairway", "postrouting")
	container.Sh(t, "ip", "addr", "flush", "dev", "eth0")
	err := set.Verify(statetest.Open(t, container))
	for _, text := range []string{"bridge br0 is down", "chain postrouting", "eth0 has no address 10.0.0.2/24"} {
		statetest.Fails(t, err, state.ErrDrift, text)
	}
	if got := len(strings.Split(err.Error(), "\n")); got != 3 {
		t.Errorf("%d lines of drift, want 3:\n%v", got, err)
	}
	if err := undo(); err != nil {
		t.Errorf("undo: %v", err)
	}
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "br0", "veth")
}

// A real failure after real objects leaves nothing of the attachment, nor of what it made for all.
func TestSetApplyLeavesNothing(t *testing.T) {
	k, container := statetest.NewPair(t)
	var notes []string
	_, err := state.Set{
		state.Shared(bridging.Bridge{Name: "br0"}),
		state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC(), Bridge: "br0"},
		statetest.Address("10.0.0.2/24"),
		ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()},
		ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.0.0.2/24")},
		probe{name: "broken", notes: &notes, ensure: errProbe},
	}.Apply(k)
	statetest.Fails(t, err, errProbe, "probe")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "br0", "veth")
	statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), statetest.Owner("a").Tag())
}

func TestSetFree(t *testing.T) {
	k, container := statetest.NewPair(t)
	set := state.Set{state.Shared(bridging.Bridge{Name: "br0"}), state.Veth{Owner: statetest.Owner("a")}}
	if err := set.Free(k); err != nil {
		t.Error(err)
	}
	container.Sh(t, "ip", "link", "add", "eth0", "type", "bridge")
	statetest.Fails(t, set.Free(k), state.ErrExists, "eth0")
}

func TestSetReady(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br0", "type", "veth", "peer", "name", "x0")
	set := state.Set{state.Shared(bridging.Bridge{Name: "br0"}), state.Shared(bridging.Bridge{Name: "x0"}), state.Veth{Owner: statetest.Owner("a")}}
	err := set.Ready(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrConflict, "br0")
	statetest.Fails(t, err, state.ErrConflict, "x0")
}

func TestWhere(t *testing.T) {
	for _, test := range []struct {
		object state.Object
		want   state.Place
	}{
		{bridging.Bridge{}, state.Host}, {state.Shared(state.Sysctl{In: state.Host}), state.Host},
		{statetest.Address("10.0.0.2/24"), state.Container}, {state.Shared(statetest.Address("10.0.0.2/24")), state.Container},
		{state.Announce{}, state.Container}, {state.LinkUp{In: state.Container}, state.Container}, {state.Route{In: state.Container}, state.Container},
	} {
		if got := state.Where(test.object); got != test.want {
			t.Errorf("%T lies in %s, want %s", test.object, got, test.want)
		}
	}
}

func TestSetWithoutRules(t *testing.T) {
	set := state.Set{
		state.Shared(bridging.Bridge{Name: "br0"}), state.Shared(ruleset.Isolation{Bridge: "br0", Link: "br0", Internal: true}),
		statetest.Address("10.0.0.2/24"), ruleset.SpoofCheck{Owner: statetest.Owner("a")}, ruleset.Masquerade{Owner: statetest.Owner("a")},
	}
	var got []string
	for _, object := range set.WithoutRules() {
		got = append(got, object.String())
	}
	if diff := cmp.Diff([]string{"ip link add br0 up type bridge", set[1].String(), "ip addr add 10.0.0.2/24 dev eth0"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What was applied before is not applied again, unless it is declared in another way by now.
func TestSetBeyond(t *testing.T) {
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()}
	before := state.Set{state.Shared(bridging.Bridge{Name: "br0"}), veth, ruleset.Masquerade{Owner: statetest.Owner("a")}}
	masquerade := ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.0.0.2/24")}
	now := state.Set{state.Shared(bridging.Bridge{Name: "br0"}), veth, statetest.Address("10.0.0.2/24"), masquerade}
	var got []string
	for _, object := range now.Beyond(before) {
		got = append(got, object.String())
	}
	if diff := cmp.Diff([]string{statetest.Address("10.0.0.2/24").String(), masquerade.String()}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := len(now.Beyond(nil)); got != len(now) {
		t.Errorf("%d objects beyond nothing, want all %d", got, len(now))
	}
}
