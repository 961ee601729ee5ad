package wireguard

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// device is what WireGuard makes of a configuration, step by step: a peer's line, then each of its prefixes.
type device struct {
	peers  map[wgtypes.Key]bool
	owners map[netip.Prefix]wgtypes.Key
	step   func()
}

func newDevice() *device {
	return &device{peers: make(map[wgtypes.Key]bool), owners: make(map[netip.Prefix]wgtypes.Key), step: func() {}}
}

func (d *device) Make(*kernel.Kernel, netlink.LinkAttrs) error { return nil }
func (d *device) Made(netlink.Link) bool                       { return true }

func (d *device) Device(string) (*wgtypes.Device, error) {
	is := &wgtypes.Device{}
	for key := range d.peers {
		p := wgtypes.Peer{PublicKey: key}
		for prefix, owner := range d.owners {
			if owner == key {
				p.AllowedIPs = append(p.AllowedIPs, allowed([]netip.Prefix{prefix})...)
			}
		}
		is.Peers = append(is.Peers, p)
	}
	return is, nil
}

func (d *device) Configure(_ string, c wgtypes.Config) error {
	for _, p := range c.Peers {
		d.peers[p.PublicKey] = true
		if p.Remove || p.ReplaceAllowedIPs {
			maps.DeleteFunc(d.owners, func(_ netip.Prefix, owner wgtypes.Key) bool { return owner == p.PublicKey })
		}
		if p.Remove {
			delete(d.peers, p.PublicKey)
		}
		d.step()
		for _, ip := range p.AllowedIPs {
			addr, _ := netip.AddrFromSlice(ip.IP)
			ones, _ := ip.Mask.Size()
			d.owners[netip.PrefixFrom(addr, ones)] = p.PublicKey
			d.step()
		}
	}
	return nil
}

// drawPeers draws some of six peers, to each of which some of ten prefixes belong.
func drawPeers(chance *rand.Rand) (t Tunnel, owners map[netip.Prefix]wgtypes.Key) {
	owners = make(map[netip.Prefix]wgtypes.Key)
	for n := range 6 {
		if chance.IntN(4) > 0 {
			p := Peer{Key: wgtypes.Key{2, byte(n)}, Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 51840), Wake: chance.IntN(2) == 0}
			t.Peers = append(t.Peers, p)
		}
	}
	for n := range 10 {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 43, byte(n), 0}), 24)
		if n%2 > 0 {
			prefix = netip.MustParsePrefix(fmt.Sprintf("fd43:0:0:%d::/64", n))
		}
		if len(t.Peers) > 0 && chance.IntN(4) > 0 {
			p := &t.Peers[chance.IntN(len(t.Peers))]
			p.Prefixes = append(p.Prefixes, prefix)
			owners[prefix] = p.Key
		}
	}
	return t, owners
}

// TestPrefixesStay: from any peers to any others, by comparison or by the difference, a prefix that a peer has before and after is its own at
// each moment, and in the end each has its own.
func TestPrefixesStay(t *testing.T) {
	for seed := range uint64(3000) {
		chance := rand.New(rand.NewPCG(seed, 13))
		d := newDevice()
		before, owned := drawPeers(chance)
		after, owns := drawPeers(chance)
		before.Driver, after.Driver = d, d
		if err := before.configure(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		d.step = func() {
			for prefix, key := range owned {
				if owns[prefix] == key && d.owners[prefix] != key {
					t.Fatalf("seed %d: %s, which stays with %s, is with %s for a moment", seed, prefix, key, d.owners[prefix])
				}
			}
		}
		if seed%2 == 0 {
			if err := after.configure(func() error { return nil }); err != nil {
				t.Fatal(err)
			}
		} else if err := d.Configure("", after.difference(before.config())); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(owns, d.owners); diff != "" {
			t.Fatalf("seed %d: prefixes (-want +got):\n%s", seed, diff)
		}
		if len(d.peers) != len(after.Peers) {
			t.Fatalf("seed %d: %d peers instead of %d", seed, len(d.peers), len(after.Peers))
		}
	}
}
