package admission

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// Policy is whom a bridge's containers hear from. It belongs to the bridge: of networks that share one, the last ADD decides.
type Policy struct {
	// Bridge is the first link of the result.
	Bridge string
	// Apart: other bridges that are apart do not reach it. False is declared as well.
	Apart bool
	// Isolated: neither do the other containers of the bridge.
	Isolated bool
	// Ports are the links of the host in the result, among which is the container's port of the bridge.
	Ports []string
}

// Rule marks it as one that translates or filters packets.
func (Policy) Rule() {}

func (p Policy) String() string {
	var lines []string
	for _, e := range p.elements() {
		lines = append(lines, fmt.Sprintf("nft add element inet %s %s { %s }", Table().Name, e.Set.Name, p.Bridge))
	}
	return strings.Join(lines, " && ")
}

func (p Policy) elements() []kernel.Element {
	if !p.Apart {
		return nil
	}
	name, tag := nftable.IfName(p.Bridge), state.BridgeTag(p.Bridge)
	pair := append(nftable.IfName(p.Bridge), name...)
	elements := []kernel.Element{{Set: apartSet(), Key: name, Comment: tag}, {Set: withinSet(), Key: pair, Comment: tag}}
	if p.Isolated {
		elements = append(elements, kernel.Element{Set: isolatedSet(), Key: pair, Comment: tag})
	}
	return elements
}

// Ensure makes the sets as declared.
func (p Policy) Ensure(k *kernel.Kernel) (bool, error) {
	if p.Apart && p.Bridge == "" {
		return false, fmt.Errorf("key ingressPolicy needs a bridge in the result of the plugin before, which is %w: "+
			"name firewall behind bridge, or leave it out", state.ErrAbsent)
	}
	wanted := make(map[string]bool)
	for _, e := range p.elements() {
		wanted[e.Set.Name] = true
	}
	// What an earlier policy has and this one has not.
	tag := state.BridgeTag(p.Bridge)
	if _, err := layout().Remove(k, func(e kernel.Element) bool { return e.Comment == tag && !wanted[e.Set.Name] }); err != nil {
		return false, err
	}
	if !p.Apart {
		return false, nil
	}
	if _, err := layout().AddMissing(k, p.elements()); err != nil {
		return false, err
	}
	if p.Isolated {
		return false, p.isolatePort(k)
	}
	return false, nil // the bridge's, whoever came first
}

// isolatePort sets the flag of the container's port: frames between two ports of a bridge pass no filter but br_netfilter's.
func (p Policy) isolatePort(k *kernel.Kernel) error {
	port, err := p.port(k)
	if err != nil || port == nil {
		return err
	}
	if err := k.Host.LinkSetIsolated(port, true); err != nil {
		return fmt.Errorf("bridge link set dev %s isolated on: %w", port.Attrs().Name, err)
	}
	return nil
}

// port is the container's port of the bridge, or nil.
func (p Policy) port(k *kernel.Kernel) (netlink.Link, error) {
	bridge, err := k.Host.Link(p.Bridge)
	if err != nil {
		return nil, state.IgnoreNotFound(err)
	}
	for _, name := range p.Ports {
		link, err := k.Host.Link(name)
		if err == nil && link.Attrs().MasterIndex == bridge.Attrs().Index {
			return link, nil
		}
		if err := state.IgnoreNotFound(err); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// Verify looks for the bridge in the sets, and for the container's port.
func (p Policy) Verify(k *kernel.Kernel) error {
	if !p.Apart {
		return nil
	}
	errs := []error{nftable.VerifyElements(k, p.elements())}
	if port, err := p.port(k); p.Isolated && err == nil && port != nil {
		flags, err := k.PortFlags(port.Attrs().Index)
		if err == nil && !flags.Isolated {
			err = state.Driftf("port %s is not isolated", port.Attrs().Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Remove does nothing: the policy is the bridge's, which others use. It goes with the bridge, by Prune.
func (Policy) Remove(*kernel.Kernel) error { return nil }
