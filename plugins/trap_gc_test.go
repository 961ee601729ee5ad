package plugins

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// owners is everyone who has something: of links, rules and reservations, by containers' IDs.
type owners struct{ Links, Elements, Reservations int }

func (a attachment) owners(t *testing.T) owners {
	t.Helper()
	found := owners{Elements: len(a.elements(t)), Reservations: len(a.reservations(t))}
	var list []struct {
		IfAlias string `json:"ifalias"`
	}
	decodeShown(t, a.host, &list, "link", "show", "type", "veth")
	for _, link := range list {
		if link.IfAlias != "" {
			found.Links++
		}
	}
	return found
}

// alive is a list of valid attachments as a runtime gives it.
func alive(ids ...string) []map[string]string {
	list := []map[string]string{}
	for _, id := range ids {
		list = append(list, map[string]string{"containerID": id, "ifname": "eth0"})
	}
	return list
}

// gcCall is a GC of the network, which comes without a container.
func (a attachment) gcCall() attachment {
	return a.withEnv("CNI_NETNS", "").withEnv("CNI_CONTAINERID", "").withEnv("CNI_IFNAME", "")
}

func TestGC(t *testing.T) {
	const key, legacy = "cni.dev/valid-attachments", "cni.dev/attachments"
	for _, tt := range []struct {
		name string
		keys map[string]any
		want owners
	}{
		{"absent", nil, owners{2, 2, 2}},
		{"null", map[string]any{key: (*int)(nil)}, owners{2, 2, 2}},
		{"legacy null", map[string]any{legacy: (*int)(nil)}, owners{2, 2, 2}},
		{"one", map[string]any{key: alive("b")}, owners{1, 1, 1}},
		{"legacy one", map[string]any{legacy: alive("b")}, owners{1, 1, 1}},
		{"both", map[string]any{key: alive("a", "b"), legacy: alive()}, owners{2, 2, 2}},
		{"other interface", map[string]any{key: []any{map[string]string{"containerID": "b", "ifname": "eth1"}}}, owners{}},
		{"empty", map[string]any{key: alive()}, owners{}},
		{"legacy empty", map[string]any{legacy: alive()}, owners{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, second := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")
			a := bridgeOn(t, first)
			a.add(t)
			result := a.on(second, "eth0").add(t)
			gc := a.gcCall()
			for k, v := range tt.keys {
				gc = gc.with(k, v)
			}
			gc.succeed(t, "GC")
			if diff := cmp.Diff(tt.want, a.owners(t)); diff != "" {
				t.Errorf("after GC (-want +got):\n%s", diff)
			}
			if tt.want.Links > 0 {
				a.on(second, "eth0").after(result).succeed(t, "CHECK")
			}
		})
	}
}

// TestGCLeavesOtherNetworksAlone: also one whose name begins with this one's, on the same bridge and data directory.
func TestGCLeavesOtherNetworksAlone(t *testing.T) {
	other, container := testnet.NewNS(t, "o"), testnet.NewNS(t, "c")
	a := bridgeOn(t, container)
	b := a.with("name", "net2").on(other, "eth0").withIPAM("ranges", [][]map[string]string{{{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100"}}})
	result := b.add(t)
	a.add(t)
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	if diff := cmp.Diff(owners{Links: 1, Elements: 1}, a.owners(t)); diff != "" {
		t.Errorf("after GC (-want +got):\n%s", diff)
	}
	b.after(result).succeed(t, "CHECK")
}

// TestGCIsForwarded to the delegate, with the keys, whether or not there is a list.
func TestGCIsForwarded(t *testing.T) {
	a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
	for _, gc := range []attachment{a.gcCall(), a.gcCall().with("cni.dev/valid-attachments", alive("c"))} {
		gc.succeed(t, "GC")
		d.wantCalls(t, "GC")
		wantText(t, "standard input of GC", gc.stdin(t), d.stdin(t, "GC"))
	}
}

// TestGCContinuesOnErrors: what the delegate cannot do keeps nothing of ours.
func TestGCContinuesOnErrors(t *testing.T) {
	a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
	a.add(t)
	d.answer(t, "GC.error", `{"cniVersion": "1.1.0", "code": 120, "msg": "no luck"}`)
	wantText(t, "sentence", "IPAM plugin recorder: no luck", a.gcCall().with("cni.dev/valid-attachments", alive()).fail(t, "GC", 120))
	if diff := cmp.Diff(owners{}, a.owners(t)); diff != "" {
		t.Errorf("after GC (-want +got):\n%s", diff)
	}
}

func TestGCOfHostLocal(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.plugin = "host-local"
	a.add(t)
	gc := a.gcCall()
	gc.succeed(t, "GC")
	gc.with("cni.dev/valid-attachments", alive("c")).succeed(t, "GC")
	if diff := cmp.Diff([]string{"10.1.0.2 c\r\neth0"}, a.reservations(t)); diff != "" {
		t.Errorf("reservations (-want +got):\n%s", diff)
	}
	gc.with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	if left := a.reservations(t); left != nil {
		t.Errorf("reservations after GC: %v", left)
	}
}

func TestGCOfNone(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := noneOn(t, "none", container)
	a = a.after(a.add(t))
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	a.succeed(t, "CHECK")
}
