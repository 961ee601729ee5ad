package attach

import (
	"context"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/ipam"
)

// hostLocalVerbs is the verbs of the IPAM plugin host-local as an executable of its own.
type hostLocalVerbs struct{}

func (hostLocalVerbs) plugin(c *call) ipam.Plugin { return ipam.HostLocal{Request: c.addressing()} }

func (v hostLocalVerbs) add(ctx context.Context, c *call, made *rollback) (*types100.Result, error) {
	lease, release, err := v.plugin(c).Add(ctx)
	if err != nil {
		return nil, err
	}
	made.Push(release)
	result := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	lease.Into(result)
	return result, nil
}

func (v hostLocalVerbs) check(ctx context.Context, c *call) error {
	request := c.addressing()
	prev, err := c.prevResult()
	if err != nil {
		return err
	}
	if prev != nil {
		lease, err := c.recordedLease(prev)
		if err != nil {
			return err
		}
		request.Held = lease.Addresses()
	}
	return ipam.HostLocal{Request: request}.Check(ctx)
}

func (v hostLocalVerbs) del(ctx context.Context, c *call) error {
	return c.release(ctx, c.addressing())
}

func (v hostLocalVerbs) gc(ctx context.Context, c *call) error { return v.plugin(c).GC(ctx) }

func (v hostLocalVerbs) status(ctx context.Context, c *call) error {
	return unavailable(addressesReady(ctx, v.plugin(c)))
}
