package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
)

var (
	// ErrPredefined says that a network is always there.
	ErrPredefined = errors.New("is a predefined network and cannot be removed")
	// ErrForeign says that neither fairway nor nerdctl made a network: its file may be what a kubelet depends on.
	ErrForeign = errors.New("was not made by fairway")
)

// Remove removes a network that no container is on: what its plugins hold, its bridge, its reservations, and its file. The
// error wraps ErrPredefined or attachment.ErrInUse.
func (h Host) Remove(ctx context.Context, n conflist.Network) error {
	if n.Predefined() {
		return fmt.Errorf("%s %w", n.Name, ErrPredefined)
	}
	if n.Agent {
		return h.removeByAgent(ctx, n)
	}
	lock, err := conflist.Acquire(h.Netconf)
	if err != nil {
		return err
	}
	defer lock.Release()
	networks, err := conflist.Load(h.Netconf)
	if err != nil {
		return err
	}
	name := n.Name
	if n, err = networks.Find(n.ID); errors.Is(err, conflist.ErrNotFound) {
		return fmt.Errorf("network %s %w: it was removed concurrently, or named twice", name, conflist.ErrNotFound)
	} else if err != nil {
		return err
	}
	if n.Predefined() && n.File == "" {
		return fmt.Errorf("%s %w", n.Name, ErrPredefined)
	}
	if n.ConfigOnly {
		if err := unusedConfiguration(n, networks); err != nil {
			return err
		}
		return lock.Remove(n)
	}
	return h.Runtime.Clear(ctx, n.List, func(cleared error) error {
		if err := h.discard(ctx, n, networks, cleared); err != nil {
			return err
		}
		return lock.Remove(n)
	})
}

// removeByAgent asks the agent, which removes the network from all hosts, unless one of them has containers on it.
func (h Host) removeByAgent(ctx context.Context, n conflist.Network) error {
	all, err := h.Runtime.List()
	if err != nil {
		return err
	}
	if alive := attachment.Of(n.Name, all); len(alive) > 0 {
		return attachment.InUse(n.Name, alive)
	}
	err = agentapi.New(h.Agent).Delete(ctx, n.Name)
	switch {
	case errors.Is(err, agentapi.ErrNotFound):
		return nil
	case errors.Is(err, agentapi.ErrInUse):
		return failure.Of(attachment.ErrInUse, "%w", err) // its own sentence says so
	}
	return err
}

func unusedConfiguration(n conflist.Network, networks conflist.Networks) error {
	for _, other := range networks.All {
		if other.ConfigFrom == n.Name {
			return fmt.Errorf("configuration %s %w by network %s: remove that first", n.Name, attachment.ErrInUse, other.Name)
		}
	}
	return nil
}

// discard takes away what the network has on the host, once its plugins have done their part. A plugin that is not
// installed any more cannot do it, which must not keep the network for ever.
func (h Host) discard(ctx context.Context, n conflist.Network, networks conflist.Networks, cleared error) error {
	if cleared != nil {
		if !h.missing(ctx, n.List) {
			return cleared
		}
		h.Warn(fmt.Errorf("what a plugin of network %s has left stays, as it is not installed any more: %w", n.Name, cleared))
	}
	if err := discardState(n, networks); err != nil {
		return fmt.Errorf("network %s: %w", n.Name, err)
	}
	return discardReservations(ctx, n)
}

// missing says whether one of the plugins is not installed.
func (h Host) missing(ctx context.Context, list *libcni.NetworkConfigList) bool {
	for _, plugin := range list.Plugins {
		if _, err := driver.Path(h.Runtime.Plugins).Versions(ctx, plugin.Network.Type); errors.Is(err, driver.ErrNoPlugin) {
			return true
		}
	}
	return false
}

// discardState removes what the kernel has of the network. A network of an older CNI version has no GC, so that this is
// done here as well; absence is success.
func discardState(n conflist.Network, networks conflist.Networks) error {
	bridge := ""
	if driver.Of(n.Driver).OnBridge && !shared(n, networks) {
		bridge = n.Link
	}
	return onHost(func(k *kernel.Kernel) error { return sweep.Discard(k, n.Name, bridge) })
}

// shared says whether another network has the same bridge.
func shared(n conflist.Network, networks conflist.Networks) bool {
	for _, other := range networks.All {
		if other.Name != n.Name && driver.Of(other.Driver).OnBridge && other.Link == n.Link {
			return true
		}
	}
	return false
}

// discardReservations gives back the addresses of host-local, which the overlay has within.
func discardReservations(ctx context.Context, n conflist.Network) error {
	first := n.List.Plugins[0]
	if first.Network.IPAM.Type != "host-local" && n.Driver != "overlay" {
		return nil
	}
	named, err := libcni.InjectConf(first, map[string]any{"name": n.Name})
	if err != nil {
		return err
	}
	conf, err := hostlocal.Locate(named.Bytes)
	if err != nil {
		return err
	}
	return hostlocal.NewStore(conf).Discard(ctx)
}

// Made says why a network is not one for fairway to remove unasked, or nil. The error wraps ErrForeign.
func Made(n conflist.Network) error {
	if n.Maker != "" || n.Predefined() {
		return nil
	}
	return fmt.Errorf("network %s %w: remove its file %s, or give --foreign", n.Name, ErrForeign, strings.TrimSpace(n.File))
}
