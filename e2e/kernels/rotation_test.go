package kernels

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/vtep"
	"github.com/fairway-cni/fairway/pkg/wgkey"
)

// rotating are two hosts of an encrypted network as node agents declare it, the first of which replaces its key.
type rotating struct {
	hosts   []*testnet.Host
	peers   []overlay.Peer // as the registry has them
	keys    [2][2]wgkey.Private
	spare   [2]bool // by which device each sends to the other
	applied [2]*vxlan.Overlay
}

var rotated = overlay.Network{
	Name: "secret", VNI: 43, Port: overlay.DefaultPort, Encrypted: true, WireguardPort: overlay.DefaultWireguardPort,
	Subnets: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")},
}

// declare is what a host has to have. Each knows by itself through which device it sends.
func (r *rotating) declare(i int) vxlan.Overlay {
	own, other := r.peers[i], r.peers[1-i]
	other.Spare = r.spare[i]
	o := vtep.Declare(rotated, overlay.Hosts{Self: own.VTEP, Peers: []overlay.Peer{own, other}}, own, 1500)
	return vtep.Tunnel(o, func(t *wireguard.Tunnel) {
		t.Key = wgtypes.Key(r.keyOf(own, own.Key))
		if t.Spare != nil {
			t.Spare.Key = wgtypes.Key(r.keyOf(own, own.LastKey()))
		}
	})
}

func (r *rotating) keyOf(own overlay.Peer, public overlay.Key) wgkey.Private {
	for _, pair := range r.keys {
		for _, key := range pair {
			if key.Public() == public {
				return key
			}
		}
	}
	panic(fmt.Sprint("no key of ", own))
}

// apply brings a host in line: by the difference where that is enough.
func (r *rotating) apply(t *testing.T, i int) {
	t.Helper()
	if err := r.hosts[i].Do(func() error {
		k, err := kernel.Open("")
		if err != nil {
			return err
		}
		defer k.Close()
		o := r.declare(i)
		if was := r.applied[i]; was != nil {
			if ok, err := o.Advance(k, *was); ok || err != nil {
				r.applied[i] = &o
				return err
			}
		}
		_, err = o.Ensure(k)
		r.applied[i] = &o
		if err == nil {
			err = o.Verify(k)
		}
		return err
	}); err != nil {
		t.Fatalf("host %d: %v", i+1, err)
	}
}

// met waits for a handshake on a device of each host, and has it send by that.
func (r *rotating) met(t *testing.T, spare bool) {
	t.Helper()
	device := overlay.TunnelName(rotated.VNI)
	if spare {
		device = overlay.SpareTunnelName(rotated.VNI)
	}
	for i := range r.hosts {
		for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			var d *wgtypes.Device
			err := r.hosts[i].Do(func() (err error) {
				d, err = wireguard.Kernel{}.Device(device)
				return err
			})
			if err == nil && len(d.Peers) == 1 && !d.Peers[0].LastHandshakeTime.IsZero() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("host %d: no handshake on %s: %+v, %v", i+1, device, d, err)
			}
		}
		r.spare[i] = spare
		r.apply(t, i)
	}
}

// newRotating raises the hosts, each with a key and another to replace it, which look back the way that a packet came (rp_filter).
func newRotating(t *testing.T) (r *rotating, watch *testnet.Witness) {
	t.Helper()
	hosts := testnet.NewHosts(t, 2, binDir)
	r = &rotating{hosts: hosts.All}
	for i, h := range hosts.All {
		for j := range r.keys[i] {
			key, err := wgkey.Generate()
			if err != nil {
				t.Fatal(err)
			}
			r.keys[i][j] = key
		}
		block := netip.MustParsePrefix(fmt.Sprintf("10.42.%d.0/24", i+1))
		r.peers = append(r.peers, overlay.Peer{Node: h.Name, VTEP: h.V4, Blocks: []netip.Prefix{block}, Key: r.keys[i][0].Public()})
		h.Sh(t, "sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1")
	}
	watch = hosts.Watch(t)
	for i := range r.hosts {
		r.apply(t, i)
	}
	// Of more than 128 packets that wait for the first handshake, WireGuard drops some (drivers/net/wireguard, MAX_STAGED_PACKETS).
	for i := range r.hosts {
		answers(t, r.hosts[i].Namespace, r.address(1-i).String())
	}
	return r, watch
}

// address is a host's own in the network.
func (r *rotating) address(i int) netip.Addr { return overlay.Gateway(r.peers[i].Blocks[0]) }

// loses says what is lost of packets in both directions, and of a connection, while something is done.
func (r *rotating) loses(t *testing.T, do func()) (errs []error) {
	t.Helper()
	var flows []*testnet.Flow
	for i := range r.hosts {
		flow, err := testnet.StartFlowEvery(time.Millisecond, r.hosts[1-i].Namespace, r.hosts[i].Namespace, r.address(i))
		if err != nil {
			t.Fatal(err)
		}
		flows = append(flows, flow)
	}
	stream, err := testnet.StartStream(r.hosts[0].Namespace, r.hosts[1].Namespace, r.address(1))
	if err != nil {
		t.Fatal(err)
	}
	do()
	for _, flow := range flows {
		errs = append(errs, flow.Stop(5*time.Second))
	}
	return append(errs, stream.Stop(5*time.Second))
}

// rotate replaces the first host's key, each step of which the hosts hear of one after the other.
func (r *rotating) rotate(t *testing.T) {
	t.Helper()
	steps := []func(){
		func() { r.peers[0].NextKey = r.keys[0][1].Public() }, // leaving
		func() { r.peers[0].Key = r.keys[0][1].Public() },     // returning
		func() { r.peers[0].NextKey = overlay.Key{} },         // settled
	}
	for n, step := range steps {
		step()
		for _, i := range [][]int{{0, 1}, {0, 1}, {1, 0}}[n] {
			r.apply(t, i)
		}
		if n < 2 {
			r.met(t, n == 0)
			time.Sleep(time.Second) // what is under way by the other device
		}
	}
}

// growAndShrink gives each host a block more, and takes it away.
func (r *rotating) growAndShrink(t *testing.T) {
	t.Helper()
	for i := range r.peers {
		first := r.peers[i].Blocks[:1]
		for _, blocks := range [][]netip.Prefix{append(slices.Clone(first), netip.MustParsePrefix(fmt.Sprintf("10.42.%d.0/24", 100+i))), first} {
			r.peers[i].Blocks = blocks
			r.apply(t, i)
			r.apply(t, 1-i)
			r.verify(t, 1-i)
		}
	}
}

// verify looks at what the kernel has, where it was changed by the difference.
func (r *rotating) verify(t *testing.T, i int) {
	t.Helper()
	if err := r.hosts[i].Do(func() error {
		k, err := kernel.Open("")
		if err != nil {
			return err
		}
		defer k.Close()
		return r.declare(i).Verify(k)
	}); err != nil {
		t.Errorf("host %d: %v", i+1, err)
	}
}

// TestKeyIsRotatedInKernel: packets between hosts leave the first device, and come back to it when it has the new key; blocks come and go. No
// packet is lost, nor is a connection, and a capture shows nothing.
func TestKeyIsRotatedInKernel(t *testing.T) {
	r, watch := newRotating(t)
	if err := errors.Join(r.loses(t, func() {
		r.rotate(t)
		r.growAndShrink(t)
	})...); err != nil {
		t.Error(err)
	}
	if seen := watch.Seen(t); slices.Contains(seen, testnet.SawPlaintext) {
		t.Errorf("the underlay shows %v", seen)
	}
	// The same packets by the hosts' addresses on the underlay are seen.
	clear, err := testnet.StartFlow(r.hosts[0].Namespace, r.hosts[1].Namespace, r.hosts[1].V4)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if err := clear.Stop(5 * time.Second); err != nil || !slices.Contains(watch.Seen(t), testnet.SawPlaintext) {
		t.Errorf("what is not encrypted is not seen: the test proves nothing (%v)", err)
	}
	for _, h := range r.hosts {
		if links := h.Sh(t, "ip", "-o", "link"); strings.Contains(links, overlay.SpareTunnelName(rotated.VNI)) {
			t.Errorf("left: %s", links)
		}
	}
}
