package admission_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/admission"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

func admitted(container string, addrs ...string) admission.Admitted {
	a := admission.Admitted{Owner: statetest.Owner(container)}
	for _, text := range addrs {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(text))
	}
	return a
}

// TestLayout: the table as nft prints it, which can be read back, and whose version is a hash of it.
func TestLayout(t *testing.T) {
	testnet.NewHost(t)
	a := admitted("a", "10.1.0.2")
	statetest.Apply(t, statetest.Open(t, nil), a)
	statetest.Removes(t, nil, a)
	shown := testnet.Sh(t, "nft", "list", "table", "inet", "fairway_firewall") + "\n"
	version := admission.Version()
	plain := strings.ReplaceAll(shown, `"`+version+" ", `"`)
	sum := sha256.Sum256([]byte(plain))
	if want := hex.EncodeToString(sum[:4]); version != want {
		t.Errorf("the rules have changed: version is %s, make it %s", version, want)
	}
	golden.Compare(t, "layout.golden", plain)
	file := t.TempDir() + "/ruleset"
	if err := os.WriteFile(file, []byte(shown), 0o644); err != nil {
		t.Fatal(err)
	}
	testnet.Sh(t, "nft", "flush", "ruleset")
	testnet.Sh(t, "nft", "-f", file)
	statetest.Apply(t, statetest.Open(t, nil), a)
	statetest.Verifies(t, nil, a)
}

// TestAdmitted: an address is its latest holder's, and stays so when an earlier one is removed.
func TestAdmitted(t *testing.T) {
	testnet.NewHost(t)
	first, second := admitted("a", "10.1.0.2", "fd01::2"), admitted("b", "10.1.0.2")
	statetest.Apply(t, statetest.Open(t, nil), first)
	statetest.Verifies(t, nil, first)
	statetest.Apply(t, statetest.Open(t, nil), second)
	statetest.Drifts(t, nil, first, `belongs to "fairway net b eth0" instead of "fairway net a eth0"`)
	first.Addrs = nil
	statetest.Removes(t, nil, first)
	statetest.Verifies(t, nil, second)
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "net a ")
}

// TestPolicy: who reaches whom, as each policy has it, and as it is taken back.
func TestPolicy(t *testing.T) {
	testnet.NewHost(t)
	a, neighbour, stranger := statetest.NewGuest(t, 1, 2), statetest.NewGuest(t, 1, 3), statetest.NewGuest(t, 2, 2)
	apply := func(g statetest.Guest, bridge string, apart, isolated bool) admission.Policy {
		p := admission.Policy{Bridge: bridge, Apart: apart, Isolated: isolated, Ports: []string{g.Owner.HostLink()}}
		statetest.Apply(t, statetest.Open(t, nil), p)
		statetest.Verifies(t, nil, p)
		return p
	}
	to := netip.MustParseAddr("10.1.0.2")
	statetest.Reaches(t, stranger.Namespace, a.Namespace, to, true)
	apply(a, "br1", true, false)
	statetest.Reaches(t, stranger.Namespace, a.Namespace, to, true) // its bridge has no policy
	apply(stranger, "br2", true, false)
	statetest.Reaches(t, stranger.Namespace, a.Namespace, to, false)
	statetest.Reaches(t, neighbour.Namespace, a.Namespace, to, true)
	isolated := apply(a, "br1", true, true)
	apply(neighbour, "br1", true, true)
	statetest.Reaches(t, neighbour.Namespace, a.Namespace, to, false)
	testnet.Sh(t, "bridge", "link", "set", "dev", a.Owner.HostLink(), "isolated", "off")
	statetest.Drifts(t, nil, isolated, "port "+a.Owner.HostLink()+" is not isolated")
	apply(a, "br1", false, false)
	statetest.Reaches(t, stranger.Namespace, a.Namespace, to, true)
	statetest.Reaches(t, neighbour.Namespace, a.Namespace, to, true)
	testnet.Sh(t, "ip", "link", "del", "br2")
	if err := admission.Prune(statetest.Open(t, nil), func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "table", "inet", "fairway_firewall"), "br2", "br1")
}

// TestAdminChain stays as it is.
func TestAdminChain(t *testing.T) {
	testnet.NewHost(t)
	a := admitted("a", "10.1.0.2")
	statetest.Apply(t, statetest.Open(t, nil), a)
	testnet.Sh(t, "nft", "add", "rule", "inet", "fairway_firewall", "admin", "ip", "saddr", "10.1.0.2", "drop")
	testnet.Sh(t, "nft", "flush", "chain", "inet", "fairway_firewall", "forward")
	statetest.Drifts(t, nil, a, "chain forward of nftables table inet fairway_firewall has not the rules of this version")
	statetest.Apply(t, statetest.Open(t, nil), a)
	statetest.Verifies(t, nil, a)
	statetest.Shows(t, testnet.Sh(t, "nft", "list", "chain", "inet", "fairway_firewall", "admin"), "10.1.0.2 drop")
}

// TestFlushedMeanwhile: `nft flush ruleset` between any two steps of an ADD is outlived.
func TestFlushedMeanwhile(t *testing.T) {
	for name, object := range map[string]state.Object{
		"admitted": admitted("a", "10.1.0.2", "fd01::2"),
		"policy":   admission.Policy{Bridge: "br1", Apart: true},
	} {
		t.Run(name, func(t *testing.T) { statetest.OutlivesFlush(t, testnet.NewHost(t), object) })
	}
}
