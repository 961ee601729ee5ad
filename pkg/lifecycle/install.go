package lifecycle

import (
	"context"
	"fmt"

	"github.com/fairway-cni/fairway/pkg/blueprint"
	"github.com/fairway-cni/fairway/pkg/conflist"
)

// Install writes a predefined network into a file. It warns of a file that goes before those of all predefined networks.
// The error wraps conflist.ErrExists when there is one of the name already.
func (h Host) Install(ctx context.Context, name string) (conflist.Network, error) {
	lock, err := conflist.Acquire(h.Netconf)
	if err != nil {
		return conflist.Network{}, err
	}
	defer lock.Release()
	site, err := h.site()
	if err != nil {
		return conflist.Network{}, err
	}
	definition, err := blueprint.DrawPredefined(ctx, name, site)
	if err != nil {
		return conflist.Network{}, err
	}
	n, err := lock.Create(definition)
	if first := site.Networks.All[0]; err == nil && !first.Predefined() && first.File < n.File {
		h.Warn(fmt.Errorf("a runtime that takes the first network it finds takes %s, not %s", first.File, n.File))
	}
	return n, err
}

// Uninstall removes the file that Install has written.
func (h Host) Uninstall(name string) error {
	lock, err := conflist.Acquire(h.Netconf)
	if err != nil {
		return err
	}
	defer lock.Release()
	networks, err := conflist.Load(h.Netconf)
	if err != nil {
		return err
	}
	n, err := networks.Find(conflist.IDOf(name))
	if err != nil {
		return err
	}
	if n.File == "" || n.Maker != conflist.Fairway {
		return fmt.Errorf("network %s has no file of fairway's in %s: there is nothing to remove", name, h.Netconf)
	}
	return lock.Remove(n)
}
