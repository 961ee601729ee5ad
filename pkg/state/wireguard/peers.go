package wireguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/state"
)

// config is how a device is configured, of one that was read or of one that is declared.
type config struct {
	key   wgtypes.Key
	port  int
	mark  int
	peers map[wgtypes.Key]peer
}

type peer struct {
	endpoint netip.AddrPort
	prefixes []netip.Prefix // sorted
	// private says that it has what nobody declares: a preshared key, or another keepalive.
	private   bool
	keepalive time.Duration
}

func (t Tunnel) config() config {
	c := config{key: t.Key, port: int(t.Port), peers: make(map[wgtypes.Key]peer, len(t.Peers))}
	for _, p := range t.Peers {
		c.peers[p.Key] = peer{endpoint: p.Endpoint, prefixes: sorted(p.Prefixes), keepalive: p.keepalive()}
	}
	return c
}

func sorted(prefixes []netip.Prefix) []netip.Prefix {
	list := slices.Clone(prefixes)
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// read is the configuration of a device that is there.
func read(d *wgtypes.Device) config {
	c := config{key: d.PrivateKey, port: d.ListenPort, mark: d.FirewallMark, peers: make(map[wgtypes.Key]peer, len(d.Peers))}
	for _, p := range d.Peers {
		is := peer{private: p.PresharedKey != wgtypes.Key{}, keepalive: p.PersistentKeepaliveInterval}
		if p.Endpoint != nil {
			at := p.Endpoint.AddrPort()
			is.endpoint = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		}
		for _, n := range p.AllowedIPs {
			addr, _ := netip.AddrFromSlice(n.IP)
			ones, _ := n.Mask.Size()
			is.prefixes = append(is.prefixes, netip.PrefixFrom(addr.Unmap(), ones))
		}
		is.prefixes = sorted(is.prefixes)
		c.peers[p.PublicKey] = is
	}
	return c
}

// same says whether a peer is as another, but for where it is.
func (p peer) same(other peer) bool {
	return p.private == other.private && p.keepalive == other.keepalive && slices.Equal(p.prefixes, other.prefixes)
}

// current is how the device is configured.
func (t Tunnel) current() (config, error) {
	d, err := t.driver().Device(t.Name)
	if err != nil {
		return config{}, fmt.Errorf("wg show %s: %w", t.Name, state.AsVanished(err))
	}
	return read(d), nil
}

// configure writes what differs of the device's key, port and peers. Those that stay keep their sessions, unless the key changes: all
// peers are new then, and none has had a handshake. The device is raised before it has peers: who has had a handshake may send at once.
func (t Tunnel) configure(raise func() error) error {
	is, err := t.current()
	if err != nil {
		return err
	}
	if err := t.set(t.ownDifference(is)); err != nil {
		return err
	}
	if err := raise(); err != nil {
		return err
	}
	return t.set(t.difference(is))
}

// ownDifference is what is the device's own, and differs. With a new key, peers go, and with them what they had of the former.
func (t Tunnel) ownDifference(is config) (c wgtypes.Config) {
	if t.Key != is.key {
		c.PrivateKey = &t.Key
		for _, p := range t.Peers {
			if _, there := is.peers[p.Key]; there {
				c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: p.Key, Remove: true})
				delete(is.peers, p.Key)
			}
		}
	}
	if port := int(t.Port); port != is.port {
		c.ListenPort = &port
	}
	if is.mark != 0 {
		c.FirewallMark = new(int)
	}
	return c
}

// set configures the device, unless there is nothing to change.
func (t Tunnel) set(c wgtypes.Config) error {
	if c.PrivateKey == nil && c.ListenPort == nil && c.FirewallMark == nil && len(c.Peers) == 0 {
		return nil
	}
	err := t.driver().Configure(t.Name, c)
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("wg set %s: %w", t.Name, t.portTaken(err))
	}
	if err != nil {
		return fmt.Errorf("wg set %s: %w", t.Name, state.AsVanished(err))
	}
	return nil
}

// difference is the peers that are declared otherwise than they are. A prefix that another peer has moves with its new owner, and one
// that a peer keeps is its own at each moment: WireGuard replaces a list by emptying it first, and drops what comes meanwhile.
func (t Tunnel) difference(is config) (c wgtypes.Config) {
	want := t.config()
	for key := range is.peers {
		if _, stays := want.peers[key]; !stays && !t.Partial {
			c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: key, Remove: true})
		}
	}
	var lost []netip.Prefix
	for _, p := range t.Peers {
		was, there := is.peers[p.Key]
		right := want.peers[p.Key]
		if there && was.same(right) && was.endpoint == right.endpoint {
			continue
		}
		c.Peers = append(c.Peers, p.write())
		lost = append(lost, without(was.prefixes, right.prefixes)...)
	}
	for _, p := range t.Peers {
		lost = without(lost, p.Prefixes) // another has it now
	}
	if len(lost) > 0 {
		c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: nobody, AllowedIPs: allowed(lost)}, wgtypes.PeerConfig{PublicKey: nobody, Remove: true})
	}
	return c
}

// nobody is a peer that takes away what no peer has any more, and goes with it. It is the key of no host: none has a private key for it.
var nobody = wgtypes.Key{1}

func without(list, others []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return slices.Contains(others, p) })
}

// wakeEvery is how often a peer without a session is sent to: as often as WireGuard tries by itself (RekeyTimeout).
const wakeEvery = 5 * time.Second

func (p Peer) keepalive() time.Duration {
	if p.Wake {
		return wakeEvery
	}
	return 0
}

func (p Peer) write() wgtypes.PeerConfig {
	none, keepalive := wgtypes.Key{}, p.keepalive()
	return wgtypes.PeerConfig{
		PublicKey: p.Key, PresharedKey: &none, PersistentKeepaliveInterval: &keepalive,
		Endpoint: net.UDPAddrFromAddrPort(p.Endpoint), AllowedIPs: allowed(p.Prefixes),
	}
}

func allowed(prefixes []netip.Prefix) (list []net.IPNet) {
	for _, p := range prefixes {
		list = append(list, net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return list
}

// Pin sets back the endpoints of peers that were followed elsewhere: WireGuard takes a peer's address from its packets.
func (t Tunnel) Pin() error {
	if t.Attended {
		return nil
	}
	var errs []error
	for _, one := range t.devices() {
		errs = append(errs, one.configure(func() error { return nil }))
	}
	return errors.Join(errs...)
}

// verifyConfig reports what differs of key, port and peers.
func (t Tunnel) verifyConfig() error {
	is, err := t.current()
	if err != nil {
		return err
	}
	want := t.config()
	var errs []error
	if is.key != want.key {
		errs = append(errs, state.Driftf("%s has another private key", t.Name))
	}
	if is.port != want.port {
		errs = append(errs, state.Driftf("%s listens on port %d instead of %d", t.Name, is.port, want.port))
	}
	for key, p := range want.peers {
		was, there := is.peers[key]
		switch {
		case !there:
			errs = append(errs, state.Driftf("%s lacks peer %s at %s", t.Name, key, p.endpoint.Addr()))
		case !slices.Equal(was.prefixes, p.prefixes):
			errs = append(errs, state.Driftf("peer %s of %s may send from %s instead of %s", key, t.Name, join(was.prefixes), join(p.prefixes)))
		case !was.same(p):
			errs = append(errs, state.Driftf("peer %s of %s has a preshared key, or keepalive %v instead of %v", key, t.Name, was.keepalive, p.keepalive))
		}
	}
	for key := range is.peers {
		if _, stays := want.peers[key]; !stays && !t.Partial {
			errs = append(errs, state.Driftf("%s has peer %s that is no host of the network", t.Name, key))
		}
	}
	return errors.Join(errs...)
}
