package attach

import (
	"context"
	"errors"
	"fmt"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state"
)

func (m mode[C]) add(ctx context.Context, c *call, made *rollback) (*types100.Result, error) {
	r, err := m.resolve(c, c.openContainer)
	if err != nil {
		return nil, err
	}
	if r.prev, err = c.prevResult(); err != nil {
		return nil, err
	}
	// An attachment that has the name may also have the address, which a failure further on would give back.
	draft, _ := m.Plan(r.conf, c.request(nil), Lease{})
	if err := draft.Free(r.kernel); err != nil {
		return nil, err
	}
	if err := c.endLastLife(r.kernel); err != nil {
		return nil, err
	}
	if r.addressing.Executed() {
		return m.addLinksFirst(ctx, c, r, made)
	}
	lease, keep, err := leased(ctx, r.addressing, made)
	if err != nil {
		return nil, err
	}
	request := c.request(nil)
	set, planned := m.Plan(r.conf, request, lease)
	set = append(set, c.record(request.Owner, lease)...)
	if err := made.apply(r.kernel, set); err != nil {
		if errors.Is(err, state.ErrOwned) {
			keep() // the lease is the owner's, and so that of the other ADD
		}
		return nil, err
	}
	return planned.document(r.kernel, c, r.prev)
}

// endLastLife deletes what an attachment of the same container in another namespace has left on the host: an ADD that was killed, or a
// restarted container for whose last life nobody has run DEL. While a process runs there, it lives, and is not to lose its host's end and
// its address.
func (c *call) endLastLife(k *Kernel) error {
	owner := c.request(nil).Owner
	end, err := state.LastEnd(k, owner)
	if end == nil || err != nil {
		return err
	}
	if path, lives := liveness.Inhabited(end.Attrs().NetNsID); lives {
		return fmt.Errorf("container %s interface %s of network %s %w in another namespace, where a process runs (%s): run DEL for it first, or give "+
			"each container an ID of its own", owner.ContainerID, owner.IfName, owner.Network, state.ErrExists, path)
	}
	return state.DeleteLink(k.Host, end)
}

// addLinksFirst is ADD for an IPAM plugin that is executed: dhcp asks for the address through the container's link. What
// filters and translates packets comes with the addresses.
func (m mode[C]) addLinksFirst(ctx context.Context, c *call, r resolved[C], made *rollback) (*types100.Result, error) {
	draft, _ := m.Plan(r.conf, c.request(nil), Lease{})
	links := draft.WithoutRules()
	if err := made.apply(r.kernel, links); err != nil {
		return nil, err
	}
	lease, _, err := leased(ctx, r.addressing, made)
	if err != nil {
		return nil, err
	}
	request := c.request(nil)
	set, planned := m.Plan(r.conf, request, lease)
	set = append(set, c.record(request.Owner, lease)...)
	if err := made.apply(r.kernel, set.Beyond(links)); err != nil {
		return nil, err
	}
	return planned.document(r.kernel, c, r.prev)
}

// leased asks for a lease, which goes back when the ADD fails later, unless it is kept.
func leased(ctx context.Context, r ipam.Request, made *rollback) (lease Lease, keep func(), err error) {
	lease, release, err := ipam.For(r).Add(ctx)
	if err != nil {
		return Lease{}, nil, err
	}
	kept := false
	made.Push(func() error {
		if kept {
			return nil
		}
		return release()
	})
	return lease.Masked(), func() { kept = true }, nil
}
