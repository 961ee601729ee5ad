// Package lifecycle makes networks and removes them, with whatever they have on the host.
//
// Making one reads the host and writes a file; what the kernel has of a network comes with its first container. Removing one
// takes all of that away and then the file, so that a removal which was cut short can be made again. Removing needs root in
// the host's network namespace.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/blueprint"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/pools"
)

// Host is where networks are made and removed.
type Host struct {
	// Netconf is the directory of the networks' files.
	Netconf string
	// Runtime executes plugins, and knows what is attached.
	Runtime attachment.Runtime
	// Agent is the socket of the node agent.
	Agent string
	// Warn is told of what does not stop the work.
	Warn func(error)
}

// Draw gives the content of the file that Create would write, and of an overlay of the node agent's its definition in
// JSON. Nothing is made.
func (h Host) Draw(ctx context.Context, o blueprint.Order) (conflist.Definition, error) {
	site, err := h.site()
	if err != nil {
		return conflist.Definition{}, err
	}
	definition, err := blueprint.Draw(ctx, o, site)
	switch {
	case err != nil:
		return definition, err
	case o.ConfigOnly:
		return definition, h.judgeUses(ctx, o, site)
	}
	return definition, h.judge(ctx, definition)
}

// judgeUses wants one of the networks that can be made from a configuration to be one that its plugins take.
func (h Host) judgeUses(ctx context.Context, o blueprint.Order, site blueprint.Site) error {
	uses, err := blueprint.Uses(ctx, o, site)
	if err != nil {
		return err
	}
	var refusals []error
	for _, use := range uses {
		err := h.judge(ctx, use)
		if err == nil {
			return nil
		}
		refusals = append(refusals, err)
	}
	if len(refusals) == 0 {
		return nil // for the node agent
	}
	return refusals[0]
}

// judge asks the plugins themselves what they make of a network.
func (h Host) judge(ctx context.Context, definition conflist.Definition) error {
	n, err := definition.Network()
	if err != nil {
		return err
	}
	return h.Runtime.Refusal(ctx, n.List)
}

// DrawOverlay gives the definition that Create would put to the node agent.
func (h Host) DrawOverlay(o blueprint.Order) (agentapi.Network, error) {
	site, err := h.site()
	if err != nil {
		return agentapi.Network{}, err
	}
	return blueprint.DrawOverlay(o, site)
}

// Create makes a network. The error wraps conflist.ErrExists when there is one of the name.
func (h Host) Create(ctx context.Context, o blueprint.Order) (conflist.Network, error) {
	if o.ByAgent() {
		return h.createByAgent(ctx, o)
	}
	// From the choice of a subnet to the file that has it, nobody else chooses.
	lock, err := conflist.Acquire(h.Netconf)
	if err != nil {
		return conflist.Network{}, err
	}
	defer lock.Release()
	definition, err := h.Draw(ctx, o)
	if err != nil {
		return conflist.Network{}, err
	}
	n, err := lock.Create(definition)
	if err == nil && o.NamesOfOwnHost() {
		h.Warn(fmt.Errorf("containers of network %s know the names of their own host alone: names of all hosts need fairwayd with etcd, "+
			"as with -d overlay and neither peers nor peersFile", n.Name))
	}
	return n, err
}

// Networks are all that there are, the predefined bridge with the subnet that it has on this host or would get. Files that were left out
// are warnings.
func (h Host) Networks() (conflist.Networks, error) {
	site, err := h.site()
	return site.Networks, err
}

func (h Host) site() (blueprint.Site, error) {
	networks, err := conflist.Load(h.Netconf)
	if err != nil {
		return blueprint.Site{}, err
	}
	for _, warning := range networks.Warnings {
		h.Warn(warning)
	}
	host, err := pools.ReadHost()
	if err != nil {
		return blueprint.Site{}, err
	}
	if networks, err = blueprint.Settle(networks, host); err != nil {
		h.Warn(err)
	}
	return blueprint.Site{Networks: networks, Host: host, Plugins: driver.Path(h.Runtime.Plugins), Now: time.Now()}, nil
}

// The agent writes the file of a network that it was given, on this host as on all others. That takes it a moment.
const (
	agentPatience = 5 * time.Second
	agentInterval = 50 * time.Millisecond
)

func (h Host) createByAgent(ctx context.Context, o blueprint.Order) (conflist.Network, error) {
	definition, err := h.DrawOverlay(o)
	if err != nil {
		return conflist.Network{}, err
	}
	_, err = agentapi.New(h.Agent).Put(ctx, definition)
	if errors.Is(err, agentapi.ErrNoAgent) {
		return conflist.Network{}, fmt.Errorf("%w, or list the hosts by -o peers=VTEP=BLOCK,…", err)
	}
	if err != nil {
		return conflist.Network{}, err
	}
	for deadline := time.Now().Add(agentPatience); time.Now().Before(deadline); {
		networks, err := conflist.Load(h.Netconf)
		if err != nil {
			return conflist.Network{}, err
		}
		if n, err := networks.Find(conflist.IDOf(o.Name)); err == nil {
			return n, nil
		}
		select {
		case <-ctx.Done():
			return conflist.Network{}, ctx.Err()
		case <-time.After(agentInterval):
		}
	}
	return conflist.Network{}, fmt.Errorf("network %s was made, but fairwayd has not written its file to %s in %v: is that its --netconf-dir?",
		o.Name, h.Netconf, agentPatience)
}
