package attach

import (
	"context"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/ipam"
)

// addresses is the verbs of the IPAM plugin host-local as an executable of its own.
type addresses struct{}

func (addresses) plugin(c *call) ipam.Plugin { return ipam.HostLocal{Request: c.addressing()} }

func (a addresses) add(ctx context.Context, c *call) (*types100.Result, undoer, error) {
	lease, release, err := a.plugin(c).Add(ctx)
	if err != nil {
		return nil, nil, err
	}
	result := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	lease.Into(result)
	return result, release, nil
}

func (a addresses) check(ctx context.Context, c *call) error { return a.plugin(c).Check(ctx) }

func (a addresses) del(ctx context.Context, c *call) error { return a.plugin(c).Del(ctx) }

func (a addresses) gc(ctx context.Context, c *call) error { return a.plugin(c).GC(ctx) }

func (a addresses) status(ctx context.Context, c *call) error {
	return unavailable(a.plugin(c).Status(ctx))
}
