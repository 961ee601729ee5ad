package attach

import (
	"context"
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
	if err := c.livesElsewhere(r.kernel); err != nil {
		return nil, err
	}
	if r.addressing.Executed() {
		return m.addLinksFirst(ctx, c, r, made)
	}
	lease, err := leased(ctx, r.addressing, made)
	if err != nil {
		return nil, err
	}
	request := c.request(nil)
	set, planned := m.Plan(r.conf, request, lease)
	set = append(set, c.record(request.Owner, lease)...)
	if err := made.apply(r.kernel, set); err != nil {
		return nil, err
	}
	return planned.document(r.kernel, c, r.prev)
}

// livesElsewhere says whether the container is attached in another namespace, in which a process runs: its host's end would be replaced, and
// its address given away. Where none runs, a restarted container has the ID, and nobody has run DEL for its last life.
func (c *call) livesElsewhere(k *Kernel) error {
	owner := c.request(nil).Owner
	end, err := k.Host.LinkNow(owner.HostLink())
	if err != nil {
		return state.IgnoreNotFound(err)
	}
	path, lives := liveness.Inhabited(end.Attrs().NetNsID)
	if !lives {
		return nil
	}
	return fmt.Errorf("container %s interface %s of network %s %w in another namespace, where a process runs (%s): run DEL for it first, or give "+
		"each container an ID of its own", owner.ContainerID, owner.IfName, owner.Network, state.ErrExists, path)
}

// addLinksFirst is ADD for an IPAM plugin that is executed: dhcp asks for the address through the container's link. What
// filters and translates packets comes with the addresses.
func (m mode[C]) addLinksFirst(ctx context.Context, c *call, r resolved[C], made *rollback) (*types100.Result, error) {
	draft, _ := m.Plan(r.conf, c.request(nil), Lease{})
	links := draft.WithoutRules()
	if err := made.apply(r.kernel, links); err != nil {
		return nil, err
	}
	lease, err := leased(ctx, r.addressing, made)
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

// leased asks for a lease, which goes back when the ADD fails later.
func leased(ctx context.Context, r ipam.Request, made *rollback) (Lease, error) {
	lease, release, err := ipam.For(r).Add(ctx)
	if err != nil {
		return Lease{}, err
	}
	made.Push(release)
	return lease.Masked(), nil
}
