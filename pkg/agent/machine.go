package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
	"github.com/fairway-cni/fairway/pkg/vtep"
)

// machine is the host: its kernel, and the addresses that its containers have.
type machine interface {
	// open begins a pass.
	open() (pass, error)
	// reserved are the addresses of a network that containers have.
	reserved(network string) ([]netip.Addr, error)
	// purge frees what containers of an earlier boot had.
	purge(ctx context.Context, network string) error
	// has says whether an address is one of the host's, and answers whether another machine has it.
	has(addr netip.Addr) bool
	answers(ctx context.Context, addr netip.Addr) bool
}

// pass is one look at the kernel.
type pass interface {
	close()
	// remember has what all networks share be listed once in this pass, for networks that are compared as a whole.
	remember()
	// findUnderlay finds the address by which peers reach this host: of a family, unless that is 0.
	findUnderlay(asked string, family int, present netip.Addr) (underlay, error)
	// program brings the kernel in line. before is what is there; nil when that is not known, and everything is compared. drift
	// is what was found to differ then. With partial, nothing is taken away for not being in the snapshot.
	program(s snapshot, before *snapshot, partial bool) (drift, err error)
	// remove takes a network away, unless containers are left.
	remove(s snapshot) (gone bool, err error)
	// fits says whether a network can be on this host.
	fits(s snapshot) error
}

// realMachine is the host that the agent runs on.
type realMachine struct {
	dataDir string
	keys    *keyring
	devices *devices
}

func (m realMachine) config(network string) hostlocal.Config {
	return hostlocal.Config{Network: network, DataDir: m.dataDir}
}

func (m realMachine) reserved(network string) ([]netip.Addr, error) {
	return hostlocal.NewStore(m.config(network)).Reserved()
}

func (m realMachine) purge(ctx context.Context, network string) error {
	return hostlocal.NewStore(m.config(network)).Purge(ctx)
}

func (m realMachine) open() (pass, error) {
	k, err := kernel.Open("")
	if err != nil {
		return nil, err
	}
	return realPass{k, m.keys, m.devices}, nil
}

type realPass struct {
	k       *kernel.Kernel
	keys    *keyring
	devices *devices
}

func (p realPass) close() {
	p.k.Close()
	if p.k.Forget() { // listings of all peers are rare and large, and the memory is not needed until the next
		debug.FreeOSMemory()
	}
}

func (p realPass) remember() { p.k.Remember() }

func (p realPass) findUnderlay(asked string, family int, present netip.Addr) (underlay, error) {
	return resolveUnderlay(p.k, asked, family, present)
}

func (p realPass) program(s snapshot, before *snapshot, partial bool) (drift, err error) {
	if before != nil && before.own().Key == s.own().Key && before.own().LastKey() == s.own().LastKey() {
		ok, err := p.advance(s, *before, partial)
		if ok {
			return nil, err
		}
	}
	o, err := p.declarePart(s, partial)
	if err != nil {
		return nil, err
	}
	if drift = o.Verify(p.k); drift == nil {
		return nil, pin(o)
	}
	return drift, p.k.Afresh(func() error {
		_, err := o.Ensure(p.k)
		return err
	})
}

// advance writes what differs from what is there, by the peers that differ alone. It is not ok where more has to be looked at.
func (p realPass) advance(s, before snapshot, partial bool) (ok bool, err error) {
	before, s = before.differing(s)
	was, err := p.declare(before)
	if err != nil {
		return false, err
	}
	o, err := p.declarePart(s, partial)
	if err != nil {
		return false, err
	}
	return o.Advance(p.k, was)
}

// declarePart is declare where what is not in the snapshot may be there all the same.
func (p realPass) declarePart(s snapshot, partial bool) (vxlan.Overlay, error) {
	o, err := p.declare(s)
	o.Peers.Partial, o.Filter.Partial = partial, partial
	return vtep.Tunnel(o, func(t *wireguard.Tunnel) {
		t.Partial = partial
		if t.Spare != nil {
			t.Spare.Partial = partial
		}
	}), err
}

// pin sets back where the peers of an encrypted network are, as the registry has it.
func pin(o vxlan.Overlay) error {
	if o.Encrypted == nil {
		return nil
	}
	return o.Encrypted.Tunnel.(wireguard.Tunnel).Pin()
}

// encrypted completes the tunnel of an encrypted network by what this host alone has.
func (p realPass) encrypted(o vxlan.Overlay) (vxlan.Overlay, error) {
	if o.Encrypted == nil {
		return o, nil
	}
	if _, err := p.keys.private(); err != nil {
		return o, err
	}
	r := p.keys.replaced()
	return vtep.Tunnel(o, func(t *wireguard.Tunnel) {
		t.Key, t.Driver = wgtypes.Key(r.key), p.devices
		if t.Spare != nil {
			t.Spare.Key, t.Spare.Driver = wgtypes.Key(r.last()), p.devices
		}
	}), nil
}

// declare is this host's part of a network as kernel state.
func (p realPass) declare(s snapshot) (vxlan.Overlay, error) {
	network := s.network()
	if err := network.Check(s.hosts); err != nil {
		return vxlan.Overlay{}, err
	}
	own := s.own()
	under, err := vxlan.UnderlayOf(p.k, own.VTEP)
	if err != nil {
		return vxlan.Overlay{}, err
	}
	if most := under.MTU - network.Overhead(own.VTEP); network.MTU > most {
		return vxlan.Overlay{}, fmt.Errorf("mtu %d is more than %d, which %s with MTU %d has room for: raise that, or make the network with a smaller one",
			network.MTU, most, under.Link, under.MTU)
	}
	if s.mtu > 0 {
		under.MTU = min(under.MTU, s.mtu)
	}
	return p.encrypted(vtep.Declare(network, s.hosts, own, under.MTU))
}

func (p realPass) remove(s snapshot) (gone bool, err error) {
	o := vtep.Declare(s.network(), s.hosts, s.own(), 0)
	used, err := o.Used(p.k)
	if err != nil || used {
		return false, err
	}
	return true, o.Remove(p.k)
}

func (p realPass) fits(s snapshot) error {
	if s.definition.VNI == 0 {
		s.definition.VNI = 1 // it will be given a free one
	}
	if _, err := s.network().Text().Parse(); err != nil {
		return err
	}
	if !s.hosts.Self.IsValid() {
		return nil // there is nothing to compare with
	}
	s.hosts.Peers = []overlay.Peer{{VTEP: s.hosts.Self}}
	o, err := p.declare(s)
	if errors.Is(err, errNoKey) {
		err = nil // it is made when the host becomes a member
	}
	if err == nil {
		err = o.Ready(p.k)
	}
	if err == nil {
		err = p.reaches(s)
	}
	return err
}

var errSwallows = errors.New("the network would cut this host off from what it needs")

// reaches says whether the subnets leave alone what this host needs beside its links.
func (p realPass) reaches(s snapshot) error {
	needs, err := lifelines(p.k)
	if err != nil {
		return err
	}
	return spares(s.definition, needs)
}

// spares says whether a network has none of some addresses.
func spares(n agentapi.Network, needs map[netip.Addr]string) error {
	for addr, what := range needs {
		for _, subnet := range n.Subnets {
			if subnet.Prefix.Contains(addr) {
				return fmt.Errorf("%w: subnet %s has %s, %s: choose another subnet", errSwallows, subnet.Prefix, addr, what)
			}
		}
	}
	return nil
}
